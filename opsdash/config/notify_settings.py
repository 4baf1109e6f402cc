"""Settings of notifications, and where finished audit entries are pushed to."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.config import notify_parsers, parsers
from opsdash.config.notify_parsers import DEFAULT_KINDS, URGENT_KINDS, QuietHours
from opsdash.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class NotifySettings:
    """Who is notified, of what, and when."""

    notify_urls: tuple[str, ...] = setting(
        default=(),
        parse=notify_parsers.notify_urls,
        secret=True,
        doc="Who is notified: addresses as `apprise` takes them, such as `slack://…` or `mailtos://…`, and"
        " `webhook+https://…`; several with blanks between them.",
    )
    notify_kinds: tuple[str, ...] = setting(
        default=DEFAULT_KINDS,
        parse=notify_parsers.kinds,
        doc="Of what: `acts` (or single operations, e.g. `clear_queue`), `pause_ends`, `approval`, `worker`, `service`,"
        " `backlog`, `age`, `failures`, `chain`, `push`.",
    )
    notify_urgent: tuple[str, ...] = setting(
        default=URGENT_KINDS, parse=notify_parsers.kinds, doc="Kinds that are also sent in quiet hours."
    )
    notify_quiet: QuietHours | None = setting(  # noqa: RUF009 - frozen
        default=None,
        parse=notify_parsers.quiet_hours,
        doc="Quiet hours, e.g. `22:00-07:00 Europe/Berlin` (without a zone: UTC): what is not urgent waits until they"
        " end.",
    )
    notify_backlog: int | None = setting(
        default=None,
        parse=parsers.number(1, 10**9, int),
        doc="A queue with more pending tasks than this is a notification.",
    )
    notify_oldest_s: int | None = setting(
        default=None,
        parse=parsers.number(1, 10**7, int),
        doc="A queue whose oldest pending task is older than so many seconds is a notification.",
    )
    notify_failures: int = setting(
        default=10,
        parse=parsers.number(0, 1_000_000, int),
        doc="So many failures of a kind that is new in the last hour are a notification; 0: never.",
    )
    notify_arguments: bool = setting(
        default=False,
        parse=notify_parsers.truth,
        doc="`yes`: notifications have an operation's parameters and an exception's text in them, without what looks"
        " secret.",
    )
    notify_hmac_key: str | None = setting(
        default=None,
        parse=parsers.secret,
        secret=True,
        doc="Signs what is sent to `webhook+https://…`, and to the webhook of `OPSDASH_AUDIT_PUSH`.",
    )
    heartbeat_url: str | None = setting(
        default=None,
        parse=notify_parsers.web_address,
        secret=True,
        doc="An address that is called while all is sent, so that its owner notices when it no longer is.",
    )
    heartbeat_s: int = setting(
        default=300, parse=parsers.number(10, 86_400, int), doc="Seconds between two calls of it."
    )
    audit_push: str | None = setting(
        default=None,
        parse=notify_parsers.audit_push,
        secret=True,
        doc="Where finished audit entries go as they finish: `syslog+tls://host:port` (also `+tcp`, `+udp`),"
        " `https://…` or `file:///path`.",
    )
