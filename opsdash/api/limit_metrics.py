"""Metrics of rate and concurrency limits. Nothing while there are none; 100 of each at most."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from opsdash.model import Snapshot


def of_limits(snapshot: Snapshot) -> Iterator[Metric]:
    """The limits that hold, and what runs and waits of each."""
    if snapshot.rate_limits:
        found = [(one.task, one.per_s) for one in snapshot.rate_limits]
        yield _gauge("opsdash_rate_limit_per_second", "Tasks that may start a second, in all workers together.", found)
    if limits := snapshot.concurrency_limits:
        text = "Tasks that may run at once, in all workers together."
        yield _gauge("opsdash_concurrency_limit", text, [(one.hold.name, one.hold.most) for one in limits])
        text = "Tasks of the limit that run, as workers reported last."
        yield _gauge("opsdash_concurrency_limit_running", text, [(one.hold.name, one.running) for one in limits])
        text = "Tasks that are set aside until the limit has a slot for them."
        yield _gauge("opsdash_concurrency_limit_waiting", text, [(one.hold.name, one.held) for one in limits])


def _gauge(name: str, text: str, samples: list[tuple[str, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["task"])
    for task, value in samples:
        family.add_metric([task], value)
    return family
