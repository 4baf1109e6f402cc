"""The names opsdash uses in Redis, in one place. Standard library only: workers load this file.

A deployment that shares its Redis with another one sets ``global_keyprefix`` in Celery's transport options; the same
prefix goes before every name here, so that pausing one deployment never pauses its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

PAUSE = "system:pause_processing"
PAUSE_VALUE = "true"
EVERYTHING = "*"
"""Field of the pause hash for all queues; every other field is a queue's name."""
SENT = "opsdash_sent"
"""Header of a message: when it was sent, in seconds since the epoch by the sender's clock."""
EPOCH_DIGITS = 13
"""Digits of the largest epoch that is taken for one. Redis counts on and Lua writes such numbers without rounding."""


def epoch_of(text: bytes | str) -> int | None:
    """The pause counter's value, given the text of its key or the first ``EPOCH_DIGITS`` + 1 bytes of it.

    The key may hold anything: None for what is no count of ours.
    """
    return int(text) if 0 < len(text) <= EPOCH_DIGITS and text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Keys:
    """Redis key names under one optional prefix.

    Attributes:
        prefix: The broker's ``global_keyprefix``, or nothing.
    """

    prefix: str = ""

    def pause(self, queue: str | None = None) -> str:
        """The flag (a string with a TTL) that pauses one queue, or everything when ``queue`` is None."""
        return f"{self.prefix}{PAUSE}" if queue is None else f"{self.prefix}{PAUSE}:{queue}"

    @property
    def pause_info(self) -> str:
        """Hash: ``*`` or a queue's name → JSON ``{by, at, reason, expires_at, epoch}``."""
        return f"{self.prefix}opsdash:pause"

    @property
    def pause_epoch(self) -> str:
        """Counter of all pause changes; a worker reports the epoch it has applied."""
        return f"{self.prefix}opsdash:pause:epoch"

    @property
    def expires(self) -> str:
        """Hash: Redis list → ``{ms}:{queue}``, the expiry that is suspended while that queue is paused or moved."""
        return f"{self.prefix}opsdash:expires"

    @property
    def expires_declared(self) -> str:
        """Hash: queue → ms, the ``expires`` that workers with the plug-in know it was declared with."""
        return f"{self.prefix}opsdash:expires:declared"

    @property
    def binding_deadlines(self) -> str:
        """Kombu's sorted set (since 5.7): exchange → when its bindings may be swept, in ms since the epoch."""
        return f"{self.prefix}_kombu.binding_deadlines"

    @property
    def pause_cancelled(self) -> str:
        """Hash: ``*`` or a queue's name → JSON ``{hostname: [queue …]}`` that got ``cancel_consumer``."""
        return f"{self.prefix}opsdash:pause:cancelled"

    @property
    def quiet(self) -> str:
        """Hash: hostname → JSON of the queues that this worker must not consume."""
        return f"{self.prefix}opsdash:quiet"

    @property
    def nudge(self) -> str:
        """Pub/sub channel: read the flags again now. The message is no authority, the flag is."""
        return f"{self.prefix}opsdash:nudge"

    @property
    def schedules(self) -> str:
        """Hash with a TTL: name of an entry of beat → JSON of what beat reported of it."""
        return f"{self.prefix}opsdash:schedules"

    @property
    def schedules_paused(self) -> str:
        """Hash with a TTL: name of a paused entry → JSON ``{by, at, reason, ends}``."""
        return f"{self.prefix}opsdash:schedules:paused"

    @property
    def schedules_asked(self) -> str:
        """Hash with a TTL: id of a request → JSON ``{name, at}`` of an entry that beat is to run now."""
        return f"{self.prefix}opsdash:schedules:asked"

    def schedule_answer(self, request: str) -> str:
        """String with a TTL: JSON of what came of that request."""
        return f"{self.prefix}opsdash:schedules:answer:{request}"

    @property
    def hold(self) -> str:
        """Hash: id of a hold → JSON ``{kind, name, queue, by, at, …}``; ``{id}!`` → who releases it, and since when."""
        return f"{self.prefix}opsdash:hold"

    @property
    def hold_ended(self) -> str:
        """Hash: ``{id}:{time}`` → JSON of a hold that ended by itself, until a console has written it down."""
        return f"{self.hold}:ended"

    @property
    def held_lists(self) -> str:
        """Hash: ``{id}:{step}:{queue}`` → the Redis list that these held tasks came from; ``!`` in front: released."""
        return f"{self.prefix}opsdash:held"

    def held(self, hold_id: str, step: str, queue: str) -> str:
        """List: messages that a hold has set aside, the next to run last. No TTL: they must not get lost.

        ``…:order`` (list) beside it: of each message when it was fetched, and when it was set aside.
        """
        return f"{self.held_lists}:{queue}:{hold_id}:{step}"

    @property
    def workers(self) -> str:
        """Sorted set: hostname, or ``hostname #instance`` of a namesake → time of its last report, since the epoch."""
        return f"{self.prefix}opsdash:workers"

    @property
    def rate_limits(self) -> str:
        """Hash with a TTL: task → JSON ``{rate, per_s, by, reason, at, until}``, its limit in all workers together."""
        return f"{self.workers}:rate_limits"

    def rate_limited(self, task: str) -> str:
        """Sorted set with a TTL: worker that has met such a task of late → when, in seconds since the epoch."""
        return f"{self.rate_limits}:{task}"

    def slots(self, limit: str) -> str:
        """Hash with a TTL of seconds: instance of a worker → ``{slots} {needed} {until}``, what it has of a limit."""
        return f"{self.workers}:slots:{limit}"

    def worker(self, hostname: str) -> str:
        """Hash, kept for a day: one worker's last report; its field ``running``: JSON of what it runs, up to 8 kB."""
        return f"{self.prefix}opsdash:worker:{hostname}"

    @property
    def trash_index(self) -> str:
        """Sorted set: trash id → when its undo window ends, in seconds since the epoch."""
        return f"{self.prefix}opsdash:trash"

    def trash(self, trash_id: str, part: str) -> str:
        """One part of a cleared queue: ``info`` (hash) or a priority step (list). All carry a TTL.

        Of a cancelled workflow: ``tasks:{queue}`` and ``places:{queue}`` (lists), messages and where each of them was.

        While something is under way they carry none, so that it can't end half-way; ``kept:{step}`` (list) then holds
        what goes back to its queue at the end.
        """
        return f"{self.prefix}opsdash:trash:{trash_id}:{part}"

    def history(self, step: str) -> str:
        """Stream, bounded: one entry per bucket of ``10s`` or ``1m`` with every queue's depth and throughput."""
        return f"{self.prefix}opsdash:history:{step}"

    @property
    def history_writer(self) -> str:
        """String with a TTL of seconds: the console that writes the history just now."""
        return f"{self.prefix}opsdash:history:writer"

    @property
    def outbox(self) -> str:
        """Stream: steps of the audit log that wait for the database."""
        return f"{self.prefix}opsdash:audit:spool"

    @property
    def outbox_aside(self) -> str:
        """Stream: steps of the outbox that no key of this deployment has signed; kept for inspection."""
        return f"{self.prefix}opsdash:audit:spool:aside"

    def request(self, request_id: str) -> str:
        """String with a TTL: the audit entry of this request, so that it is known while the database is away."""
        return f"{self.prefix}opsdash:request:{request_id}"

    @property
    def signed_out(self) -> str:
        """Sorted set with a TTL: hash of an ended session cookie, with its HMAC → when the cookie expires."""
        return f"{self.prefix}opsdash:signed_out"

    @property
    def approvals(self) -> str:
        """Sorted set: approval id → when its time is over, in seconds since the epoch."""
        return f"{self.prefix}opsdash:approvals"

    def approval(self, approval_id: str) -> str:
        """Hash with a TTL: ``asked`` (JSON of what waits for a second person), its ``mac``, and ``taken`` by whom."""
        return f"{self.prefix}opsdash:approval:{approval_id}"

    def running(self, audit_id: str) -> str:
        """String with a TTL: the act of this audit entry is under way in a process that lives."""
        return f"{self.prefix}opsdash:running:{audit_id}"

    def begun(self, audit_id: str) -> str:
        """String with a TTL of a day: the act of this audit entry was begun on this broker, and has not ended."""
        return f"{self.prefix}opsdash:begun:{audit_id}"

    @property
    def runs(self) -> str:
        """Sorted set with a TTL: id of a runbook's run → when it was begun, in seconds since the epoch."""
        return f"{self.prefix}opsdash:runs"

    def run(self, run_id: str) -> str:
        """Hash with a TTL: ``run`` (JSON: its steps, each with its status) and ``token`` of its process."""
        return f"{self.prefix}opsdash:run:{run_id}"

    def run_lease(self, runbook: str) -> str:
        """String with a TTL of seconds: JSON of who runs this runbook just now."""
        return f"{self.prefix}opsdash:running_book:{runbook}"

    @property
    def notify(self) -> str:
        """Hash with a TTL: what was known for notifications, and how sending goes, each with a keyed digest."""
        return f"{self.prefix}opsdash:notify"

    @property
    def notify_outbox(self) -> str:
        """Hash with a TTL: number and address's digest → a notification that is to be sent, with a keyed digest."""
        return f"{self.notify}:outbox"

    @property
    def notify_lease(self) -> str:
        """String with a TTL of seconds: the console that sends notifications just now."""
        return f"{self.notify}:lease"

    @property
    def audit_push(self) -> str:
        """String with a TTL of a year: up to which number audit entries were pushed, with a keyed digest."""
        return f"{self.prefix}opsdash:audit:push"

    @property
    def audit_push_lease(self) -> str:
        """String with a TTL of seconds: the console that pushes audit entries just now."""
        return f"{self.audit_push}:lease"

    @property
    def restores(self) -> str:
        """Hash: queue → how often messages were put back into it: a preview from before does not cover them."""
        return f"{self.prefix}opsdash:restores"

    def busy(self, queue: str) -> str:
        """String with a TTL: JSON of who moves this queue's messages in several steps just now."""
        return f"{self.prefix}opsdash:busy:{queue}"

    def tenant_config(self, tenant_id: str) -> str:
        """String: one tenant's configuration as JSON, without secrets."""
        return f"{self.prefix}tenant_config:{tenant_id}"

    @property
    def tenants(self) -> str:
        """Hash: tenant → digest of its configuration as the last sync wrote it; empty: it was there before."""
        return f"{self.prefix}opsdash:tenants"

    @property
    def tenants_synced(self) -> str:
        """Hash: what the last whole sync read and left, ``at`` what time and ``by`` whom."""
        return f"{self.prefix}opsdash:tenants:synced"

    @property
    def tenants_buckets(self) -> str:
        """Hash: bucket of tenants → keyed digest of its rows, digests of what a sync wrote of them, and the tenants."""
        return f"{self.prefix}opsdash:tenants:buckets"

    @property
    def tenants_busy(self) -> str:
        """String with a TTL: JSON of who syncs the tenants just now."""
        return f"{self.prefix}opsdash:tenants:busy"

    @property
    def failed(self) -> str:
        """Sorted set with a TTL: id of a failed task → when it failed last, in seconds since the epoch."""
        return f"{self.prefix}opsdash:failed"

    def failed_entry(self, failure_id: str) -> str:
        """Hash with a TTL: one failed task, its message as it was in its queue's list, and why it failed."""
        return f"{self.failed}:entry:{failure_id}"

    @property
    def failed_bytes(self) -> str:
        """Hash with a TTL: id of a failed task → ``{bytes}:{fingerprint}``; ``*`` → all their bytes."""
        return f"{self.failed}:bytes"

    @property
    def failed_groups(self) -> str:
        """Sorted set with a TTL: fingerprint of task, error and place → when it came last, since the epoch."""
        return f"{self.failed}:groups"

    def failed_group(self, fingerprint: str) -> str:
        """Hash with a TTL: how often this failure came, when, from which queues and in which workers."""
        return f"{self.failed}:group:{fingerprint}"

    def failed_group_entries(self, fingerprint: str) -> str:
        """Sorted set with a TTL: as ``failed``, those of one group."""
        return f"{self.failed_group(fingerprint)}:entries"

    def failed_act(self, audit_id: str) -> str:
        """Hash with a TTL: queue → failed tasks that the act of this audit entry has sent there."""
        return f"{self.failed}:act:{audit_id}"

    def failed_batch(self, instance: str) -> str:
        """String with a TTL: number of the last failures that this instance of a worker has written."""
        return f"{self.failed}:batch:{instance}"

    def redelivered(self, task_id: str) -> str:
        """Hash with a TTL: which process runs a task that was delivered again, and how many it took with it."""
        return f"{self.prefix}opsdash:redelivered:{task_id}"
