"""Autoscale: other bounds for a worker that was started with an autoscaler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.model import AuditEntry, Effect, Figure, Line, Preview
from opsdash.operation import Act, Operation, argument
from opsdash.operations import chosen_workers
from opsdash.operations.chosen_workers import ChosenWorkers, whole_number

if TYPE_CHECKING:
    from opsdash.services.services import Services
    from opsdash.services.workers.pools import Chosen

NO_SCALER = "it was started without --autoscale: opsdash resize-pool changes its size"


class Autoscale(ChosenWorkers, Operation):
    """Sends Celery's ``autoscale``: the least and the most slots that a worker's autoscaler chooses from."""

    name: ClassVar[str] = "autoscale"
    title: ClassVar[str] = "Autoscale"
    help: ClassVar[str] = "Change the bounds of a worker's autoscaler, until it restarts."
    warning: ClassVar[str] = "A pool above the new maximum shrinks at once, one below the minimum grows at once."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "separator", "db")

    most: int | None = argument(
        default=None,
        option="--max",
        parse=whole_number,
        help="Most slots, up to 1,000.",
        label="Most slots",
        placeholder="For example 8",
    )
    least: int | None = argument(
        default=None,
        option="--min",
        parse=whole_number,
        help="Least slots, from 1.",
        label="Least slots",
        placeholder="For example 2",
    )

    def heading(self) -> str:
        """Of which worker, within which bounds."""
        bounds = f" between {self.least:,} and {self.most:,} slots" if self.most and self.least else ""
        return f"Autoscale {self.target}{bounds}" if self.target else self.title

    def preview(self, services: Services) -> Preview:
        """The bounds now and then, how many slots there are, and what runs on."""
        chosen, unable, before = self._chosen(services)
        sizes = {pool.hostname: pool.size for pool in chosen.pools}
        most, least = self.most or 0, self.least or 0
        will = (
            f"{host}: {was[1]:,} to {was[0]:,} → {least:,} to {most:,} slots; it has {sizes[host] or 0:,} now."
            for host, was in before.items()
        )
        found = [*chosen_workers.lines("will", will), *chosen_workers.left_out(chosen, unable)]
        text = "No running task is ended: a process leaves when it is idle. A restart of a worker ends this."
        found.append(Line("will_not", text))
        totals = (
            Figure(name="most_now", label="at most now", value=sum(was[0] for was in before.values()), unit="slots"),
            Figure(name="most_then", label="at most then", value=most * len(before), unit="slots"),
        )
        return Preview(lines=tuple(found), figures=(*totals, *chosen_workers.figures(chosen, unable)))

    def execute(self, services: Services, act: Act) -> Effect:
        """Tells them, and counts who has confirmed."""
        chosen, unable, before = self._chosen(services)
        answers = services.remote.tell("autoscale", {host: {"max": self.most, "min": self.least} for host in before})
        done = dict.fromkeys(answers.confirmed, f"autoscales between {self.least:,} and {self.most:,}")
        was = chosen_workers.same(before[host] for host in done)
        undo = Autoscale(hostname=" ".join(done), most=was[0], least=was[1]) if was and min(was) else None
        return chosen_workers.effect(answers, chosen, unable, done, details={"before": before}, undo=undo)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The bounds now."""
        bounds = {pool.hostname: pool.autoscale for pool in services.pools.choose(self.hostname).pools}
        return {"message": f"Most and least slots now: {bounds}", "bounds": bounds}

    def _chosen(self, services: Services) -> tuple[Chosen, dict[str, str], dict[str, tuple[int, int]]]:
        chosen_workers.checked_bounds(self.most, self.least)
        chosen = services.pools.choose(self.hostname)
        unable = {pool.hostname: NO_SCALER for pool in chosen.pools if pool.autoscale is None}
        chosen_workers.able(chosen, unable)
        return chosen, unable, {p.hostname: p.autoscale for p in chosen.pools if p.autoscale is not None}
