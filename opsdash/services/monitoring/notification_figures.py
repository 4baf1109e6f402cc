"""How sending notifications goes, as the console that sends them writes it into Redis, with a keyed digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opsdash.model import untrusted
from opsdash.model.notification import NotificationFigures
from opsdash.services.audit.chain import ChainSigner

FIELD = "figures"
"""Of the hash ``opsdash:notify``."""
LARGE_FIGURES = 4_096
LARGE = 1024 * 1024


def closed(signer: ChainSigner, record: Mapping[str, Any]) -> str:
    """A record as text that only a console of this deployment can have written."""
    text = json.dumps(record, separators=(",", ":"), default=str)
    return f"{signer.mac(f'notify:{text}')}:{text}"


def opened(signer: ChainSigner, text: str) -> Mapping[str, Any]:
    """The record; an empty one in place of what no console has written."""
    mac, _, record = text.partition(":")
    if not record or not signer.is_mac(f"notify:{record}", mac):
        return {}
    return untrusted.mapping(untrusted.parsed(record, LARGE))


def figures_of(signer: ChainSigner, text: str) -> NotificationFigures | None:
    """The figures in that field; None: nothing was ever sent from here."""
    if not (raw := opened(signer, text)):
        return None
    return NotificationFigures(
        waiting=untrusted.whole(raw.get("waiting")) or 0,
        oldest_s=untrusted.figure(raw.get("oldest_s")),
        sent=untrusted.whole(raw.get("sent")) or 0,
        given_up=untrusted.whole(raw.get("given_up")) or 0,
        given_up_at=untrusted.moment(raw.get("given_up_at")),
        problem=untrusted.words(raw.get("problem")),
    )
