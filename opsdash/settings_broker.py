"""How the environment names the broker and the layout of its keys; each raises ValueError with what is expected."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from opsdash.addresses import has_loose_password


def redis_url(value: str) -> str:
    """An address that redis-py takes; Valkey's names for it are Redis's."""
    url = value.strip()
    scheme, is_url, rest = url.partition("://")
    if scheme == "sentinel":
        return _sentinel_url(url)
    if scheme not in {"redis", "rediss", "unix", "valkey", "valkeys"} or not is_url:
        got = f"{scheme}:" if is_url and _SCHEME.fullmatch(scheme) else "what is no URL"
        raise ValueError(f"expected redis://host:port/db, got {got}")
    if has_loose_password(url):
        raise ValueError("expected redis://host:port/db; write ? and # in a password as %3F and %23")
    number = rest.partition("?")[0].partition("/")[2].strip("/")
    if number and scheme != "unix" and not (number.isascii() and number.isdigit()):
        raise ValueError("expected redis://host:port/db with db a number; what stands there would be read as 0")
    return url.replace("valkey", "redis", 1) if scheme.startswith("valkey") else url


def _sentinel_url(url: str) -> str:
    """As kombu writes it, with the master's name added; its parts are read by ``broker.sentinel``."""
    expected = "expected sentinel://[:password@]host:port[;sentinel://host:port]/db?master_name=NAME"
    rest, _, query = url.partition("?")
    if not dict(parse_qsl(query)).get("master_name"):
        raise ValueError(f"{expected}; the name of the master is missing")
    for part in rest.split(";"):
        try:
            known = urlsplit(part).hostname and urlsplit(part).port
        except ValueError:
            known = None
        if not known:
            raise ValueError(f"{expected}; a sentinel has no host or no port")
    return url


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}")
NO_PREFIX = {'""', "''"}
"""How an environment says "none", where an empty variable counts as not set."""
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")
MAX_KEY_PART = 100


def key_prefix(value: str) -> str:
    """Kombu's ``global_keyprefix``."""
    prefix = value.strip()
    if prefix in NO_PREFIX:
        return ""
    if len(prefix) > MAX_KEY_PART or not prefix.isprintable():
        raise ValueError(f"expected global_keyprefix of the app, at most {MAX_KEY_PART} characters, got {value!r}")
    return prefix


def separator(value: str) -> str:
    """Kombu's ``sep``; a control character is written as its escape, such as the default one."""
    separator = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), value.strip())
    if not 0 < len(separator) <= MAX_KEY_PART or "\0" in separator:
        raise ValueError(f"expected sep of the app, such as : or \\x06\\x16, got {value!r}")
    return separator


def priority_steps(value: str) -> tuple[int, ...]:
    """Kombu's ``priority_steps``."""
    parts = [part.strip() for part in value.split(",")]
    steps = tuple(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 3)
    if len(steps) != len(parts) or list(steps) != sorted({*steps}) or not all(step <= 255 for step in steps):
        raise ValueError(f"expected numbers from 0 to 255, the lowest first, such as 0,3,6,9; got {value!r}")
    return steps
