"""The broker's address: whatever Celery or redis-py take, read once, and written for each of the two clients.

No error repeats any part of the address: it may be a part of the password. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from opsdash.config.addresses import is_loopback
from opsdash.config.broker_options import EXPECTED, LEFT_OUT, OF_SENTINELS, OF_SOCKETS, PARTS, TLS_OPTIONS
from opsdash.config.broker_options import options as read_options
from opsdash.values import frozen

HERE = "this machine"
PORT, SENTINEL_PORT = 6_379, 26_379
_SCHEMES = {
    "redis": "redis",
    "valkey": "redis",
    "rediss": "rediss",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
    "sentinel": "sentinel",
}
_WAYS = f"{EXPECTED}, rediss://, unix:///path, redis+socket:///path or sentinel://host:port?master_name=NAME"
_SIGNS = f"{EXPECTED}; write / ? # @ in a password as %2F %3F %23 %40"
_SENTINELS = "expected sentinel://[:password@]host:port[;sentinel://host:port]?master_name=NAME"
_OTHERS = {"amqp", "amqps", "pyamqp", "sqs", "memory", "filesystem", "mongodb", "kafka", "http", "https", "tcp"}
"""Schemes that are repeated: any other could be a user's name."""
_SEVERAL = re.compile(r"[;,]\s*(?=[a-zA-Z][a-zA-Z0-9+.-]*://)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}")
_HOST = re.compile(r"[\w.-]{1,253}")
_PLACE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]{0,5}))?")


@frozen(kw_only=True)
class BrokerUrl:
    """An address, read. Two are equal when both clients do the same with them.

    Attributes:
        hosts: (host, port) of the server, or of each sentinel; empty for a socket.
        path: Of a socket; empty for a host.
        master_name: The master that the sentinels are asked for; empty without sentinels.
        tls: The server is spoken to by TLS; ``tls_options`` say how, under the names that both clients have for it.
        options: How the connection is kept: ``health_check_interval``, ``socket_keepalive`` …
        sentinels: How the sentinels themselves are spoken to: ``username``, ``password``, ``ssl``.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    master_name: str = ""
    tls: bool = False
    tls_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sentinels: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """For people: the server and its database, never user, password or options."""
        if self.path:
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        if self.master_name:
            return f"sentinel://{','.join(map(host_and_port, self.hosts))}"
        return f"{'rediss' if self.tls else 'redis'}://{host_and_port(self.hosts[0])}/{self.db}"

    @property
    def place(self) -> frozenset[str]:
        """``host:port`` of each server, or the socket's path; all names of this machine are one."""
        if self.path:
            return frozenset([self.path])
        return frozenset(f"{HERE if is_loopback(host) else host.lower()}:{port}" for host, port in self.hosts)

    @property
    def url(self) -> str:
        """The same address in one spelling; but for sentinels, redis-py takes it. With the password."""
        query: dict[str, Any] = {**self.tls_options, **self.options}
        if self.path:
            return _with_query(f"unix://{self._user()}{quote(self.path)}", {"db": self.db, **query})
        if self.master_name:
            own = {name: self.sentinels[given] for name, given in OF_SENTINELS.items() if given in self.sentinels}
            return _with_query(self.kombu_url, {"master_name": self.master_name, **own, **query})
        scheme = "rediss" if self.tls else "redis"
        return _with_query(f"{scheme}://{self._user()}{host_and_port(self.hosts[0])}/{self.db}", query)

    @property
    def kombu_url(self) -> str:
        """As kombu takes it, which fails on most options: they go beside it, as do those of TLS."""
        if self.path:
            return f"redis+socket://{self._user()}{quote(self.path)}?virtual_host={self.db}"
        if self.master_name:
            return ";".join(f"sentinel://{self._user()}{host_and_port(host)}/{self.db}" for host in self.hosts)
        return f"{'rediss' if self.tls else 'redis'}://{self._user()}{host_and_port(self.hosts[0])}/{self.db}"

    @property
    def kombu_ssl(self) -> dict[str, Any] | bool:
        """As kombu takes it. Without options it would trust any certificate; redis-py trusts those of the system."""
        return {"ssl_cert_reqs": "required", **self.tls_options} if self.tls else False

    @property
    def transport_options(self) -> dict[str, Any]:
        """As kombu takes them."""
        master: dict[str, Any] = {"master_name": self.master_name} if self.master_name else {}
        if self.sentinel_kwargs:
            master["sentinel_kwargs"] = self.sentinel_kwargs
        return {**self.options, **master}

    @property
    def sentinel_kwargs(self) -> dict[str, Any]:
        """As both clients take them: for the sentinels, whom what is said of the master does not concern.

        Their certificates are looked at as the master's are.
        """
        return {**self.sentinels, **self.tls_options} if self.sentinels.get("ssl") else dict(self.sentinels)

    @property
    def redis_options(self) -> dict[str, Any]:
        """As redis-py's connections take it, but for sentinels; without what kind of connection it is."""
        who = {"db": self.db, "username": self.username, "password": self.password}
        if self.path:  # which has no keepalive
            return {
                **who,
                "path": self.path,
                **{name: self.options[name] for name in self.options if name in OF_SOCKETS},
            }
        where = {} if self.master_name else dict(zip(("host", "port"), self.hosts[0], strict=True))
        return {**who, **where, **self.tls_options, **self.options}

    def with_tls(self, options: Any) -> BrokerUrl:
        """With an app's ``broker_use_ssl``, where this address says nothing of TLS but that there is some."""
        if self.path or self.tls_options or not isinstance(options, Mapping) or not options:
            return self
        return replace(
            self, tls=True, tls_options={name: value for name, value in options.items() if name in TLS_OPTIONS}
        )

    def _user(self) -> str:
        if self.username is None and self.password is None:
            return ""
        password = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.username or '', safe='')}{password}@"


