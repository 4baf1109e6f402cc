"""Acts that wait for a second person: kept in Redis until a different operator approves or their time is over."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import redis

from opsdash import lua
from opsdash.errors import NOTHING_CHANGED, OpsdashError, Refused, sentences
from opsdash.model import (
    Actor,
    Approval,
    AuditEntry,
    DeclaredOperation,
    Figure,
    Line,
    Preview,
    Role,
    Status,
    times,
    to_plain,
    untrusted,
)
from opsdash.model.untrusted import Unread
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.audit.details import public_params
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.text import format_duration

if TYPE_CHECKING:
    from opsdash.services.audit.log import AuditLog

log = logging.getLogger(__name__)

EXPIRY = "(expiry)"
"""Takes, in place of a person, what nobody approved in time."""
KEPT_S = 86_400
"""What was asked outlives its time by so long: a console that starts later still writes down that it expired."""
MOST = 200
"""One read takes this many pending or expired requests, and logs this many faults."""
LARGE = 256 * 1024
"""Bytes of what is asked for, with what was on the screen: a thousand queues are some 200 kB."""
WHAT = "requests for approval"
_ROOM = 4_000
"""Bytes beside that: a digest, and who approved it."""
_OTHER_SHAPE = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError, OpsdashError)
"""What reading a request of another version may raise; its digest says that it is no forgery."""

_ADD = lua.load(__name__, "approvals_add")
_SWEEP = lua.load(__name__, "approvals_sweep")
_TAKE = lua.load(__name__, "approvals_take")


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingApproval:
    """What waits, as it was asked for.

    Attributes:
        entry: The audit entry of the one who asked, in progress: it gets the outcome.
        reviewed: What was on the screen then; what came later is left alone.
    """

    id: str
    operation: DeclaredOperation
    actor: Actor
    entry: AuditEntry
    reviewed: Preview
    expires_at: datetime

    @property
    def approval(self) -> Approval:
        """The same, to show."""
        return _approval(self.id, self.entry, self.operation.title, self.operation.logged_params(), self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What Redis has under one id, and is opsdash's own.

    Attributes:
        entry: None where not even that can be read.
        pending: None where this opsdash can't do it: ``approval.problem`` says why.
        taken: By whom it was approved, or ``EXPIRY``; empty while it waits.
    """

    approval: Approval
    entry: AuditEntry | None
    pending: PendingApproval | None
    taken: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """Keeps, finds and takes them. One is taken once: by who approves it, or by its expiry.

    Attributes:
        find_audit: Gives the log in which an expiry is noted: nothing else needs it.
        ttl_s: How long one waits.
        operations: Classes by name: what was asked for under another name, or with other fields, can't be done here.
    """

    broker: Broker
    signer: ChainSigner
    _: KW_ONLY
    find_audit: Callable[[], AuditLog]
    ttl_s: int
    operations: Mapping[str, type[Any]]
    _logged: set[str] = field(default_factory=set, init=False, compare=False, repr=False)
    _gone: set[str] = field(default_factory=set, init=False, compare=False, repr=False)

    def add(self, operation: DeclaredOperation, actor: Actor, entry: AuditEntry, reviewed: Preview) -> PendingApproval:
        """Keeps it, under the id of its audit entry, also on a full Redis. Cost: one script.

        Raises:
            Refused: It is too large to wait. Nothing was changed.
            redis.RedisError: Redis did not take it.
        """
        expires_at = datetime.now(UTC) + timedelta(seconds=self.ttl_s)
        pending = PendingApproval(
            id=entry.id.hex, operation=operation, actor=actor, entry=entry, reviewed=reviewed, expires_at=expires_at
        )
        kept = {  # with what its parameters really are: the audit entry has them without secrets
            "actor": actor,
            "entry": entry,
            "params": operation.params(),
            "reviewed": _kept_of(reviewed),
            "expires_at": expires_at,
        }
        text, key = json.dumps(to_plain(kept)), self.broker.keys.approval(pending.id)
        if len(text) > LARGE:
            raise Refused(
                f"{operation.title}: the request is too large for an approval"
                f" ({len(text):,} bytes, {LARGE:,} at most).",
                hint="Ask for less at once.",
            )
        mac, ms = self.signer.mac(f"approval:{pending.id}:{text}"), (self.ttl_s + KEPT_S) * 1000
        index = self.broker.keys.approvals
        self.broker.client.eval(_ADD, 2, key, index, text, mac, str(ms), pending.id, str(expires_at.timestamp()))
        return pending

    def waiting(self) -> tuple[Approval, ...]:
        """What waits, the oldest first; see `look`."""
        return self.look()[0]

    def look(self) -> tuple[tuple[Approval, ...], tuple[Unread, ...]]:
        """What waits, the oldest first, and what of it can't be read or is too much.

        What this opsdash can't do is among what waits, and says so. Cost: two round trips, however many there are;
        ``MOST`` at most are read.

        Raises:
            Unavailable: Redis did not answer.
        """
        index, now = self.broker.keys.approvals, datetime.now(UTC).timestamp()
        with self.broker.reading():
            ids = self._ids(low=f"{now:.3f}")
            kept, bad = self._read_all([one for one, _ in ids.found])
        unread = ids.unread(WHAT, index) if ids.total is None else []
        if ids.total is not None and len(ids.found) + ids.long >= MOST:  # the index may hold what has expired too
            unread.append(Unread(what=WHAT, shown=len(kept), total=ids.total))
        if bad or ids.long:
            names = (*(untrusted.words(one) for one in bad), *["one with a name that is too long"][: ids.long])
            unread.append(Unread(what=WHAT, names=names))
        waiting = [one.approval for one in kept if not one.taken]
        return tuple(sorted(waiting, key=lambda one: one.at)), tuple(unread)

    def find(self, approval_id: str) -> PendingApproval:
        """What waits under this id.

        Raises:
            Refused: Nothing does: it was used, it expired, or it was never asked for. Or this opsdash can't do it.
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            kept = self._read(approval_id)
        if kept is None:
            raise Refused(
                f"Nothing waits for approval under {approval_id!r}.",
                hint="opsdash approvals lists what does.",
                field="approval_id",
            )
        self._check_waiting(kept)
        if kept.pending is None:
            what = f"{kept.approval.title} asked for by {kept.approval.by}"
            raise Refused(f"{what} can't be done here. {kept.approval.problem}")
        return kept.pending

    def take(self, pending: PendingApproval, by: str) -> None:
        """Uses it up, also on a full Redis. Cost: one script.

        Raises:
            Refused: Another user was faster, or it has expired. Nothing was changed.
            redis.RedisError: Redis did not answer.
        """
        if datetime.now(UTC) >= pending.expires_at or not self._take(pending.id, by):
            self.find(pending.id)

    def waits(self, entry: AuditEntry) -> bool:
        """Whether this entry is in progress because nobody has approved it yet. Cost: one round trip."""
        kept = self._read(entry.id.hex)
        return kept is not None and kept.taken in {"", EXPIRY}

    def close_expired(self) -> None:
        """Writes down, once, what expired. Never raises for an outage: the next look tries again."""
        try:
            self._sweep()
            self._close_expired(datetime.now(UTC).timestamp())
        except (OpsdashError, redis.RedisError) as error:
            log.warning("expired approvals can't be looked at: %s", error)

    def _sweep(self) -> None:
        """Takes off the list what has no request: it is in the place of one that has. Cost: one script, or nothing."""
        gone = sorted(self._gone)
        self._gone.clear()
        if gone:
            keys = self.broker.keys
            self.broker.client.eval(_SWEEP, 1 + len(gone), keys.approvals, *map(keys.approval, gone), *gone)

    def _close_expired(self, now: float) -> None:
        """Cost: one round trip where nothing has expired, else five, however much it is; then the audit log's."""
        index, client = self.broker.keys.approvals, self.broker.client
        ids = [one for one, _ in self._ids(high=f"{now:.3f}").found]
        if not ids:
            return
        kept, _bad = self._read_all(ids)
        if open_ids := [one.approval.id for one in kept if not one.taken]:
            with client.pipeline(transaction=False) as pipe:
                for approval_id in open_ids:
                    self._add_take(pipe, approval_id, EXPIRY)
                pipe.execute()
            kept, _bad = self._read_all(ids)  # another console may have been faster
        for one in kept:
            if one.taken == EXPIRY and one.entry is not None:
                self._expire(one.entry, one.approval.expires_at)
        client.zrem(index, *ids)
        # Expired long ago: the request itself no longer exists, so it can't be closed.
        client.zremrangebyscore(index, "-inf", now - KEPT_S)

    def _expire(self, entry: AuditEntry, expires_at: datetime) -> None:
        # Of several consoles each may come here, so that one that dies leaves nothing undone: an entry ends once.
        waited = format_duration((expires_at - entry.timestamp).total_seconds())
        message = sentences(f"It was not approved within {waited}.", NOTHING_CHANGED)
        self.find_audit().finish(entry, Status.REFUSED, {"message": message, "approved_by": EXPIRY})

    def _take(self, approval_id: str, by: str) -> bool:
        with self.broker.client.pipeline(transaction=False) as pipe:
            self._add_take(pipe, approval_id, by)
            return bool(pipe.execute()[0])

    def _add_take(self, pipe: Any, approval_id: str, by: str) -> None:
        keys, leaves = self.broker.keys, "" if by == EXPIRY else approval_id
        pipe.eval(_TAKE, 2, keys.approval(approval_id), keys.approvals, by, str(KEPT_S * 1000), leaves)

    def _check_waiting(self, kept: _Kept) -> None:
        approval = kept.approval
        what = f"{approval.title} asked for by {approval.by}"
        if kept.taken not in {"", EXPIRY}:
            raise Refused(f"{what} was approved by {kept.taken} already.")
        if kept.taken or datetime.now(UTC) >= approval.expires_at:
            raise Refused(f"{what} expired at {times.clock(approval.expires_at)}.")

    def _ids(self, *, low: str = "-inf", high: str = "+inf") -> bounded_reads.Members:
        """Those whose time ends first, and how many there are."""
        found = bounded_reads.read_members(
            self.broker.client, self.broker.keys.approvals, most=MOST, low=low, high=high, rising=True
        )
        if found.total is None:
            self._log_once(self.broker.keys.approvals, "is not opsdash's list of approvals: it has another type")
        return found

    def _read(self, approval_id: str) -> _Kept | None:
        return next(iter(self._read_all([approval_id])[0]), None)

    def _read_all(self, ids: list[str]) -> tuple[list[_Kept], list[str]]:
        """What can be read of them, each alone, and the ids of what can't. Cost: one round trip."""
        keys = [self.broker.keys.approval(one) for one in ids]
        hashes = bounded_reads.hashes(self.broker.client, keys, most_fields=3, most=LARGE + _ROOM)
        read = [(one, self._kept(one, fields)) for one, fields in zip(ids, hashes, strict=True) if fields != {}]
        self._gone.update({*ids} - {one for one, _ in read})
        return [kept for _, kept in read if kept is not None], [one for one, kept in read if kept is None]

    def _kept(self, approval_id: str, fields: Mapping[str, str] | None) -> _Kept | None:
        if fields is None:
            self._log_once(approval_id, "is too large, or has another type")
            return None
        text, mac, taken = (fields.get(name, "") for name in ("asked", "mac", "taken"))
        signer = self.signer
        # Without a secret a request can't be authenticated.
        if not signer.keyed or not signer.is_mac(f"approval:{approval_id}:{text}", mac):
            self._log_once(approval_id, "was not written by opsdash, or with another key")
            return None
        try:
            return _understood(
                self.operations, approval_id, untrusted.mapping(untrusted.parsed(text, LARGE)), untrusted.words(taken)
            )
        except _OTHER_SHAPE:
            self._log_once(approval_id, "is of another version of opsdash, and can't be read")
            return None

    def _log_once(self, what: str, why: str) -> None:
        """Into the log, once: a page looks every two seconds."""
        if what not in self._logged and len(self._logged) < MOST:
            self._logged.add(what)
            log.error("the approval %s %s: it is left out", untrusted.words(what), why)


