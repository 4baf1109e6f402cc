"""Resize: a worker has more slots for tasks, or fewer, until it restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.operations import chosen_workers
from opsdash.operations.chosen_workers import ChosenWorkers
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services
    from opsdash.services.workers.pools import Chosen, Pool

MANY_TIMES = 4


class ResizePool(ChosenWorkers, Operation):
    """Sends Celery's ``pool_grow`` or ``pool_shrink``, by what each worker lacks or has too many of."""

    name: ClassVar[str] = "resize_pool"
    title: ClassVar[str] = "Resize Pool"
    help: ClassVar[str] = "Give a worker more or fewer slots for tasks, until it restarts."
    warning: ClassVar[str] = "More slots take more memory and connections; fewer make queues longer."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    size: int | None = argument(
        default=None,
        parse=chosen_workers.whole_number,
        help="Slots from now on, from 1 to 1,000.",
        label="Slots",
        placeholder="For example 8",
    )

    def heading(self) -> str:
        """Of which worker, to which size."""
        to = f" to {self.size:,} slots" if self.size else ""
        return f"Resize the pool of {self.target}{to}" if self.target else self.title

    def preview(self, services: Services) -> Preview:
        """Each pool's size now and then, and what runs on."""
        chosen, unable, doing, size = self._chosen(services)
        now = sum(pool.size or 0 for pool in doing)
        will = (f"{p.hostname}: {p.size or 0:,} → {count(size, 'slot')} ({p.kind or 'its pool'})." for p in doing)
        found = [*chosen_workers.lines("will", will), *chosen_workers.left_out(chosen, unable)]
        if busy := [pool.hostname for pool in doing if (pool.active or 0) > size]:
            text = "A process that runs a task stays: shrink again when fewer run."
            found.append(Line("warning", f"More than {size:,} tasks run in {chosen_workers.shown(busy)}. {text}"))
        if now and size * len(doing) >= MANY_TIMES * now:
            found.append(Line("warning", f"That is {size * len(doing) / now:.0f} times as many slots as now."))
        found.append(Line("will_not", "No running task is ended. A restart of a worker ends this."))
        sizes = (
            Figure(name="now", label="slots now", value=now),
            Figure(name="then", label="then", value=size * len(doing)),
        )
        return Preview(lines=tuple(found), figures=(*sizes, *chosen_workers.figures(chosen, unable)))

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and asks how large each pool is now."""
        chosen, unable, doing, size = self._chosen(services)
        answers, after = services.pools.resize(doing, size)
        before = {pool.hostname: pool.size or 0 for pool in doing}
        changed = [host for host, former in before.items() if after[host] not in (None, former)]
        done = {host: f"{before[host]:,} → {after[host]:,} slots" for host in changed}
        done |= {host: "confirmed, and did not report its size" for host in answers.confirmed if after[host] is None}
        former = chosen_workers.same(before[host] for host in changed)
        undo = ResizePool(hostname=" ".join(changed), size=former) if former else None
        details = {"before": before, "after": after}
        return chosen_workers.effect(answers, chosen, unable, done, details=details, undo=undo)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """How large the pools are now."""
        sizes = {pool.hostname: pool.size for pool in services.pools.choose(self.hostname).pools}
        return {"message": "Slots now: " + ", ".join(f"{host} {size}" for host, size in sizes.items()), "sizes": sizes}

    def _chosen(self, services: Services) -> tuple[Chosen, dict[str, str], list[Pool], int]:
        size = chosen_workers.checked_slots(self.size, "size")
        chosen = services.pools.choose(self.hostname)
        unable = {p.hostname: p.fixed or f"it has {size:,} already" for p in chosen.pools if p.fixed or p.size == size}
        hosts = chosen_workers.able(chosen, unable)
        return chosen, unable, [pool for pool in chosen.pools if pool.hostname in hosts], size
