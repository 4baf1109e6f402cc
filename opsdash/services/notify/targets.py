"""Addresses that are notified: those that apprise knows, and our own webhook. None of them is shown as a whole."""

from __future__ import annotations

import importlib.util
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from opsdash.config.notify_parsers import WEBHOOKS
from opsdash.config.settings import Settings
from opsdash.model.notification import Notification, to_record
from opsdash.redaction import HIDDEN, masked
from opsdash.services.notify import texts, webhook
from opsdash.services.notify.webhook import NotTaken
from opsdash.values import frozen

HOSTS = frozenset({"mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms", *WEBHOOKS})
"""Schemes whose host is one. That of many others is a token."""
INSTALL = 'pip install "opsdash[notify]"'
NOT_INSTALLED = f"apprise is not installed: {INSTALL}"
REASON = 200
_IN_ADDRESS = 4
"""Characters of the shortest part of an address that is hidden in a reason."""


@frozen(kw_only=True)
class Ready:
    """A message in words, ready to be sent.

    Attributes:
        id: The same at each address and attempt. ``attempt``: 1 for the first.
    """

    id: str
    attempt: int
    title: str
    body: str
    notification: Notification
    environment: str | None = None

    def record(self) -> dict[str, Any]:
        """What a webhook gets."""
        return {
            "id": self.id,
            "attempt": self.attempt,
            "title": self.title,
            "body": self.body,
            "environment": self.environment,
            **to_record(self.notification),
        }


class Target(Protocol):
    """One address."""

    @property
    def address(self) -> str:
        """The whole address: for `NotificationStore.target_id` alone."""

    @property
    def label(self) -> str:
        """What is shown of it: scheme, host and port at most."""

    def send(self, message: Ready) -> None:
        """Sends it now.

        Raises:
            NotTaken: With the reason, without any part of the address.
        """


@frozen
class WebhookTarget:
    """Our own webhook."""

    address: str = field(repr=False)
    label: str
    key: str | None = field(default=None, repr=False)

    def send(self, message: Ready) -> None:
        """One POST."""
        scheme, _, rest = self.address.partition("://")
        address = f"{WEBHOOKS[scheme]}://{rest}"
        webhook.post(address, message.record(), key=self.key, headers={webhook.ID: message.id})


@frozen
class AppriseTarget:
    """An address that apprise knows."""

    address: str = field(repr=False)
    label: str
    service: Any = field(repr=False)

    def send(self, message: Ready) -> None:
        """By apprise, with its own timeouts (4 s for each step unless the address says otherwise)."""
        kind = "success" if message.notification.recovery else "warning"
        with _reasons() as said:
            try:
                # As plain text: apprise turns it into what the service takes, so no name from outside is markup.
                taken = self.service.notify(
                    title=message.title, body=message.body, notify_type=kind, body_format="text"
                )
            except Exception as error:  # noqa: BLE001 - a plugin of apprise may raise anything
                raise NotTaken(type(error).__name__) from None  # its text may have the address in it
        if not taken:
            raise NotTaken(scrubbed(said[-1], self.address) if said else "it did not take it")


def targets(settings: Settings) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Those that can be used, and a sentence for each that can't."""
    found: list[Target] = []
    problems: list[str] = []
    for number, address in enumerate(settings.notify_urls, start=1):
        name = f"address {number} ({label(address)})"
        if address.partition("://")[0] in WEBHOOKS:
            found.append(WebhookTarget(address, label(address), settings.notify_hmac_key))
        elif not installed():
            problems.append(f"{name}: {NOT_INSTALLED}")
        elif (service := _service(address)) is None:
            problems.append(f"{name}: apprise does not know it, or something in it is missing")
        else:
            found.append(AppriseTarget(address, label(address), service))
    return tuple(found), tuple(problems)


def installed() -> bool:
    """Whether apprise is."""
    return importlib.util.find_spec("apprise") is not None


def label(address: str) -> str:
    """Scheme, and host and port where they can be no token."""
    return f"{address.partition('://')[0]}://{':'.join(_host_and_port(address))}"


def _host_and_port(address: str) -> list[str]:
    """What may be shown of what is behind the scheme: nothing, a host, or a host and its port."""
    if address.partition("://")[0] not in HOSTS:
        return []
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return []
    shown = f"[{host}]" if ":" in host else host
    try:
        port = parts.port
    except ValueError:
        return [shown]
    # An @ behind it: this may be the beginning of a password that was not quoted.
    behind = (parts.path, parts.query.partition("=")[0], parts.fragment)
    return [shown] if port is None or any("@" in part for part in behind) else [shown, str(port)]


def scrubbed(text: str, address: str) -> str:
    """A reason without any part of the address but scheme, host and port that may be shown, and without secrets."""
    rest = address.partition("://")[2]
    kept = {*(shown := _host_and_port(address)), ":".join(shown)}
    parts = {rest}
    for separator in "/?&=:@#,+":
        parts = {piece for part in parts for piece in (part, *part.split(separator))}
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _IN_ADDRESS and part.lower() not in kept:
            text = text.replace(part, HIDDEN)
    line = masked(" ".join(text.split()))
    return line if len(line) <= REASON else f"{line[: REASON - 1]}…"


def _service(address: str) -> Any:
    with _reasons(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its plugins import is not ours to mend
        import apprise

        # In the thread that calls, which knows the reasons and may last: no threads of apprise's that outlive it.
        asset = apprise.AppriseAsset(async_mode=False)
        asset.http_redirects = False  # what is for one receiver, and its token, goes to no other one
        asset._service_timeout = 0  # else, from 2.0 on, it waits for another thread
        service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        if service is None:
            return None
        if address.partition("://")[0] in HOSTS:
            service.request_rate_per_sec = 0  # else 5.5 s between two mails: that is for public services
        sender = apprise.Apprise(asset=asset)
        sender.add(service)
    return sender


class _Reasons(logging.Handler):
    """Keeps what one thread's call of apprise logs, of which nothing goes on to other handlers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.of: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        if (said := self.of.get(record.thread or 0)) is not None:
            said.append(record.getMessage())


_handler = _Reasons()


@contextmanager
def _reasons() -> Iterator[list[str]]:
    # apprise logs parts of addresses: nothing of it may reach a log.
    logger = logging.getLogger("apprise")
    if _handler not in logger.handlers:
        logger.addHandler(_handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    thread = threading.get_ident()
    said: list[str] = []
    _handler.of[thread] = said
    try:
        yield said
    finally:
        _handler.of.pop(thread, None)


def ready(notification: Notification, message_id: str, *, attempt: int = 1, environment: str | None = None) -> Ready:
    """A notification in words."""
    return Ready(
        id=message_id,
        attempt=attempt,
        title=texts.title(notification, environment),
        body=texts.body(notification, message_id),
        notification=notification,
        environment=environment,
    )
