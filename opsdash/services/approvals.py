"""Acts that wait for a second person: kept in Redis until a different operator approves or their time is over."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from opsdash.errors import OpsdashError, Refused
from opsdash.model import Actor, Approval, AuditEntry, Preview, Role, Status, to_plain
from opsdash.operation import Operation, parameters, registry
from opsdash.services.audit import AuditLog, public_params
from opsdash.services.broker import Broker
from opsdash.text import format_duration

log = logging.getLogger(__name__)

EXPIRY = "(expiry)"
"""Takes, in place of a person, what nobody approved in time."""
KEPT_S = 86_400
"""What was asked outlives its time by so long: a console that starts later still writes down that it expired."""
MOST = 200
"""Of what waits, or has expired, one look takes so many; and so many faults are told in the log."""
OTHER_TYPE = "WRONGTYPE"
"""How Redis's error begins where a key of that name holds something else."""
_OTHER_SHAPE = (AttributeError, KeyError, TypeError, ValueError, RecursionError, OpsdashError)
"""What reading a request of another version may raise; its digest says that it is no forgery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What waits, as it was asked for.

    Attributes:
        entry: The audit entry of the one who asked, in progress: it gets the outcome.
        reviewed: What was on the screen then; what came later is left alone.
    """

    id: str
    operation: Operation
    actor: Actor
    entry: AuditEntry
    reviewed: Preview
    expires_at: datetime

    @property
    def approval(self) -> Approval:
        """The same, for whoever looks."""
        return _approval(self.id, self.entry, self.operation.params(), self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What Redis has under one id, and is opsdash's own.

    Attributes:
        entry: None where not even that can be read.
        asked: None where this opsdash can't do it: ``approval.problem`` says why.
        taken: By whom it was approved, or ``EXPIRY``; empty while it waits.
    """

    approval: Approval
    entry: AuditEntry | None
    asked: Asked | None
    taken: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """Keeps, finds and takes them. One is taken once: by who approves it, or by its expiry."""

    broker: Broker
    audit: AuditLog
    ttl_s: int
    _told: set[str] = field(default_factory=set, init=False, compare=False, repr=False)

    def ask(self, operation: Operation, actor: Actor, entry: AuditEntry, reviewed: Preview) -> Asked:
        """Keeps it, under the id of its audit entry. Cost: one MULTI.

        Raises:
            redis.RedisError: Redis did not take it.
        """
        expires_at = datetime.now(UTC) + timedelta(seconds=self.ttl_s)
        asked = Asked(
            id=entry.id.hex, operation=operation, actor=actor, entry=entry, reviewed=reviewed, expires_at=expires_at
        )
        told = {  # with what its parameters really are: the audit entry has them without secrets
            "actor": actor,
            "entry": entry,
            "params": operation.params(),
            "reviewed": reviewed,
            "expires_at": expires_at,
        }
        text, key = json.dumps(to_plain(told)), self.broker.keys.approval(asked.id)
        mac = self.audit.sealer.mac(f"approval:{asked.id}:{text}")
        with self.broker.client.pipeline(transaction=True) as pipe:
            pipe.hset(key, mapping={"asked": text, "mac": mac})
            pipe.expire(key, self.ttl_s + KEPT_S)
            pipe.zadd(self.broker.keys.approvals, {asked.id: expires_at.timestamp()})
            pipe.execute()
        return asked

    def waiting(self) -> tuple[Approval, ...]:
        """What waits, the oldest first, at most ``MOST``; what this opsdash can't do is among it, and says so.

        Cost: one ZRANGEBYSCORE, and one round trip more where there is any.

        Raises:
            Unavailable: Redis did not answer.
        """
        now = datetime.now(UTC).timestamp()
        with self.broker.reading():
            kept = self._read_all(self._ids(now, "+inf"))
        waiting = [one.approval for one in kept if not one.taken]
        return tuple(sorted(waiting, key=lambda one: one.at))

    def find(self, approval_id: str) -> Asked:
        """What waits under this id.

        Raises:
            Refused: Nothing does: it was used, it expired, or it was never asked for. Or this opsdash can't do it.
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            kept = self._read(approval_id)
        if kept is None:
            raise Refused(
                f"Nothing waits for approval under {approval_id!r}: opsdash approvals lists what does."
                " Nothing was changed."
            )
        self._check_waiting(kept)
        if kept.asked is None:
            what = f"{kept.approval.title} asked for by {kept.approval.by}"
            raise Refused(f"{what} can't be done here. {kept.approval.problem} Nothing was changed.")
        return kept.asked

    def take(self, asked: Asked, by: str) -> None:
        """Uses it up. Cost: one MULTI.

        Raises:
            Refused: Somebody was faster, or its time is over. Nothing was changed.
            redis.RedisError: Redis did not answer.
        """
        if datetime.now(UTC) >= asked.expires_at or not self._take(asked.id, by):
            self.find(asked.id)

    def waits(self, entry: AuditEntry) -> bool:
        """Whether this entry is in progress because nobody has approved it yet. Cost: one round trip."""
        kept = self._read(entry.id.hex)
        return kept is not None and kept.taken in {"", EXPIRY}

    def settle(self) -> None:
        """Writes down, once, what expired. Never raises for an outage: the next look tries again."""
        try:
            for approval_id in self._ids("-inf", datetime.now(UTC).timestamp()):
                kept = self._read(approval_id)
                if kept is not None and not kept.taken:
                    self._take(approval_id, EXPIRY)
                    kept = self._read(approval_id)  # somebody may have been faster
                if kept is not None and kept.taken == EXPIRY and kept.entry is not None:
                    self._expire(kept.entry, kept.approval.expires_at)
                self.broker.client.zrem(self.broker.keys.approvals, approval_id)
        except (OpsdashError, redis.RedisError) as error:
            log.warning("expired approvals can't be looked at: %s", error)

    def _expire(self, entry: AuditEntry, expires_at: datetime) -> None:
        # Of several consoles each may come here, so that one that dies leaves nothing undone: an entry ends once.
        message = (
            f"Nobody approved it within {format_duration((expires_at - entry.timestamp).total_seconds())}."
            " Nothing was changed."
        )
        self.audit.finish(entry, Status.REFUSED, {"message": message, "approved_by": EXPIRY})

    def _take(self, approval_id: str, by: str) -> bool:
        key = self.broker.keys.approval(approval_id)
        with self.broker.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(key, "taken", by)
            pipe.expire(key, KEPT_S)
            taken = bool(pipe.execute()[0])
        if taken and by != EXPIRY:
            self.broker.client.zrem(self.broker.keys.approvals, approval_id)
        return taken

    def _check_waiting(self, kept: _Kept) -> None:
        approval = kept.approval
        what = f"{approval.title} asked for by {approval.by}"
        if kept.taken not in {"", EXPIRY}:
            raise Refused(f"{what} was approved by {kept.taken} already. Nothing was changed.")
        if kept.taken or datetime.now(UTC) >= approval.expires_at:
            raise Refused(f"{what} expired at {approval.expires_at:%H:%M:%S} UTC. Nothing was changed.")

    def _ids(self, since: float | str, until: float | str) -> list[str]:
        try:
            found: Any = self.broker.client.zrangebyscore(self.broker.keys.approvals, since, until, start=0, num=MOST)
        except redis.ResponseError as error:
            if not str(error).startswith(OTHER_TYPE):
                raise
            self._tell(self.broker.keys.approvals, "is not opsdash's list of approvals: it has another type")
            return []
        return list(found)

    def _read(self, approval_id: str) -> _Kept | None:
        return next(iter(self._read_all([approval_id])), None)

    def _read_all(self, ids: list[str]) -> list[_Kept]:
        """What can be read of them: each alone. Cost: one round trip."""
        if not ids:
            return []
        with self.broker.client.pipeline(transaction=False) as pipe:
            for approval_id in ids:
                pipe.hmget(self.broker.keys.approval(approval_id), ["asked", "mac", "taken"])
            replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, redis.RedisError) and not str(reply).startswith(OTHER_TYPE):
                raise reply
        return [kept for one, reply in zip(ids, replies, strict=True) if (kept := self._kept(one, reply)) is not None]

    def _kept(self, approval_id: str, reply: Any) -> _Kept | None:
        if isinstance(reply, redis.RedisError):
            self._tell(approval_id, "has another type")
            return None
        text, mac, taken = (value or "" for value in reply)
        if not text:
            return None
        sealer = self.audit.sealer
        # Without a secret nobody's word can be told from anybody's.
        if not sealer.keyed or not sealer.is_mac(f"approval:{approval_id}:{text}", mac):
            self._tell(approval_id, "was not written by opsdash, or with another key")
            return None
        try:
            told = json.loads(text)
            entry, expires_at = AuditEntry.from_plain(told["entry"]), datetime.fromisoformat(told["expires_at"])
            params = dict(told.get("params", entry.details["params"]))
        except _OTHER_SHAPE:
            self._tell(approval_id, "is of another version of opsdash, and can't be read")
            return None
        kind = registry().get(entry.operation)
        asked, problem = None, ""
        if kind is None:
            problem = f"This opsdash does not have the operation {entry.operation}."
        elif unknown := [name for name in params if name not in {field.name for field in parameters(kind)}]:
            problem = (
                f"Another version of opsdash asked for it, with what this one does not know: {', '.join(unknown)}."
            )
        else:
            try:
                asked = Asked(
                    id=approval_id,
                    operation=kind(**params),
                    actor=_actor(told["actor"]),
                    entry=entry,
                    reviewed=_preview(told["reviewed"]),
                    expires_at=expires_at,
                )
            except _OTHER_SHAPE:
                problem = "Another version of opsdash asked for it, in a way that this one does not know."
        approval = replace(_approval(approval_id, entry, params, expires_at), problem=problem)
        return _Kept(approval=approval, entry=entry, asked=asked, taken=taken)

    def _tell(self, what: str, why: str) -> None:
        """Into the log, once: a page looks every two seconds."""
        if what not in self._told and len(self._told) < MOST:
            self._told.add(what)
            log.error("the approval %s %s: it is left out", what, why)


def _approval(approval_id: str, entry: AuditEntry, params: Mapping[str, Any], expires_at: datetime) -> Approval:
    kind = registry().get(entry.operation)
    return Approval(
        id=approval_id,
        operation=entry.operation,
        title=entry.title if kind is None else kind.title,
        params=public_params(params),
        by=entry.user,
        at=entry.timestamp,
        expires_at=expires_at,
        surface=str(entry.details.get("surface", "")),
    )


def _actor(raw: Mapping[str, Any]) -> Actor:
    return Actor(**{**raw, "role": Role[raw["role"].upper()], "groups": tuple(raw["groups"])})


def _preview(raw: Mapping[str, Any]) -> Preview:
    moved = {name: tuple(raw[name]) for name in ("lines", "choices")}
    return Preview(**{**raw, **moved, "taken_at": datetime.fromisoformat(raw["taken_at"])})
