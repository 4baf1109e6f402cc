"""The course of one demo: check, prepare, start, be there, stop, leave nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from opsdash.demo import broker
from opsdash.demo.deployment import Deployment, check_external
from opsdash.demo.folder import Folder
from opsdash.demo.lifeline import Lifeline
from opsdash.demo.plan import parts
from opsdash.demo.ports import Claim
from opsdash.demo.progress import Progress
from opsdash.demo.signals import Signals
from opsdash.demo.supervisor import Supervisor
from opsdash.errors import Invalid

MAX_PORT = 65_535


def run(*, port: int, data_dir: Path | None, open_browser: bool) -> int:
    """See `opsdash.demo.run`."""
    if not 1 <= port <= MAX_PORT:
        raise Invalid(f"--port {port}: expected 1 to {MAX_PORT}")
    progress = Progress()
    with Signals() as signals, ExitStack() as cleanup:
        url = os.environ.get("OPSDASH_REDIS_URL", "").strip()
        external, label = check_external(url) if url else (None, "")
        if not external:
            broker.find_program()  # before anything is made: without one there is nothing to do
        folder = Folder.temporary() if data_dir is None else Folder.at(data_dir)
        cleanup.callback(folder.close)
        demo = Deployment(folder=folder, claim=Claim(port), external_url=external)
        cleanup.callback(demo.close)
        lifeline = Lifeline(demo_id=demo.demo_id, remove=folder.passing, lock=folder.lock, env=demo.env())
        cleanup.callback(lifeline.goodbye)
        cleanup.callback(folder.close)  # before the goodbye: killed in between, the keeper does it
        supervisor = Supervisor(parts(demo), demo=demo, lifeline=lifeline, progress=progress, signals=signals)
        _introduce(demo, progress, asked_for=port, external=label)
        # Runs whatever happens, also when something failed: then nobody waits for running tasks, and nothing may stay.
        cleanup.callback(supervisor.kill)
        if supervisor.start():
            _present(demo, progress, open_browser=open_browser)
            supervisor.watch()
        progress.line()
        progress.line("Stopping; running tasks may finish. Once more to kill at once.")
        supervisor.stop()
        _tidy(demo, progress)
    return 0


def _introduce(demo: Deployment, progress: Progress, *, asked_for: int, external: str) -> None:
    folder = demo.folder
    progress.step("folder", f"{folder.path} ({'kept' if folder.kept else 'removed at the end'}; logs are in logs/)")
    if demo.claim.moved:
        progress.step("port", f"{asked_for} is taken; the page is moved to {demo.claim.port}")
    if external:
        progress.step(
            "broker", f"OPSDASH_REDIS_URL is set: no broker is started; {external}, keys begin with {demo.prefix}"
        )


def _present(demo: Deployment, progress: Progress, *, open_browser: bool) -> None:
    demo.folder.write_env(demo.settings())
    progress.line()
    progress.line("In a second terminal:")
    progress.line(f"  source {shlex.quote(str(demo.folder.env))}")
    progress.line("  opsdash status")
    progress.line("Ctrl-C stops the demo.")
    progress.line()
    progress.line(demo.page_url)
    progress.line("ready")
    if open_browser and _has_display():
        # A process of its own, and not one of the demo's: it may block, fail, or live on in the user's browser.
        subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "webbrowser", demo.page_url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _has_display() -> bool:
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _tidy(demo: Deployment, progress: Progress) -> None:
    if demo.remove_keys() is None:
        progress.line(f"The broker does not answer: keys that begin with {demo.prefix} stay on it.")
    kept = demo.folder.kept
    progress.line(f"Stopped. {demo.folder.path} is {'kept' if kept else 'removed'}.")
