"""The Redis side: one client, and the key layout of the Celery app on it."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from opsdash.config import broker_name, broker_url
from opsdash.config.broker_url import BrokerUrl
from opsdash.config.settings import Settings
from opsdash.errors import Invalid, OpsdashError, Unavailable
from opsdash.keys import Keys
from opsdash.model.key_layout import APP, SETTING, Claim, Layout
from opsdash.redaction import masked
from opsdash.services.broker import writes
from opsdash.services.broker.key_layout import Layouts
from opsdash.text import as_text
from opsdash.values import frozen

_REFUSED = {
    redis.exceptions.NoPermissionError: "refused a command (opsdash doctor says which right is missing)",
    redis.exceptions.ReadOnlyError: "is a replica, which takes no writes",
    redis.exceptions.OutOfMemoryError: "is full",
}
ADVICE = "Free memory (opsdash delete-trash, or clear-queue) or raise maxmemory, then try again."
CERTIFICATE = (
    "Add ?ssl_ca_certs=FILE to OPSDASH_REDIS_URL, with the authority to trust. Or accept any certificate, as"
    " Celery does by default, with ?ssl_cert_reqs=none."
)
"""What to do about a certificate that nobody here trusts."""
TIMEOUT_S = 2.0
MOST_CAUSES, LONGEST_CAUSE = 3, 300
"""How many causes of an error in a user's module are shown, and how many characters of each."""


@frozen
class Broker:
    """One Redis or Valkey server as Celery uses it.

    Attributes:
        client: Decodes to str; gives up after 2 s and never sends a command twice.
        layouts: How messages and opsdash's own keys are named there; learnt when it is first used.
        label: The server for people, without a password.
        queues: Queue names from the settings, then those of the app; empty: none is configured.
        exchanges: Exchanges that the app's queues are bound to, fanout ones left out.
        address: Where the server is; None: not known, and not compared.
    """

    client: redis.Redis
    layouts: Layouts
    label: str
    queues: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    address: BrokerUrl | None = field(default=None, repr=False)

    @property
    def identity(self) -> str:
        """What the audit log calls it, by server, database and key prefix; empty: nobody said. Cost: as ``layout``."""
        return "" if self.address is None else broker_name.identity(self.address, self.layout.prefix)

    @property
    def layout(self) -> Layout:
        """The layout in force. Cost: nothing, but the first time some two round trips."""
        return self.layouts.layout

    @property
    def keys(self) -> Keys:
        """Opsdash's names under the layout's prefix."""
        return Keys(self.layout.prefix)

    @property
    def priority_steps(self) -> tuple[int, ...]:
        """Kombu's priority steps; step 0 is the list named like the queue."""
        return self.layout.priority_steps

    @property
    def separator(self) -> str:
        """Between a queue's name and its step."""
        return self.layout.separator

    def lists(self, queue: str) -> dict[int, str]:
        """Priority step → Redis list of one queue."""
        return self.layout.lists(queue)

    @property
    def unacked(self) -> str:
        """Hash of all messages that workers hold: reserved, active and scheduled."""
        layout = self.layout
        return layout.prefix + layout.unacked

    @property
    def unacked_index(self) -> str:
        """Sorted set beside it: delivery tag → when it was fetched, by the worker's clock."""
        layout = self.layout
        return layout.prefix + layout.unacked_index

    def ping(self) -> None:
        """Asks for an answer.

        Raises:
            Unavailable: There was none.
        """
        with self.reading():
            self.client.ping()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turns a Redis fault during a read into one line; use around reads only, since it says nothing was changed.

        Raises:
            Unavailable: Redis did not answer, or answered with an error.
            Invalid: It refused the password.
        """
        try:
            with writes.aside():
                yield
        except redis.RedisError as error:
            raise self.fault(error) from error

    def fault(self, error: redis.RedisError) -> OpsdashError:
        """What kept Redis from doing what it was asked, where that is known to have changed nothing."""
        if isinstance(error, redis.AuthenticationError):
            return Invalid(
                f"Redis at {self.label} refused the user or password, or needs one.", setting="OPSDASH_REDIS_URL"
            )
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            advice = CERTIFICATE if _is_distrust(error) else ""
            return Unavailable(f"Redis at {self.label} did not answer ({_reason(error)}).", silent=True, hint=advice)
        what = next((what for kind, what in _REFUSED.items() if isinstance(error, kind)), "answered with an error")
        advice = ADVICE if isinstance(error, redis.exceptions.OutOfMemoryError) else ""
        return Unavailable(f"Redis at {self.label} {what}: {writes.error_text(error)}.", hint=advice)


def connect(settings: Settings) -> Broker:
    """A broker from the settings; opens no connection yet.

    Raises:
        Invalid: The URL or the Celery app can't be used.
    """
    app = None if settings.celery_app is None else _load_app(settings.celery_app)
    url = address(settings)
    if app is None:
        client = _client(url)
        own = Claim(source=SETTING, facts=_setting_facts(settings, url))
        return Broker(client, Layouts(client, [own], settings.queues), url.label, settings.queues, address=url)
    try:
        url = url_with_app(url, app)
        facts, queues, exchanges = _app_facts(app)
        sentinels = dict(dict(app.conf.broker_transport_options or {}).get("sentinel_kwargs") or {})
    except Exception as error:  # its configuration is read here for the first time, and may raise anything
        raise Invalid(
            f"the configuration of {settings.celery_app!r} can't be used: {_cause(error)}", setting="OPSDASH_CELERY_APP"
        ) from error
    client = _client(url, sentinels)
    names = tuple(dict.fromkeys([*settings.queues, *queues]))
    own = Claim(source=SETTING, facts=_setting_facts(settings, url))
    layouts = Layouts(client, [own, Claim(source=APP, facts=facts)], names)
    return Broker(client, layouts, url.label, names, exchanges, url)


def address(settings: Settings) -> BrokerUrl:
    """The broker's address in the settings.

    Raises:
        Invalid: It is none, or of another kind.
    """
    try:
        return broker_url.read(settings.redis_url)
    except ValueError as error:
        raise Invalid(f"{error}", setting="OPSDASH_REDIS_URL") from None


def url_with_app(url: BrokerUrl, app: Any) -> BrokerUrl:
    """The address with the app's ``broker_use_ssl``, where both name one server and the address says nothing of it."""
    of_app = broker_url.of_connection(app.connection_for_write())  # opens none
    same = of_app is not None and of_app.place == url.place
    return url.with_tls(app.conf.broker_use_ssl) if same else url


