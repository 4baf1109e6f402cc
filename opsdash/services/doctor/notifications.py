"""Notifications: are the addresses understood, signed, and taken."""

from __future__ import annotations

from datetime import UTC, datetime

from opsdash.config.notify_parsers import DEFAULT_KINDS, WEBHOOKS
from opsdash.model.notification import KINDS
from opsdash.operation import registry
from opsdash.services.audit import chain_head
from opsdash.services.doctor.finding import Examined, Findings, error, ok, warning
from opsdash.services.notify.store import NotificationStore
from opsdash.services.notify.targets import INSTALL, installed, targets
from opsdash.services.push.pusher import Pusher
from opsdash.services.push.receivers import Webhook, receiver


def addresses(patient: Examined) -> Findings:
    """Notifications: are the addresses understood."""
    settings = patient.console.settings
    if not settings.notify_urls:
        yield ok("notifications", "Not used: OPSDASH_NOTIFY_URLS is not set.")
        return
    found, problems = targets(settings)
    if problems and not installed():
        text = f"{len(problems)} of {len(settings.notify_urls)} addresses need apprise, which is not installed."
        yield error("notifications", text, f"Run: {INSTALL}")
    else:
        for problem in problems:
            todo = "Compare it with apprise's documentation, and try it: opsdash notify test."
            yield error("notifications", f"{problem[:1].upper()}{problem[1:]}.", todo)
    if found:
        yield ok("notifications", f"Sent to {', '.join(target.label for target in found)}.")
    named = [*settings.notify_kinds, *settings.notify_urgent]
    known = {*DEFAULT_KINDS, *KINDS, *registry()}
    if unknown := [name for name in dict.fromkeys(named) if name not in known]:
        text = f"No kind of notification and no operation: {', '.join(unknown)}."
        yield warning("notifications", text, "Correct OPSDASH_NOTIFY_KINDS or OPSDASH_NOTIFY_URGENT.")
    webhooks = [one for one in settings.notify_urls if one.partition("://")[0] in WEBHOOKS]
    if webhooks and not settings.notify_hmac_key:
        text = "The webhook is sent without a signature: any client can send to it in opsdash's name."
        yield warning("notifications", text, "Set OPSDASH_NOTIFY_HMAC_KEY, and have the receiver check it.")


def sending(patient: Examined) -> Findings:
    """Notifications: are they taken."""
    console = patient.console
    if not console.settings.notify_urls:
        return
    figures = NotificationStore(console.broker, console.audit.signer).figures()
    if fault := figures.fault(datetime.now(UTC)):
        yield warning("notifications", f"{fault}.", "Try each address: opsdash notify test.")
    if not figures.sender:
        yield warning("notifications", "No console sends them just now.", "Start opsdash serve with these settings.")


def pushing(patient: Examined) -> Findings:
    """Audit push: do finished entries arrive."""
    console = patient.console
    if (target := receiver(console.settings)) is None:
        return
    if isinstance(target, Webhook) and not console.settings.notify_hmac_key:
        text = "Entries are pushed without a signature: any client can send some in opsdash's name."
        yield warning("audit push", text, "Set OPSDASH_NOTIFY_HMAC_KEY, and have the receiver check it.")
    position = Pusher(console.settings, broker=console.broker, audit=console.audit).position()
    behind = chain_head.head(console.audit.engine) - position.number
    text = f"Entries up to {position.number:,} were taken by {target.label}"
    if position.problem:
        yield warning("audit push", f"{text}; {behind:,} wait: {position.problem}.", "It is tried again by itself.")
    elif behind > BEHIND:
        yield warning("audit push", f"{text}; {behind:,} wait.", "Start opsdash serve with OPSDASH_AUDIT_PUSH.")
    else:
        yield ok("audit push", f"{text}; {behind:,} wait.")


BEHIND = 200
"""Entries: what a running console pushes at once."""
CHECKS = (addresses,)
ON_REDIS = (sending, pushing)
