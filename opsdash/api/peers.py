"""``GET /api/v1/peers``: other deployments, as their own consoles say."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from opsdash.api.handler import Handler
from opsdash.api.requests import NoQuery
from opsdash.api.schemas import fields_of
from opsdash.model import to_plain
from opsdash.model.peer import PeerReading

PEERS_S = 5.0
"""So long other deployments are waited for that were never tried."""

PeerRead = msgspec.defstruct(
    "PeerRead",
    [*fields_of(PeerReading), ("age_s", float | None), ("stale", bool)],
    kw_only=True,
    namespace={
        "__doc__": "Another deployment, as its own console says it; null: not known. ``age_s``: how old the figures"
        " are; ``stale``: too old to say anything of now. ``error``: why there are no newer ones. ``url``: its page, by"
        " our own setting."
    },
)


class PeersRead(msgspec.Struct, kw_only=True):
    """The other deployments of OPSDASH_PEERS, in its order."""

    peers: tuple[PeerRead, ...]  # type: ignore[valid-type] # made at run time


def peers_read(readings: tuple[PeerReading, ...]) -> PeersRead:
    """With their ages now."""
    now = datetime.now(UTC)
    facts = [{**to_plain(one), "age_s": one.age_s(now), "stale": one.stale(now)} for one in readings]
    return msgspec.convert({"peers": facts}, PeersRead)


class Peers(Handler):
    """Other deployments."""

    async def get(self) -> None:
        """The last reading of each; those that were never tried are waited for."""
        self.query(NoQuery)
        readings = await self.work(lambda: self.console.peers.read(PEERS_S))
        self.set_header("Cache-Control", "private, no-cache")
        self.send(peers_read(readings))