def read(text: str) -> BrokerUrl:
    """An address as Celery or redis-py take it.

    Raises:
        ValueError: What is expected in place of it, without any part of it.
    """
    url = text.strip().rstrip(";")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in url):
        raise ValueError(f"{EXPECTED}; it has a control character in it")
    parts = _SEVERAL.split(url)
    schemes = {_scheme(part) for part in parts}
    if len(parts) > 1 and schemes != {"sentinel"}:
        raise ValueError(
            f"names {len(parts)} brokers, of which Celery uses the next when one fails; opsdash reads one:"
            " expected the one that the workers use, as redis://host:port/db, or sentinel://"
        )
    if schemes == {"sentinel"}:
        return _sentinels(parts)
    (scheme,) = schemes
    before, query = _split_query(parts[0])
    authority, slash, path = before.partition("/")
    user, place = _split_user(authority)
    options = read_options(query)
    if scheme == "unix":
        if place or not path:
            raise ValueError(
                "expected unix:///path or redis+socket:///path, with three slashes; write / in a password as %2F"
            )
        if user and "@" in path:  # which of the two ends the password?
            raise ValueError("expected unix:///path; write / ? # @ in a password, and @ in a path, as %2F %3F %23 %40")
        if any(name.startswith("ssl_") for name in options):
            raise ValueError("a socket has no TLS; expected unix:///path without options of TLS")
        return _made({**user, "path": unquote(slash + path)}, options)
    tls = scheme == "rediss" or any(name.startswith("ssl_") for name in options)
    return _made({**user, "hosts": (_host(place, PORT, EXPECTED),), "tls": tls}, {"db": _db(path), **options})


def of_connection(connection: Any) -> BrokerUrl | None:
    """Where kombu's connection goes, without opening it; None where that is not Redis.

    Raises:
        ValueError: The app's ``broker_url`` names no database.
    """
    kind = str(connection.transport_cls)
    if kind not in {"redis", "rediss", "sentinel"}:
        return None
    db = _vhost(connection.virtual_host)
    host, port = str(connection.hostname or "127.0.0.1"), int(connection.port or 0)
    if kind == "sentinel":
        named = [part for part in connection.alt if str(part).startswith("sentinel://")]
        hosts = [
            _host(_split_query(part)[0].partition("/")[0].rpartition("@")[2], SENTINEL_PORT, _SENTINELS)
            for part in named
        ]
        master = str((connection.transport_options or {}).get("master_name") or "")
        return BrokerUrl(
            hosts=tuple(hosts) or ((host, port or SENTINEL_PORT),), db=db, master_name=master, tls=bool(connection.ssl)
        )
    if "://" in host:  # kombu takes a whole URL in place of a host: that of a socket
        before, query = _split_query(host)
        named_db = dict(parse_qsl(query)).get("virtual_host")
        path = unquote("/" + before.partition("/")[2])
        return BrokerUrl(path=path, db=db if named_db is None else _vhost(named_db))
    return BrokerUrl(hosts=((host, port or PORT),), db=db, tls=bool(connection.ssl))


def with_timeouts(transport_options: Any, timeout_s: float) -> dict[str, Any]:
    """What makes a connection of an app's give up, as transport options that go over the app's own.

    A command whose answer is late is not sent again, as ``retry_on_timeout`` would have it: a worker that got it twice
    would grow its pool twice. An app that says how the sentinels are spoken to has to say it of them, too: redis-py
    waits for them for ever then.
    """
    own = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    given = transport_options.get("sentinel_kwargs") if isinstance(transport_options, Mapping) else None
    more = {"sentinel_kwargs": {**own, **given}} if isinstance(given, Mapping) and given else {}
    return {**own, "retry_on_timeout": False, **more}


