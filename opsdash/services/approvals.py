"""Acts that wait for a second person: kept in Redis until a different operator approves or their time is over."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from opsdash.errors import OpsdashError, Refused
from opsdash.model import Actor, Approval, AuditEntry, Preview, Role, Status, to_plain
from opsdash.operation import Operation, registry
from opsdash.services.audit import AuditLog
from opsdash.services.broker import Broker
from opsdash.text import format_duration

log = logging.getLogger(__name__)

EXPIRY = "(expiry)"
"""Takes, in place of a person, what nobody approved in time."""
KEPT_S = 86_400
"""What was asked outlives its time by so long: a console that starts later still writes down that it expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What waits, as it was asked for.

    Attributes:
        entry: The audit entry of the one who asked, in progress: it gets the outcome.
        reviewed: What was on the screen then; what came later is left alone.
        taken: By whom it was approved, or ``EXPIRY``; empty while it waits.
    """

    id: str
    operation: Operation
    actor: Actor
    entry: AuditEntry
    reviewed: Preview
    expires_at: datetime
    taken: str = ""

    @property
    def approval(self) -> Approval:
        """The same, for whoever looks."""
        return Approval(
            id=self.id,
            operation=self.operation.name,
            title=self.operation.title,
            params=self.operation.params(),
            by=self.actor.name,
            at=self.entry.timestamp,
            expires_at=self.expires_at,
            surface=self.actor.surface,
        )


@dataclass(frozen=True, slots=True)
class Approvals:
    """Keeps, finds and takes them. One is taken once: by who approves it, or by its expiry."""

    broker: Broker
    audit: AuditLog
    ttl_s: int

    def ask(self, operation: Operation, actor: Actor, entry: AuditEntry, reviewed: Preview) -> Asked:
        """Keeps it, under the id of its audit entry. Cost: one MULTI.

        Raises:
            redis.RedisError: Redis did not take it.
        """
        expires_at = datetime.now(UTC) + timedelta(seconds=self.ttl_s)
        asked = Asked(
            id=entry.id.hex, operation=operation, actor=actor, entry=entry, reviewed=reviewed, expires_at=expires_at
        )
        told = {"actor": actor, "entry": entry, "reviewed": reviewed, "expires_at": expires_at}
        text, key = json.dumps(to_plain(told)), self.broker.keys.approval(asked.id)
        mac = self.audit.sealer.mac(f"approval:{asked.id}:{text}")
        with self.broker.client.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping={"asked": text, "mac": mac})
            pipe.expire(key, self.ttl_s + KEPT_S)
            pipe.zadd(self.broker.keys.approvals, {asked.id: expires_at.timestamp()})
            pipe.execute()
        return asked

    def waiting(self) -> tuple[Approval, ...]:
        """What waits, the oldest first. Cost: one ZRANGEBYSCORE, and one round trip more where there is any.

        Raises:
            Unavailable: Redis did not answer.
        """
        now = datetime.now(UTC).timestamp()
        with self.broker.reading():
            ids: Any = self.broker.client.zrangebyscore(self.broker.keys.approvals, now, "+inf")
            asked = [self._read(approval_id) for approval_id in ids]
        waiting = [one.approval for one in asked if one is not None and not one.taken]
        return tuple(sorted(waiting, key=lambda one: one.at))

    def find(self, approval_id: str) -> Asked:
        """What waits under this id.

        Raises:
            Refused: Nothing does: it was used, it expired, or it was never asked for.
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            asked = self._read(approval_id)
        if asked is None:
            raise Refused(
                f"Nothing waits for approval under {approval_id!r}: opsdash approvals lists what does."
                " Nothing was changed."
            )
        self._check_waiting(asked)
        return asked

    def take(self, asked: Asked, by: str) -> None:
        """Uses it up. Cost: one MULTI.

        Raises:
            Refused: Somebody was faster, or its time is over. Nothing was changed.
            redis.RedisError: Redis did not answer.
        """
        self._check_waiting(asked)
        if not self._take(asked, by):
            self._check_waiting(self.find(asked.id))

    def waits(self, entry: AuditEntry) -> bool:
        """Whether this entry is in progress because nobody has approved it yet. Cost: one HGETALL."""
        asked = self._read(entry.id.hex)
        return asked is not None and asked.taken in {"", EXPIRY}

    def settle(self) -> None:
        """Writes down, once, what expired. Never raises for an outage: the next look tries again."""
        try:
            now = datetime.now(UTC).timestamp()
            ids: Any = self.broker.client.zrangebyscore(self.broker.keys.approvals, "-inf", now)
            for approval_id in ids:
                asked = self._read(approval_id)
                if asked is not None and not asked.taken:
                    self._take(asked, EXPIRY)
                    asked = self._read(approval_id)  # somebody may have been faster
                if asked is not None and asked.taken == EXPIRY:
                    self._expire(asked)
                self.broker.client.zrem(self.broker.keys.approvals, approval_id)
        except (OpsdashError, redis.RedisError) as error:
            log.warning("expired approvals can't be looked at: %s", error)

    def _expire(self, asked: Asked) -> None:
        # Of several consoles each may come here, so that one that dies leaves nothing undone: an entry ends once.
        message = (
            f"Nobody approved it within {format_duration((asked.expires_at - asked.entry.timestamp).total_seconds())}."
            " Nothing was changed."
        )
        self.audit.finish(asked.entry, Status.REFUSED, {"message": message, "approved_by": EXPIRY})

    def _take(self, asked: Asked, by: str) -> bool:
        key = self.broker.keys.approval(asked.id)
        with self.broker.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, "taken", by)
            pipe.expire(key, KEPT_S)
            taken = bool(pipe.execute()[0])
        if taken and by != EXPIRY:
            self.broker.client.zrem(self.broker.keys.approvals, asked.id)
        return taken

    def _check_waiting(self, asked: Asked) -> None:
        what = f"{asked.operation.title} asked for by {asked.actor.name}"
        if asked.taken not in {"", EXPIRY}:
            raise Refused(f"{what} was approved by {asked.taken} already. Nothing was changed.")
        if asked.taken or datetime.now(UTC) >= asked.expires_at:
            raise Refused(f"{what} expired at {asked.expires_at:%H:%M:%S} UTC. Nothing was changed.")

    def _read(self, approval_id: str) -> Asked | None:
        fields: Any = self.broker.client.hgetall(self.broker.keys.approval(approval_id))
        text = fields.get("asked", "")
        if not text:
            return None
        if not self.audit.sealer.is_mac(f"approval:{approval_id}:{text}", fields.get("mac", "")):
            log.error("the approval %s was not written by opsdash, or with another key", approval_id)
            return None
        told: dict[str, Any] = json.loads(text)
        entry = AuditEntry.from_plain(told["entry"])
        kind = registry().get(entry.operation)
        if kind is None:
            log.error("the approval %s is for %s, which this opsdash does not have", approval_id, entry.operation)
            return None
        return Asked(
            id=approval_id,
            operation=kind(**entry.details["params"]),
            actor=_actor(told["actor"]),
            entry=entry,
            reviewed=_preview(told["reviewed"]),
            expires_at=datetime.fromisoformat(told["expires_at"]),
            taken=fields.get("taken", ""),
        )


def _actor(raw: Mapping[str, Any]) -> Actor:
    return Actor(**{**raw, "role": Role[raw["role"].upper()], "groups": tuple(raw["groups"])})


def _preview(raw: Mapping[str, Any]) -> Preview:
    moved = {name: tuple(raw[name]) for name in ("lines", "choices")}
    return Preview(**{**raw, **moved, "taken_at": datetime.fromisoformat(raw["taken_at"])})
