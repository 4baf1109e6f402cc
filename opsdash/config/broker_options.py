"""What may follow the ``?`` of a broker's address: each option by name, and how its value is read.

Apart from ``broker_url``, which knows what they are for. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

EXPECTED = "expected redis://host:port/db"
MOST_OPTIONS = 30


def _number(most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) <= most):
            raise ValueError(f"a whole number up to {most}")
        return int(value)

    return parse


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
        raise ValueError("a number of seconds")
    return float(value)


def _flag(value: str) -> bool:
    text = value.lower()
    if text not in {*_YES, *_NO}:
        raise ValueError("true or false")
    return text in _YES


def _requirement(value: str) -> str:
    text = value.lower().removeprefix("cert_")
    if text not in {"none", "optional", "required"}:
        raise ValueError("none, optional or required")
    return text


def _word(value: str) -> str:
    if not value:
        raise ValueError("a value")
    return value


def _name(value: str) -> str:
    if not re.fullmatch("[!-~]{1,200}", value):
        raise ValueError("a name of letters, digits and signs")
    return value


_YES, _NO = {"true", "t", "1", "yes", "y", "on"}, {"false", "f", "0", "no", "n", "off"}
_READERS: Mapping[str, Callable[[str], Any]] = {
    "db": _number(10**9),
    "virtual_host": lambda value: _number(10**9)(value.strip("/") or "0"),
    "username": _word,
    "password": _word,
    "master_name": _word,
    "sentinel_username": _word,
    "sentinel_password": _word,
    "sentinel_ssl": _flag,
    "client_name": _name,
    "health_check_interval": _number(10**6),
    "socket_keepalive": _flag,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "timeout": _seconds,
    "socket_read_size": _number(2**30),
    "max_connections": _number(10**9),
    "retry_on_timeout": _flag,
    "retry_on_error": _word,
    "encoding": _word,
    "encoding_errors": _word,
    "decode_responses": _flag,
    "protocol": _number(3),
    "legacy_responses": _flag,
    "lib_name": str,
    "lib_version": str,
    "ssl_cert_reqs": _requirement,
    "ssl_ca_certs": _word,
    "ssl_ca_path": _word,
    "ssl_certfile": _word,
    "ssl_keyfile": _word,
    "ssl_password": _word,
    "ssl_check_hostname": _flag,
    "ssl_min_version": _number(2**16),
    "ssl_ciphers": _word,
}
OF_SOCKETS = {"health_check_interval", "client_name"}
TLS_OPTIONS = {
    *(name for name in _READERS if name.startswith("ssl_")),
    *("ssl_ca_data", "ssl_include_verify_flags", "ssl_exclude_verify_flags", "ssl_validate_ocsp"),
    *("ssl_validate_ocsp_stapled", "ssl_ocsp_context", "ssl_ocsp_expected_cert"),
}
"""What an app may say in ``broker_use_ssl``: anything that redis-py's connection takes."""
PARTS = {"db", "username", "password", "master_name"}
OF_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password", "sentinel_ssl": "ssl"}
"""How the sentinels themselves are spoken to → redis-py's names. Celery has no place for it in an address."""
LEFT_OUT = {
    *("socket_timeout", "socket_connect_timeout", "timeout", "max_connections", "retry_on_timeout", "retry_on_error"),
    *("encoding", "encoding_errors", "decode_responses", "protocol", "legacy_responses", "lib_name", "lib_version"),
    "socket_read_size",
}
"""Taken, and without effect: opsdash gives up after its own two seconds, sends nothing twice, and decodes by itself."""


def options(query: str) -> dict[str, Any]:
    """Those of a query, by name; ``virtual_host`` is Celery's word for ``db``.

    Raises:
        ValueError: What is expected in place of it, without any part of it.
    """
    found: dict[str, Any] = {}
    for name, value in _pairs(query):
        if name not in _READERS:
            raise ValueError(
                f"{EXPECTED}; an option after ? is not known; a ? in a password is written as %3F; known are"
                f" {', '.join(sorted(_READERS.keys() - LEFT_OUT))}"
            )
        try:
            found["db" if name == "virtual_host" else name] = _READERS[name](value)
        except ValueError as error:
            raise ValueError(f"the option {name} after ? can't be read; expected {error}") from None
    return found


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    try:
        yield from parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=MOST_OPTIONS)
    except ValueError:
        raise ValueError(f"{EXPECTED}; what follows ? is no name=value; write ? in a password as %3F") from None
