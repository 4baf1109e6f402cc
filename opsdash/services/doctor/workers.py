"""Workers: do they report, can they pause, do they run this opsdash, is their clock right."""

from __future__ import annotations

import time

from opsdash import __version__
from opsdash.services.doctor.finding import SKEW_S, Findings, Patient, error, ok, skew, warning
from opsdash.text import count

NAMED = 10


def plugin(patient: Patient) -> Findings:
    """Workers: the plug-in and its version on each."""
    workers, others = patient.console.workers.read(), patient.console.fleet.look()
    active = [worker for worker in workers if worker.state != "offline"]
    if not active and not others:
        yield error("workers", "No active workers detected.", "Check the Celery deployment.")
    for worker in active:
        about = f"{worker.hostname} ({worker.pool})"
        if worker.state == "stalled":
            yield error("workers", f"{about}: its event loop stands still.", "Look at its log; restart it.")
        elif worker.pausing != "ready":
            yield error("workers", f"{about} can't pause: {worker.pausing}.", "Put that right; a pause won't hold it.")
        elif worker.version != __version__:
            runs = f"runs the plug-in {worker.version or 'of no known version'}, this console is {__version__}"
            yield warning("workers", f"{about} {runs}.", "Install the same opsdash there, and restart it.")
    fine = [w for w in active if (w.state, w.pausing, w.version) == ("online", "ready", __version__)]
    if fine:
        names = ", ".join(worker.hostname for worker in fine[:NAMED]) + (", …" if len(fine) > NAMED else "")
        yield ok("workers", f"{count(len(fine), 'worker')} with the plug-in {__version__}: {names}.")
    if gone := [worker.hostname for worker in workers if worker.state == "offline"]:
        names = ", ".join(gone[:NAMED]) + (", …" if len(gone) > NAMED else "")
        yield warning("workers", f"Without a goodbye, or cut off: {names}.", "Look at the machines they ran on.")
    if others is None:
        yield warning(
            "workers", "Workers without the plug-in could not be asked.", "Look at worker_enable_remote_control."
        )
    for other in others or ():
        yield error(
            "workers",
            f"{other.hostname} runs without the plug-in: a pause does not hold it.",
            "Start it with -I opsdash.worker.auto.",
        )


def clocks(patient: Patient) -> Findings:
    """Clocks: of the console and of each worker, beside Redis's."""
    broker = patient.console.broker
    with broker.reading():
        before = time.time()
        seconds, micros = broker.client.time()
        after = time.time()
        hosts: list[str] = broker.client.zrange(broker.keys.workers, 0, -1)  # type: ignore[assignment]
        with broker.client.pipeline(transaction=False) as pipe:
            for host in hosts:
                pipe.hmget(broker.keys.worker(host), "time", "clock")
            reports = pipe.execute()
    yield skew("this console", "Redis", (before + after) / 2 - (seconds + micros / 1e6))
    wrong = 0
    for host, (at, clock) in zip(hosts, reports, strict=True):
        # The report's own time is Redis's, but for a plug-in that is older: that one writes its own.
        skew_s = _difference(clock, at) if clock else _difference(at, str(seconds))
        if skew_s is not None and (abs(skew_s) > SKEW_S if clock else skew_s > SKEW_S):
            wrong += 1
            yield skew(host, "Redis", skew_s)
    if hosts and not wrong:
        yield ok("clocks", f"{count(len(hosts), 'worker')} within {SKEW_S:g} s of Redis's clock.")


def _difference(first: str | None, second: str | None) -> float | None:
    try:
        return float(first or "") - float(second or "")
    except ValueError:
        return None


CHECKS = (plugin, clocks)
