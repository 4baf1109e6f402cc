"""Metrics of what is sent elsewhere: notifications, and finished audit entries."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from opsdash.model import NotificationFigures


def of_notifications(figures: NotificationFigures) -> Iterator[Metric]:
    """By the console that sends them, whichever that is."""
    text = "Messages to be sent: one for each notification and address."
    yield GaugeMetricFamily("opsdash_notifications_waiting", text, value=figures.waiting)
    for name, text, number in (
        ("sent", "Notifications that were taken.", figures.sent),
        ("given_up", "Notifications that were not taken within a day.", figures.given_up),
    ):
        yield CounterMetricFamily(f"opsdash_notifications_{name}", text, value=number)


def of_push(unpushed: int | None) -> Metric:
    """Without a sample where entries are not pushed, or it is not known how far."""
    text = "Finished audit entries that wait to be pushed to OPSDASH_AUDIT_PUSH."
    return GaugeMetricFamily("opsdash_audit_push_waiting", text, value=unpushed)
