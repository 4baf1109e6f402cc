"""Products on top of Celery with their own timeouts while their tasks wait: what an operator must know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opsdash.services.broker.messages import envelope, task_name
from opsdash.services.queues.sampling import Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One of them.

    Attributes:
        name: As people know it.
        tasks: The last part of its tasks' names. ``package``: the first part of those that have several.
        paused: What a pause does not tell it.
        cleared: What a clear does not tell it.
    """

    name: str
    tasks: frozenset[str]
    package: str
    paused: str
    cleared: str


AIRFLOW = Product(
    name="Airflow",
    tasks=frozenset({"execute_workload", "execute_command"}),
    package="airflow",
    paused=(
        "Airflow's tasks wait here, and a pause does not stop its scheduler's clock: after each task_queued_timeout (10"
        " minutes unless set) it revokes them and sends them again, and the third time it fails them. Pause for well"
        " below that, or raise it first; for longer stops use Airflow's pools or pause its DAGs."
    ),
    cleared=(
        "Airflow's tasks are among them, and Airflow does not know of a clear: it waits for them until its"
        " task_queued_timeout, then sends them again."
    ),
)
"""Source: its ``scheduler.task_queued_timeout`` and ``num_stuck_in_queued_retries``, tried with Airflow 3.3."""
KNOWN = (AIRFLOW,)


def product_of(task: str) -> Product | None:
    """The product that a task is of, by the task's name."""
    first, _, _ = task.partition(".")
    last = task.rpartition(".")[2]
    return next((one for one in KNOWN if last in one.tasks and first in (last, one.package)), None)


def products_of(tasks: Iterable[str]) -> list[Product]:
    """Those that any of these tasks is of, each once."""
    found = {product_of(task) for task in tasks}
    return [one for one in KNOWN if one in found]


@dataclass(slots=True)
class Noticing:
    """What selects messages, and notes of whose product those are that it was shown.

    Attributes:
        found: The products, each once.
    """

    matches: Matches
    found: list[Product] = field(default_factory=list)

    def __call__(self, text: bytes) -> bool:
        """As ``matches``."""
        for product in KNOWN:
            # Most messages have none of the names anywhere: only those that do are read once more.
            if product not in self.found and any(name.encode() in text for name in product.tasks):
                self.found += products_of([task_name(envelope(text))])
        return self.matches(text)