def _understood(operations: Mapping[str, type[Any]], approval_id: str, kept: Mapping[str, Any], taken: str) -> _Kept:
    """What was asked, as far as this version knows it; one of `_OTHER_SHAPE` where it does not know it at all."""
    entry, expires_at = AuditEntry.from_plain(kept["entry"]), untrusted.moment(kept["expires_at"])
    params = dict(kept.get("params", entry.details["params"]))
    if expires_at is None or untrusted.moment(entry.timestamp.isoformat()) is None or entry.timestamp.tzinfo is None:
        raise ValueError("no time")
    kind = operations.get(entry.operation)
    title = entry.title if kind is None else kind.title
    pending, problem = None, ""
    if kind is None:
        problem = f"This opsdash does not have the operation {untrusted.words(entry.operation)}."
    elif unknown := [name for name in params if name not in {field.name for field in fields(kind)}]:
        named = ", ".join(untrusted.words(name) for name in unknown[:3])
        problem = f"The request is from another version of opsdash. This one does not know: {named}."
    else:
        try:
            pending = PendingApproval(
                id=approval_id,
                operation=kind(**params),
                actor=_actor(kept["actor"]),
                entry=entry,
                reviewed=_preview(kept["reviewed"]),
                expires_at=expires_at,
            )
        except _OTHER_SHAPE:
            problem = "The request is from another version of opsdash and can't be read by this one."
    approval = replace(_approval(approval_id, entry, title, params, expires_at), problem=problem)
    return _Kept(approval=approval, entry=entry, pending=pending, taken=taken)


