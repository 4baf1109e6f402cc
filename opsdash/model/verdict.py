"""Whether a pause holds, and what is known and not known of it: frozen, comparable, standard library only."""

from __future__ import annotations

import enum

from opsdash.values import frozen


class State(enum.StrEnum):
    """What is known of a pause, from the best to the worst."""

    HELD = "held"
    DRAINING = "draining"
    UNKNOWN = "unknown"
    NOT_HELD = "not_held"


class Kind(enum.StrEnum):
    """Why a pause is not held, or not known to be; ``STATE_OF`` says which of the two."""

    NOT_CONFIRMED = "not_confirmed"
    RUNNING = "running"
    NOT_PUT_BACK = "not_put_back"
    CANNOT_PAUSE = "cannot_pause"
    NO_PLUGIN = "no_plugin"
    TAKES_TASKS = "takes_tasks"
    QUEUE_SHRINKS = "queue_shrinks"
    NO_WORKER = "no_worker"
    SILENT = "silent"
    SAME_NAME = "same_name"
    NO_ANSWER = "no_answer"
    CANNOT_ASK = "cannot_ask"
    NOT_ASKED = "not_asked"
    UNACKED = "unacked"
    MAY_TAKE_TASKS = "may_take_tasks"
    CONNECTIONS = "connections"
    STALE = "stale"
    UNREAD = "unread"


STATE_OF = {
    Kind.NOT_CONFIRMED: State.DRAINING,
    Kind.RUNNING: State.DRAINING,
    Kind.NOT_PUT_BACK: State.DRAINING,
    Kind.CANNOT_PAUSE: State.NOT_HELD,
    Kind.NO_PLUGIN: State.NOT_HELD,
    Kind.TAKES_TASKS: State.NOT_HELD,
    Kind.QUEUE_SHRINKS: State.NOT_HELD,
}
"""All others leave it unknown."""
LASTING = frozenset(
    {
        Kind.CANNOT_PAUSE,
        Kind.TAKES_TASKS,
        Kind.QUEUE_SHRINKS,
        Kind.NO_WORKER,
        Kind.SAME_NAME,
        Kind.CANNOT_ASK,
        Kind.MAY_TAKE_TASKS,
        Kind.CONNECTIONS,
        Kind.UNREAD,
    }
)
"""Reasons that do not go away by waiting: a person must act. For ``no_plugin`` it depends on what they do."""


@frozen(kw_only=True)
class Reason:
    """One thing that keeps a pause from being safe.

    Attributes:
        workers: Hostnames it is about; ``pids``: process ids, where two have one name.
        queue: The queue it is about; empty: all, or none in particular.
        number: Tasks, messages, workers or connections, by the kind.
        held: Tasks that a silent worker held beside those it ran.
        seconds: For how long: of the oldest task, of the silence, since the oldest message came.
        detail: An error, an address or a setting, as it is to be shown.
        passing: Time may cure it.
    """

    kind: Kind
    workers: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    queue: str = ""
    number: int = 0
    held: int = 0
    seconds: float | None = None
    detail: str = ""
    passing: bool = True

    @property
    def state(self) -> State:
        """What this reason alone makes of the pause."""
        return STATE_OF.get(self.kind, State.UNKNOWN)


@frozen(kw_only=True)
class Verdict:
    """What is known of one pause.

    Attributes:
        queue: The paused queue; None: everything.
        reasons: Why it is not safe; none of them where it is.
        workers: Workers that report and are meant to stop. ``stopped``: those that have.
        running: Tasks that run and are meant to end. ``elsewhere``: tasks of other queues that run on these workers.
        held: Fetched and not started, tasks with an ETA included. ``scheduled``: the latter.
        drained_in_s: The estimated time until nothing runs; None: unknown.
        age_s: How old the figures are that it rests on; None: nothing was read yet.
    """

    queue: str | None = None
    reasons: tuple[Reason, ...] = ()
    workers: int = 0
    stopped: int = 0
    running: int = 0
    elsewhere: int = 0
    held: int = 0
    scheduled: int = 0
    drained_in_s: float | None = None
    age_s: float | None = None

    @property
    def state(self) -> State:
        """The worst that one of the reasons makes of it."""
        order = list(State)
        return max((reason.state for reason in self.reasons), key=order.index, default=State.HELD)

    @property
    def safe(self) -> bool:
        """Every worker that could still run something is accounted for, and runs nothing of it."""
        return not self.reasons

    @property
    def final(self) -> bool:
        """It is not safe, and waiting alone changes nothing."""
        return bool(self.reasons) and not any(reason.passing for reason in self.reasons)