def _client(url: BrokerUrl, sentinels: Mapping[str, Any] | None = None) -> redis.Redis:
    options: dict[str, Any] = {
        **url.redis_options,
        "decode_responses": True,
        "encoding_errors": "backslashreplace",  # a foreign value that isn't UTF-8 must not break a page
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        # A write whose answer got lost may have happened: it is reported as uncertain, never sent again.
        "retry": Retry(NoBackoff(), 0),
    }
    if url.master_name:  # asked for at every new connection
        of_sentinels = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        of_sentinels |= {**url.sentinel_kwargs, **(sentinels or {})}
        found: Any = Sentinel(url.hosts, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call] # of redis-py
        client: redis.Redis = found.master_for(url.master_name, writes.Client, ssl=url.tls, **options)
        return client
    if url.path:
        options["connection_class"] = redis.UnixDomainSocketConnection
        del options["socket_connect_timeout"]
    elif url.tls:
        options["connection_class"] = redis.SSLConnection
    return writes.Client.from_pool(redis.ConnectionPool(**options))


def _setting_facts(settings: Settings, url: BrokerUrl) -> dict[str, Any]:
    facts = {
        "prefix": settings.key_prefix,
        "separator": settings.separator,
        "priority_steps": settings.priority_steps,
        "db": url.db,
    }
    return {fact: value for fact, value in facts.items() if value is not None}