def _scheme(url: str) -> str:
    scheme, is_url, _rest = url.partition("://")
    scheme = scheme.lower()
    if not is_url or scheme not in _SCHEMES:
        got = f"{scheme}:" if is_url and _SCHEME.fullmatch(scheme) and scheme in _OTHERS else "another kind of address"
        raise ValueError(f"{_WAYS}; got {got if is_url else 'a text that is not a URL'}")
    return _SCHEMES[scheme]


def _split_query(url: str) -> tuple[str, str]:
    """The part before the query, and the query. Part ``#…`` is ignored: both clients would drop it."""
    rest = url.partition("://")[2]
    if "#" in rest:
        raise ValueError(_SIGNS)
    before, _mark, query = rest.partition("?")
    return before, query


def _split_user(authority: str) -> tuple[dict[str, str], str]:
    credentials, is_there, place = authority.rpartition("@")
    username, has_password, password = credentials.partition(":")
    found = {"username": unquote(username)} if username else {}
    if has_password and password:
        found["password"] = unquote(password)
    return (found if is_there else {}), place


def _host(place: str, port: int, expected: str) -> tuple[str, int]:
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ValueError(f"{expected}; its host or port can't be read; write / ? # @ in a password as %2F %3F %23 %40")
    host = found["six"] or unquote(found["name"] or "") or "localhost"
    if found["six"] is None and not _HOST.fullmatch(host):
        raise ValueError(
            f"{expected}; its host has a sign that no host has; write / ? # @ in a password as %2F %3F %23 %40"
        )
    number = int(found["port"] or port)
    if not 0 < number < 65_536:
        raise ValueError(f"{expected}; its port is none")
    return host.lower(), number


def _db(path: str) -> int:
    number = unquote(path).strip("/")
    if "@" in path:
        raise ValueError(_SIGNS)
    if not number:
        return 0
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise ValueError(f"{EXPECTED} with a number as db; this text would be read as 0")
    return int(number)


def _vhost(value: Any) -> int:
    """As kombu reads a ``virtual_host``."""
    return value if isinstance(value, int) else _db(str(value or ""))


def _sentinels(parts: list[str]) -> BrokerUrl:
    """As kombu reads them: user, password and database of the first; the query of the last."""
    split = [_split_query(part) for part in parts]
    read_parts = [(_split_user(before.partition("/")[0]), before.partition("/")[2]) for before, _query in split]
    options = read_options(split[-1][1])
    if any(query for _before, query in split[:-1]):
        raise ValueError(f"{_SENTINELS}; only one ?, at the end")
    if not options.get("master_name"):
        raise ValueError(f"{_SENTINELS}; the name of the master is missing")
    hosts = tuple(_host(place, SENTINEL_PORT, _SENTINELS) for (_user, place), _path in read_parts)
    if any(not place.partition(":")[0] for (_user, place), _path in read_parts):
        raise ValueError(f"{_SENTINELS}; a sentinel has no host")
    numbers = [_db(path) for _user_and_host, path in read_parts]
    if any(number not in (0, numbers[0]) for number in numbers):
        raise ValueError(f"{_SENTINELS}; Celery takes the database of the first sentinel: write /db there")
    users = [user for (user, _place), _path in read_parts if "password" in user] or [read_parts[0][0][0]]
    tls = any(name.startswith("ssl_") for name in options)
    return _made({**users[0], "hosts": hosts, "tls": tls}, {"db": numbers[0], **options})


def _made(parts: dict[str, Any], options: dict[str, Any]) -> BrokerUrl:
    kept, tls, sentinels = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for name, value in options.items():
        if name in PARTS:
            parts[name] = value
        elif name in OF_SENTINELS:
            sentinels[OF_SENTINELS[name]] = value
        elif name not in LEFT_OUT:
            (tls if name.startswith("ssl_") else kept)[name] = value
    if sentinels and not parts.get("master_name"):
        raise ValueError(f"{EXPECTED} without options of sentinels, or {_SENTINELS.removeprefix('expected ')}")
    return BrokerUrl(**parts, tls_options=tls, options=kept, sentinels=sentinels)


def host_and_port(host: tuple[str, int]) -> str:
    """``host:port``, in brackets where the host has colons itself."""
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _with_query(url: str, query: Mapping[str, Any]) -> str:
    parameters = {
        name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items() if value != ""
    }
    if parameters.get("db") == 0:
        del parameters["db"]
    return f"{url}?{urlencode(parameters)}" if parameters else url
