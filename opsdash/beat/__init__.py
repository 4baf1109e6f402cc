"""Celery beat, so that its entries are seen, paused, resumed and run from opsdash.

``celery -A proj beat -S opsdash.beat:Scheduler`` is Celery's own persistent scheduler with that, and
``opsdash.beat.django:Scheduler`` django-celery-beat's. Any other scheduler gets it by the mixin, which goes before it::

    class Scheduler(opsdash.beat.Schedules, theirs.Scheduler): ...
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from celery.beat import PersistentScheduler
from celery.utils.log import get_logger

from opsdash.beat import entries
from opsdash.beat.control import READ_S, Control
from opsdash.model.schedule import LONGEST_NAME, MOST_SCHEDULES
from opsdash.model.untrusted import words

__all__ = ["Scheduler", "Schedules"]

logger = get_logger(__name__)


if TYPE_CHECKING:

    class _BeatScheduler:
        """What `Schedules` uses of the class that it goes before; Celery has no types."""

        app: Any
        schedule: dict[str, Any]
        producer: Any
        Entry: Any

        def __init__(self, app: Any, *args: Any, lazy: bool, **options: Any) -> None: ...
        def tick(self, *args: Any, **options: Any) -> Any: ...
        def apply_entry(self, entry: Any, producer: Any) -> Any: ...
        def apply_async(self, entry: Any, producer: Any, advance: bool, **options: Any) -> Any: ...
        def reserve(self, entry: Any) -> Any: ...
else:
    _BeatScheduler = object


class Schedules(_BeatScheduler):
    """Goes before a class of beat's schedulers. Reports its entries, and holds those that are paused.

    A paused entry comes due as ever, and is not sent: what it missed is not caught up when it is resumed. Whatever goes
    wrong here, beat goes on.
    """

    _opsdash: Control | None = None

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **options: Any) -> None:
        self._opsdash = None
        self._opsdash_missed: dict[str, int] = {}
        self._opsdash_sent: dict[str, Any] = {}  # what the scheduler takes for a run was none: when the last one was
        self._opsdash_rows = entries.Rows(getattr(self, "Model", None))
        if not lazy and app.connection_for_read().transport.driver_type == "redis":
            self._opsdash = Control(app)
        elif not lazy:
            logger.warning("opsdash: beat's entries can't be paused: opsdash needs Redis as the broker")
        super().__init__(app, *args, lazy=lazy, **options)

    def tick(self, *args: Any, **options: Any) -> Any:
        """Reads what is paused before anything is sent; then as the scheduler does, and again within a second."""
        if self._opsdash is None:
            return super().tick(*args, **options)
        self._opsdash_guarded(self._opsdash_follow, self._opsdash)
        wait_s = super().tick(*args, **options)
        self._opsdash_guarded(self._opsdash_report, self._opsdash)
        return min(wait_s, READ_S) if wait_s is not None else READ_S

    def apply_entry(self, entry: Any, producer: Any = None) -> Any:
        """A due entry: sent, unless it is paused."""
        if self._opsdash_holds(entry):
            return None
        return super().apply_entry(entry, producer=producer)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        """As above, for schedulers that send by this alone."""
        if self._opsdash_holds(entry):
            if advance:
                self.reserve(entry)
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **options)

    def _opsdash_holds(self, entry: Any) -> bool:
        control = self._opsdash
        if control is None or not control.is_paused(entry.name):
            self._opsdash_missed.pop(entry.name, None)
            self._opsdash_sent.pop(entry.name, None)
            return False
        self._opsdash_sent.setdefault(entry.name, entries.last_run(entry))
        self._opsdash_missed[entry.name] = self._opsdash_missed.get(entry.name, 0) + 1
        logger.info("opsdash: %s is paused and not sent (%s)", entry.name, entry.task)
        return True

    def _opsdash_guarded(self, step: Any, control: Control) -> None:
        try:
            step(control)
        except Exception:  # a fault of ours must not end beat
            logger.exception("opsdash: beat goes on; its entries could not be reported or paused")

    def _opsdash_follow(self, control: Control) -> None:
        for request, name in control.follow():
            entry = self._opsdash_find(name)
            if entry is not None and control.claim(request):
                control.answer(request, **self._opsdash_run(entry))

    def _opsdash_find(self, name: str) -> Any:
        """An entry, be it loaded or not; None: it is none of this scheduler's."""
        entry = self.schedule.get(name)
        if entry is not None or (row := self._opsdash_rows.find(name)) is None:
            return entry
        return self.Entry(row, app=self.app)

    def _opsdash_run(self, entry: Any) -> dict[str, str]:
        """Sends an entry's task now, whether it is paused or not; its schedule stays as it was."""
        logger.info("opsdash: sending %s now, as asked for (%s)", entry.name, entry.task)
        try:
            sent = super().apply_async(entry, producer=self.producer, advance=False)
        except Exception as error:  # the broker's or the entry's: who asked is answered, and beat goes on
            logger.exception("opsdash: %s could not be sent", entry.name)
            return {"error": words(f"{type(error).__name__}: {error}")}
        return {"task_id": words(getattr(sent, "id", "") or "")}

    def _opsdash_report(self, control: Control) -> None:
        if not control.report_is_due:
            return
        loaded = {entry.name: entry for entry in self.schedule.values()}
        found = {**loaded, **{name: row for name, row in self._opsdash_rows.read().items() if name not in loaded}}
        told = (self._opsdash_told(one, control) for one in found.values() if len(one.name) <= LONGEST_NAME)
        control.report(islice(told, MOST_SCHEDULES))

    def _opsdash_told(self, one: Any, control: Control) -> dict[str, Any]:
        """What is reported of an entry, or of a row that is not loaded."""
        last = self._opsdash_sent[one.name] if one.name in self._opsdash_sent else entries.last_run(one)
        paused = control.is_paused(one.name)
        if not paused:
            self._opsdash_missed.pop(one.name, None)
        return {
            "name": one.name,
            "task": words(one.task),
            "schedule": entries.in_words(one),
            "last": last,
            "next": entries.next_run(one),
            "enabled": entries.is_enabled(one),
            "paused": paused,
            "missed": self._opsdash_missed.get(one.name, 0) if paused else None,
        }


class Scheduler(Schedules, PersistentScheduler):  # type: ignore[misc] # Celery has no types
    """Celery's own persistent scheduler, with what `Schedules` adds."""
