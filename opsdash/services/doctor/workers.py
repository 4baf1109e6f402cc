"""Workers: do they report, can they pause, do they run this opsdash, is their clock right."""

from __future__ import annotations

import time

from opsdash import __version__
from opsdash.model import untrusted
from opsdash.model.worker import WorkerStats
from opsdash.services.broker import bounded_reads, connected_clients
from opsdash.services.doctor.finding import SKEW_S, Examined, Findings, error, ok, skew, warning
from opsdash.text import count, format_duration, shell_word

NAMED = 10
FAR_ABOVE = 10
"""Times the slots of a pool: a worker that may fetch more holds what others could run. Celery's default is 4."""
REPORT = ("prefetch", "disable_prefetch", "expires_ms")


def plugin(patient: Examined) -> Findings:
    """Workers: the plug-in and its version on each."""
    workers, others = patient.console.workers.read(), patient.console.unmanaged.look()
    active = [worker for worker in workers if worker.state != "offline"]
    if not active and not others:
        yield error("workers", "No active workers detected.", "Check the Celery deployment.")
    for worker in active:
        about = f"{worker.hostname} ({worker.pool})"
        if worker.state == "stalled":
            yield error("workers", f"{about}: its event loop is blocked.", "Check its log; restart it.")
        elif worker.state == "silent":
            todo = f"Check whether it still runs. If it has ended: opsdash dismiss-worker {shell_word(worker.record)}"
            since = f"is silent for {format_duration(worker.silent_s)}, without a shutdown notice"
            yield warning("workers", f"{about} {since}; it ran {count(worker.active, 'task')}.", todo)
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
        todo = "Check the machines they ran on; opsdash dismiss-worker removes each from the list."
        yield warning("workers", f"Ended without a shutdown notice, or cut off: {names}.", todo)
    if others is None:
        found = patient.console.unmanaged.found()
        why = f": {found.error}" if found and found.error else ""
        text = f"Unmanaged workers could not be asked{why.rstrip('.')}."
        yield warning("workers", text, "Check worker_enable_remote_control.")
    for other in others or ():
        yield error(
            "workers",
            f"{other.hostname} is not managed by opsdash: a pause does not stop it.",
            "Start it with -I opsdash.worker.auto.",
        )


def clocks(patient: Examined) -> Findings:
    """Clocks: of the console and of each worker, beside Redis's."""
    broker = patient.console.broker
    with broker.reading():
        before = time.time()
        seconds, micros = broker.client.time()
        after = time.time()
        hosts = [worker.record for worker in patient.console.workers.read()]
        reports = bounded_reads.fields(
            broker.client, [broker.keys.worker(host) for host in hosts], ["time", "clock"], 40
        )
    yield skew("this console", "Redis", (before + after) / 2 - (seconds + micros / 1e6))
    wrong = 0
    for host, report in zip(hosts, reports, strict=True):
        at, clock = untrusted.figure(report.get("time")), untrusted.figure(report.get("clock"))
        # The report's own time is Redis's, but for a plug-in that is older: that one writes its own.
        skew_s = None if at is None else at - seconds if clock is None else clock - at
        if skew_s is not None and (abs(skew_s) > SKEW_S if clock else skew_s > SKEW_S):
            wrong += 1
            yield skew(host, "Redis", skew_s)
    if hosts and not wrong:
        yield ok("clocks", f"{count(len(hosts), 'worker')} within {SKEW_S:g} s of Redis's clock.")


def names(patient: Examined) -> Findings:
    """Names: one process for each."""
    found: dict[str, list[WorkerStats]] = {}
    for worker in patient.console.workers.read():
        if worker.reports:
            found.setdefault(worker.hostname, []).append(worker)
    for hostname, same in found.items():
        if len(same) > 1:
            pids = ", ".join(str(worker.pid) for worker in same)
            text = f"{len(same)} processes report as {hostname} (pids {pids}): a command to one may reach the other."
            yield error("names", text, "Give each worker its own name: celery worker -n NAME@%h.")


