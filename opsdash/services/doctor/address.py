"""Where opsdash is connected to: a server that takes writes, and the one that the app uses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from opsdash.services.broker import sentinel
from opsdash.services.doctor.finding import Findings, Patient, error, ok, warning

HERE = "this machine"
PORT, SENTINEL_PORT = 6_379, 26_379
TRANSPORTS = {"redis", "rediss", "sentinel", "valkey", "valkeys"}
SETTING = "OPSDASH_REDIS_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What of a broker's address tells one from another: neither user nor password.

    Attributes:
        hosts: ``host:port``, or the path of a socket; of a Sentinel address all sentinels.
        master: The name of the master at the sentinels; empty without.
    """

    hosts: frozenset[str]
    db: int
    tls: bool = False
    master: str = ""

    def __str__(self) -> str:
        """For people."""
        via = f"master {self.master} at the sentinels " if self.master else ""
        return f"{via}{', '.join(sorted(self.hosts))}, database {self.db}{', TLS' if self.tls else ''}"


def role(patient: Patient) -> Findings:
    """Role: a server that takes writes, with all keys on it."""
    info = patient.info
    if int(info.get("cluster_enabled", 0)):
        said = "A Redis Cluster: kombu has no transport for it, so no Celery worker can use it as its broker."
        yield error("role", said, "Use one server, or Sentinel.")
    elif str(info.get("role", "master")) != "master":
        source = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        said = f"A replica of {source}: it takes no writes, so nothing can be paused, cleared or restored here."
        yield error("role", said, f"Name {source} in {SETTING}, or the sentinels, which know who it is.")
    else:
        yield ok("role", "A primary: it takes writes.")


def broker_of_the_app(patient: Patient) -> Findings:
    """App's broker: the server and database that opsdash looks at."""
    app = patient.app
    if app is None:
        return
    connection = app.connection_for_write()  # opens none
    kind = str(connection.transport_cls)
    if kind not in TRANSPORTS:
        said = f"The app's broker is {kind.rpartition(':')[2]}, and opsdash works with Redis alone."
        yield error("app's broker", said, "Name another app in OPSDASH_CELERY_APP.")
        return
    theirs, ours = of_app(connection), of_console(patient)
    if theirs == ours:
        yield ok("app's broker", f"The same as opsdash's: {ours}.")
        return
    one = same_server(patient, theirs, ours)
    if one and theirs.db == ours.db:
        yield ok("app's broker", f"Another name of the same server: {theirs}.")
        return
    if one:
        said = f"The app uses database {theirs.db}, {SETTING} names database {ours.db}: opsdash sees none of its tasks."
        yield error("app's broker", said, f"End {SETTING} with /{theirs.db}.")
        return
    todo = f"Set {SETTING} to the app's broker_url."
    if patient.app_server:
        said = f"The app uses another server ({theirs}) than {SETTING} ({ours}): opsdash sees none of its tasks."
        yield error("app's broker", said, todo)
    elif _may_be_one(theirs, ours):
        said = f"The app names {theirs}, {SETTING} {ours}; whether they are one can't be asked from here."
        yield warning("app's broker", said, f"If they are not: {todo[0].lower()}{todo[1:]}")
    else:
        yield error("app's broker", f"The app uses {theirs}, {SETTING} names {ours}.", todo)


def same_server(patient: Patient, theirs: Address, ours: Address) -> bool:
    """Whether both are one server, whatever the database: by their addresses, else by what the servers say."""
    if replace(theirs, db=ours.db) == ours:
        return True
    return bool(patient.app_server) and patient.app_server == str(patient.info.get("run_id"))


def of_console(patient: Patient) -> Address:
    """The address in OPSDASH_REDIS_URL."""
    url = patient.console.settings.redis_url
    if url.startswith("sentinel://"):
        found = sentinel(url)
        return Address(
            hosts=frozenset(_host(host, port, SENTINEL_PORT) for host, port in found.hosts),
            db=found.db,
            master=found.master_name,
        )
    pool = patient.console.broker.client.connection_pool
    kwargs: dict[str, Any] = pool.connection_kwargs
    where = str(kwargs["path"]) if "path" in kwargs else _host(kwargs.get("host"), kwargs.get("port"))
    return Address(hosts=frozenset([where]), db=int(kwargs.get("db") or 0), tls=url.startswith("rediss://"))


def of_app(connection: Any) -> Address:
    """The address that kombu makes of the app's broker_url."""
    number = str(connection.virtual_host or "0").strip("/")
    db = int(number) if number.isdigit() else 0
    if connection.transport_cls == "sentinel":
        urls = map(urlsplit, connection.alt)
        hosts = [(url.hostname, url.port) for url in urls] or [(connection.hostname, connection.port)]
        master = str((connection.transport_options or {}).get("master_name") or "")
        return Address(hosts=frozenset(_host(host, port, SENTINEL_PORT) for host, port in hosts), db=db, master=master)
    host = str(connection.hostname or "")
    if "://" in host:  # kombu takes a whole URL in place of a host: that of a socket
        url = urlsplit(host)
        named = dict(parse_qsl(url.query)).get("virtual_host", number)
        return Address(hosts=frozenset([url.path]), db=int(named) if named.isdigit() else 0)
    return Address(hosts=frozenset([_host(host, connection.port)]), db=db, tls=bool(connection.ssl))


def _may_be_one(one: Address, other: Address) -> bool:
    """They differ in the host's name alone, and a server may have several."""
    ports = [{host.rpartition(":")[2] for host in address.hosts} for address in (one, other)]
    return replace(one, hosts=other.hosts) == other and ports[0] == ports[1]


def _host(host: Any, port: Any, default: int = PORT) -> str:
    name = str(host or "localhost").lower()
    try:
        here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        here = name == "localhost"
    return f"{HERE if here else name}:{port or default}"


CHECKS = (role, broker_of_the_app)
