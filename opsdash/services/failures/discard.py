"""Discards failed tasks: into a trash beside those of clears, and back, each exactly once whatever is killed meanwhile.

Each step moves whole entries. So a failed task is either kept as failed or in the trash, and what was begun has nothing
to finish: it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import TrashEntry
from opsdash.model.failure import Failure
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import Pace
from opsdash.services.queues.put_back import why_not
from opsdash.services.queues.trash import KEPT_INFO_S, MEMBERS, Trash
from opsdash.values import frozen

_TAKE = lua.load(__name__, "discard_take")
_GIVE_BACK = lua.load(__name__, "discard_give_back")
_DELETE = lua.load(__name__, "discard_delete")
MOST_STEP = 100
"""Failures of one step: 2 to 3 ms."""
LASTS_MS = 3_600_000
"""So long at least a restored failure is kept."""


@frozen(kw_only=True)
class GivenBack:
    """What a restore has brought back.

    Attributes:
        newer: Had failed again meanwhile: the newer failure stays. ``gone``: were deleted outside opsdash.
    """

    restored: int = 0
    newer: int = 0
    gone: int = 0


@frozen
class Discarded:
    """Moves failures to their trash and back."""

    broker: Broker

    def take(
        self,
        failures: Sequence[Failure],
        *,
        by: str,
        keep_s: int,
        trash_id: str,
        on_progress: Callable[[int, int], None] = lambda _at, _of: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[int, int, bool]:
        """Moves them to a trash. Cost: about 10 µs each, in steps of about 4 ms.

        Args:
            keep_s: The undo window; 0 deletes at once.
            trash_id: May be there already: what was interrupted goes on.

        Returns:
            How many were moved, how many were not as they were read any more, and whether it was cancelled.
        """
        keys, pace, at, moved, changed = self.broker.keys, Pace(), 0, 0, 0
        names = [keys.failed, keys.trash(trash_id, "info"), keys.trash_index, keys.trash(trash_id, MEMBERS)]
        started = datetime.now(UTC).isoformat()
        while at < len(failures):
            if cancelled():
                return moved, changed, True
            part = failures[at : at + min(pace.messages, MOST_STEP)]
            words = [word for failure in part for word in (failure.id, failure.version)]
            answers: Any = pace.timed(
                lambda _number, words=words: self.broker.client.eval(  # type: ignore[misc] # a default binds it
                    _TAKE, len(names), *names, keep_s, trash_id, by, started, *words
                )
            )
            moved += sum(answers)
            changed += len(part) - sum(answers)
            at += len(part)
            on_progress(at, len(failures))
        return moved, changed, False

    def restore(
        self, trash_id: str, *, by: str, on_progress: Callable[[int], None] = lambda _left: None
    ) -> tuple[TrashEntry, GivenBack]:
        """Brings discarded failures back; safe to run again, whatever it was interrupted by.

        Returns:
            The entry as it was before, and what this run brought back.

        Raises:
            Refused: There are none of that id, or all came back before. Nothing was changed.
        """
        entry = Trash(self.broker).find(trash_id)
        keys, pace = self.broker.keys, Pace()
        names = [keys.failed, keys.trash(trash_id, "info"), keys.trash_index, keys.trash(trash_id, MEMBERS)]
        restored = newer = gone = 0
        while True:
            at = datetime.now(UTC).isoformat()
            answer: Any = pace.timed(
                lambda number, at=at: self.broker.client.eval(  # type: ignore[misc] # a default binds it
                    _GIVE_BACK, len(names), *names, trash_id, min(number, MOST_STEP), at, by, KEPT_INFO_S, LASTS_MS
                )
            )
            if answer == "restored":  # another console had the last step
                break
            if not isinstance(answer, list):
                raise Refused(why_not(trash_id, str(answer)))
            restored, newer, gone, left = restored + answer[0], newer + answer[1], gone + answer[2], answer[3]
            on_progress(left)
            if not left:
                break
        return entry, GivenBack(restored=restored, newer=newer, gone=gone)

    def delete(self, trash_id: str) -> TrashEntry:
        """Deletes discarded failures for good, in steps; memory is freed in the background.

        Raises:
            Refused: There are none of that id, or they were restored. Nothing was changed.
        """
        entry = Trash(self.broker).find(trash_id)
        keys, pace = self.broker.keys, Pace()
        names = [keys.trash(trash_id, "info"), keys.trash_index, keys.trash(trash_id, MEMBERS)]
        while True:
            answer: Any = pace.timed(
                lambda number: self.broker.client.eval(_DELETE, len(names), *names, trash_id, min(number, MOST_STEP))
            )
            if not isinstance(answer, list) or not answer[1]:
                return entry