def _approval(
    approval_id: str, entry: AuditEntry, title: str, params: Mapping[str, Any], expires_at: datetime
) -> Approval:
    return Approval(
        id=approval_id,
        operation=entry.operation,
        title=title,
        params=public_params(params),
        by=entry.user,
        at=entry.timestamp,
        expires_at=expires_at,
        surface=str(entry.details.get("surface", "")),
    )


def _actor(raw: Mapping[str, Any]) -> Actor:
    return Actor(**{**raw, "role": Role[raw["role"].upper()], "groups": tuple(raw["groups"])})


def _kept_of(reviewed: Preview) -> dict[str, Any]:
    """What is needed of it when it is done: the values, and where it ended. In this shape since 0.1.0."""
    return {
        "title": reviewed.title,
        "warning": reviewed.warning,
        "lines": [line.text for line in reviewed.in_order],
        "figures": reviewed.values(),
        "choices": reviewed.choices,
        "boundary": reviewed.boundary,
        "phrase": reviewed.phrase,
        "taken_at": reviewed.taken_at,
    }


def _preview(raw: Mapping[str, Any]) -> Preview:
    parts: dict[str, Any] = {
        "lines": tuple(Line("note", str(text)) for text in raw["lines"]),
        "figures": tuple(Figure(name=name, value=value) for name, value in raw["figures"].items()),
        "choices": tuple(raw["choices"]),
        "taken_at": datetime.fromisoformat(raw["taken_at"]),
    }
    return Preview(**{**raw, **parts})