def unmanaged(patient: Examined) -> Findings:
    """Strangers: who fetches messages, and neither reports nor answers."""
    console = patient.console
    workers = console.workers.read()
    live = [worker for worker in workers if worker.reports]
    if off := [worker.hostname for worker in live if worker.remote_control is False]:
        names = ", ".join(off[:NAMED]) + (", …" if len(off) > NAMED else "")
        text = f"Remote control is off on {names}. An unmanaged worker with remote control off can't be seen."
        yield warning("strangers", text, "Set worker_enable_remote_control, or use the plug-in on every worker.")
    with console.broker.reading():
        # Those of a silent worker are its own, too: it is listed by its name.
        named = {number for worker in workers for number in worker.clients or ()}
        fetching = connected_clients.fetching(console.broker, named)
    # Those that answer, and those that report and do not name their connections, have some of these.
    known = sum(worker.clients is None for worker in live) + len(console.unmanaged.known() or ())
    if len(fetching) > known:
        where = ", ".join(connection.address for connection in fetching[:NAMED]) + (", …" if fetching[NAMED:] else "")
        text = (
            f"{count(len(fetching), 'connection')} to this database fetched messages as a worker does: {where}."
            f" Known workers have {known or 'none'} of them; a pause does not stop the rest."
        )
        yield warning("strangers", text, "Find what runs at these addresses; start it with -I opsdash.worker.auto.")


def left_out(patient: Examined) -> Findings:
    """Left out: what is in Redis and shown nowhere, because it is too long, too much or not readable."""
    console = patient.console
    reports = console.workers.look()
    console.discovery.names(reports.workers, console.unmanaged.last)
    todo = "Find who writes it; opsdash shows it nowhere and leaves it as it is."
    # Not of a snapshot: that one writes to the audit log what waits in the outbox.
    kept = (*console.trash.look()[1], *console.pending_approvals.look()[1])
    for unread in (*reports.unread, *console.discovery.unread, *kept):
        yield warning("left out", unread.message, todo)


def prefetch(patient: Examined) -> Findings:
    """Prefetch: how many tasks workers fetch beyond those that run."""
    for worker, report in _reports(patient):
        limit = untrusted.whole(report.get("prefetch"))
        about = f"{worker.hostname} ({count(worker.concurrency, 'slot')})"
        if report.get("disable_prefetch") == "1":
            text = f"{about} has worker_disable_prefetch: it fetches when a slot is free. A pause stops it too."
            yield ok("prefetch", text)
        elif limit == 0:
            text = f"{about} fetches without a limit: it may fetch a whole queue, which no other worker can then run."
            yield warning("prefetch", text, "Set worker_prefetch_multiplier to 1 or 4, not 0.")
        elif limit is not None and worker.concurrency and limit > FAR_ABOVE * worker.concurrency:
            text = f"{about} fetches up to {limit:,} tasks: others wait for them, and its end makes them late."
            yield warning("prefetch", text, "Lower worker_prefetch_multiplier; 1 for long tasks.")


def expiring(patient: Examined) -> Findings:
    """Expiring queues: declared with ``expires``, so that Redis deletes them with their tasks."""
    declared: dict[str, int] = {}
    for _worker, report in _reports(patient):
        declared |= _expiries(report.get("expires_ms"))
    for queue in patient.app.amqp.queues.values() if patient.app is not None else ():
        after_ms = (queue.queue_arguments or {}).get("x-expires") or (queue.expires or 0) * 1_000
        if after_ms:
            declared[str(queue.name)] = int(after_ms)
    if declared:
        named = [f"{queue} after {format_duration(ms / 1_000)}" for queue, ms in sorted(declared.items())[:NAMED]]
        text = (
            f"Redis deletes a queue with its tasks when no task was sent to it for a while: {', '.join(named)}"
            f"{', …' if len(declared) > NAMED else ''} (kombu 5.7 and later; fetching does not count)."
            " While opsdash pauses, clears or restores one, its expiry is suspended."
        )
        yield warning("expiring queues", text, "Declare queues without expires where a task must not be lost.")


def _reports(patient: Examined) -> list[tuple[WorkerStats, dict[str, str | None]]]:
    """What workers that report say of their settings. Cost: two round trips."""
    broker = patient.console.broker
    workers = [worker for worker in patient.console.workers.read() if worker.reports]
    with broker.reading():
        reports = bounded_reads.fields(broker.client, [broker.keys.worker(worker.record) for worker in workers], REPORT)
    return list(zip(workers, reports, strict=True))


def _expiries(text: str | None) -> dict[str, int]:
    """Queue → ms of one report; nothing of what no plug-in writes."""
    return {queue: ms for queue, ms in untrusted.counts(untrusted.parsed(text)).items() if ms}


CHECKS = (plugin, names, unmanaged, prefetch, expiring, left_out, clocks)
