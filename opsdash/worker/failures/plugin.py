"""All that the plug-in does about failed tasks in one worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger

from opsdash.worker.failures.ended import Ended
from opsdash.worker.failures.keeper import FailureKeeper
from opsdash.worker.failures.poison import PoisonWatch
from opsdash.worker.failures.settings import FailureSettings
from opsdash.worker.gate import Gate
from opsdash.worker.identity import Identity

logger = get_logger(__name__)


class Failures:
    """Keeps failed tasks, and sets poison aside if that is asked for.

    Attributes:
        pass_on: What the gate hands a request to: Celery's own, with nothing before it unless poison is looked for.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._settings = FailureSettings.from_env()
        self._keeper: FailureKeeper | None = None
        self._poison: PoisonWatch | None = None
        self.pass_on: Callable[[Any], Any] = consumer.on_task_request
        if self._settings.poison_after and not self._settings.most:
            logger.error("opsdash: OPSDASH_POISON_AFTER is without effect: OPSDASH_FAILED_MAX=0 keeps nothing aside")
        elif self._settings.poison_after:
            self._poison = PoisonWatch(consumer, self.pass_on, self._settings)
            self.pass_on = self._poison.on_task_request

    def begin(self, gate: Gate, identity: Identity) -> None:
        """Now that there are a gate, and a name for this process. Call before the first task comes."""
        self._keeper = FailureKeeper(self._consumer.app, self._consumer.hostname, identity.instance, self._settings)
        if self._poison is not None:
            self._poison.begin(gate, identity)

    def note(self, ended: Ended) -> None:
        """A task has ended without success. Any thread; never fails."""
        if self._poison is not None:
            try:
                self._poison.heed(ended)
            except Exception:  # Celery calls this, and is not to fail for it
                logger.exception("opsdash: that a redelivered task lost its process could not be noted")
        if self._keeper is not None:
            self._keeper.note(ended)

    @property
    def keeps(self) -> bool:
        """Failed tasks are kept."""
        return self._settings.most > 0

    def close(self) -> None:
        """The worker ends on purpose, and its pool has been stopped."""
        if self._poison is not None:
            self._poison.close()
        if self._keeper is not None:
            self._keeper.close()