def _app_facts(app: Any) -> tuple[dict[str, Any], list[str], tuple[str, ...]]:
    """What an app says of the layout, its queues, and their exchanges; broadcasts left out.

    What its transport options leave out is kombu's default, and the app says that as well.
    """
    options = dict(app.conf.broker_transport_options or {})
    plain = Layout()
    facts: dict[str, Any] = {
        "prefix": str(options.get("global_keyprefix") or ""),
        "separator": str(options.get("sep", plain.separator)),
        "priority_steps": tuple(int(step) for step in options.get("priority_steps", plain.priority_steps)),
        "unacked": str(options.get("unacked_key", plain.unacked)),
        "unacked_index": str(options.get("unacked_index_key", plain.unacked_index)),
        "visibility_timeout_s": float(options.get("visibility_timeout", plain.visibility_timeout_s)),
        "control_exchange": str(app.conf.control_exchange),
    }
    url = broker_url.of_connection(app.connection_for_write())  # opens none
    if url is not None and not url.master_name:
        facts |= {"transport": "redis", "db": url.db}
    queues = [queue for queue in app.amqp.queues.values() if not _is_fanout(queue)]
    bound = [part.exchange for queue in queues for part in (queue, *(queue.bindings or ()))]
    exchanges = dict.fromkeys(str(one.name) for one in bound if one is not None and one.name and one.type != "fanout")
    return facts, [str(queue.name) for queue in queues], tuple(exchanges)


def _is_fanout(queue: Any) -> bool:
    return queue.exchange is not None and queue.exchange.type == "fanout"


def celery_app(settings: Settings, layout: Layout | None = None) -> Any:
    """The deployment's Celery app, else a bare one on its broker that goes by the layout. Loads Celery.

    Raises:
        Invalid: The app can't be loaded, or the address is none.
    """
    if settings.celery_app is not None:
        return _load_app(settings.celery_app)
    from celery import Celery

    layout = layout or Layout()
    url = address(settings)
    options = dict(url.transport_options)
    if layout.prefix:
        options["global_keyprefix"] = layout.prefix
    options |= {"sep": layout.separator, "priority_steps": list(layout.priority_steps)}
    app = Celery("opsdash", broker=url.kombu_url, set_as_current=False, fixups=[])
    app.conf.broker_use_ssl = url.kombu_ssl
    app.conf.broker_transport_options = options
    app.conf.control_exchange = layout.control_exchange
    return app


def _load_app(path: str) -> Any:
    if (here := os.getcwd()) not in sys.path:  # as the celery command does
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):  # what a module prints when it is imported is no answer of ours
            app = _find(path)
            if hasattr(app, "amqp"):
                len(app.conf)  # read here, not later; asked for one setting, Celery swallows a KeyError of its module
    except (Exception, SystemExit) as error:  # the user's module may raise anything; it is theirs to read, as one line
        raise Invalid(f"can't load {path!r}: {_cause(error)}", setting="OPSDASH_CELERY_APP") from error
    if not hasattr(app, "amqp"):
        raise Invalid(f"{path!r} is not a Celery app; expected package.module:app", setting="OPSDASH_CELERY_APP")
    return app


def _find(path: str) -> Any:
    """As ``celery -A`` finds it; and ``proj:app`` where the app is ``proj.celery:app``, as in a Django project."""
    from celery.app.utils import find_app

    module, colon, name = path.partition(":")
    try:
        return find_app(path)
    except ModuleNotFoundError as error:
        if not colon or error.name != path:  # Celery tries it as a module's name where the module has no such name
            raise
    try:
        return find_app(module)
    except AttributeError:
        raise AttributeError(f"{module} has no {name!r}, and no Celery app under another name") from None


def _cause(error: BaseException) -> str:
    """An error of the user's module in one line, with what it came from: ``KeyError: 'NOT_SET_HERE'``."""
    causes: list[str] = []
    chained: BaseException | None = error
    while chained is not None and len(causes) < MOST_CAUSES:
        causes.append(masked(as_text(" ".join(f"{type(chained).__name__}: {chained}".split())))[:LONGEST_CAUSE])
        chained = chained.__cause__
    return ", because of ".join(dict.fromkeys(causes))


def _is_distrust(error: BaseException | None) -> bool:
    """A server's certificate was refused here."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _reason(error: Exception) -> str:
    if isinstance(error, MasterNotFoundError):
        return "the sentinels name no master"
    if isinstance(error, redis.TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:] if text else "connection lost"
