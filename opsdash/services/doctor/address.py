"""Where opsdash is connected to: a server that takes writes, and the one that the app uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opsdash.config import broker_url
from opsdash.config.broker_url import BrokerUrl
from opsdash.services.broker.client import address, url_with_app
from opsdash.services.doctor.finding import Examined, Findings, error, ok, warning
from opsdash.values import frozen

TRANSPORTS = {"redis", "rediss", "sentinel"}
SETTING = "OPSDASH_REDIS_URL"


@frozen(kw_only=True)
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


def role(patient: Examined) -> Findings:
    """Role: a server that takes writes, with all keys on it."""
    info = patient.info
    if int(info.get("cluster_enabled", 0)):
        text = "A Redis Cluster: kombu has no transport for it, so no Celery worker can use it as its broker."
        yield error("role", text, "Use one server, or Sentinel.")
    elif str(info.get("role", "master")) != "master":
        source = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        text = f"A replica of {source}: it takes no writes, so nothing can be paused, cleared or restored here."
        yield error("role", text, f"Name {source} in {SETTING}, or the sentinels, which know who it is.")
    else:
        yield ok("role", "A primary: it takes writes.")


def broker_of_the_app(patient: Examined) -> Findings:
    """App's broker: the server and database that opsdash looks at."""
    app = patient.app
    if app is None:
        return
    connection = app.connection_for_write()  # opens none
    kind = str(connection.transport_cls)
    if kind not in TRANSPORTS:
        text = f"The app's broker is {kind.rpartition(':')[2]}, and opsdash works with Redis alone."
        yield error("app's broker", text, "Name another app in OPSDASH_CELERY_APP.")
        return
    of_the_app, own = of_app(connection), of_console(patient)
    if not of_the_app.master and len(connection.alt) > 1:
        text = f"The app names {len(connection.alt)} brokers and uses the next when one fails; opsdash does not."
        todo = f"Set {SETTING} to the one that the workers use, or use Sentinel, which both follow."
        yield warning("app's broker", text, todo)
    if of_the_app == own:
        yield ok("app's broker", f"The same as opsdash's: {own}.")
        return
    one = same_server(patient, of_the_app, own)
    if one and of_the_app.db == own.db:
        yield ok("app's broker", f"Another name of the same server: {of_the_app}.")
        return
    if one:
        text = (
            f"The app uses database {of_the_app.db}, {SETTING} names database {own.db}: opsdash sees none of its tasks."
        )
        place = f"?db={of_the_app.db}" if any("/" in host for host in own.hosts) else f"/{of_the_app.db}"
        yield error("app's broker", text, f"End {SETTING} with {place}.")
        return
    todo = f"Set {SETTING} to the app's broker_url."
    if patient.app_server:
        text = f"The app uses another server ({of_the_app}) than {SETTING} ({own}): opsdash sees none of its tasks."
        yield error("app's broker", text, todo)
    elif _may_be_one(of_the_app, own):
        text = f"The app names {of_the_app}, {SETTING} {own}; it can't be checked from here whether they are the same."
        yield warning("app's broker", text, f"If they are not: {todo[0].lower()}{todo[1:]}")
    else:
        yield error("app's broker", f"The app uses {of_the_app}, {SETTING} names {own}.", todo)


def same_server(patient: Examined, of_the_app: Address, own: Address) -> bool:
    """Whether both are one server, whatever the database: by their addresses, else by what the servers say."""
    if replace(of_the_app, db=own.db) == own:
        return True
    return bool(patient.app_server) and patient.app_server == str(patient.info.get("run_id"))


def of_console(patient: Examined) -> Address:
    """The address in OPSDASH_REDIS_URL."""
    url, app = address(patient.console.settings), patient.app
    return _address_of(url if app is None else url_with_app(url, app))


def of_app(connection: Any) -> Address:
    """The address that kombu makes of the app's broker_url, which is Redis's."""
    url = broker_url.of_connection(connection)
    if url is None:
        raise ValueError("no address of Redis")
    return _address_of(url)


def _address_of(url: BrokerUrl) -> Address:
    return Address(hosts=url.place, db=url.db, tls=url.tls, master=url.master_name)


def _may_be_one(one: Address, other: Address) -> bool:
    """They differ in the host's name alone, and a server may have several."""
    ports = [{host.rpartition(":")[2] for host in address.hosts} for address in (one, other)]
    return replace(one, hosts=other.hosts) == other and ports[0] == ports[1]


CHECKS = (role, broker_of_the_app)
