"""The course of one demo: check, prepare, start, be there, stop, leave nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from opsdash.demo import broker
from opsdash.demo.deployment import Deployment
from opsdash.demo.folder import Folder
from opsdash.demo.supervisor import Progress, Supervisor, stop_requests


def run(*, port: int, data_dir: Path | None, open_browser: bool) -> int:
    """Starts the demo, says when it is ready, and stops it all on Ctrl-C, SIGTERM or SIGHUP. In the main thread only.

    Args:
        port: Where the page should be; a taken one is moved to a free one, and said.
        data_dir: Kept afterwards; None is a temporary folder, removed at the end.
        open_browser: Open the page once it is ready, where there is a terminal.

    Returns:
        The exit code: 0, also when it was stopped before it was ready.

    Raises:
        Invalid: A wrong data folder, or no broker to be found.
        Unavailable: A part of the demo did not start, or the broker ended. Everything is stopped by then.
    """
    say = Progress()
    with stop_requests() as stops, ExitStack() as cleanup:
        url = os.environ.get("OPSDASH_REDIS_URL", "").strip()
        external, label = broker.check_external(url) if url else ("", "")
        if not external:
            broker.find_program()  # before anything is made: without one there is nothing to do
        folder = Folder.temporary() if data_dir is None else Folder.at(data_dir)
        cleanup.callback(folder.close)
        demo = Deployment(folder=folder, port=port, external_url=external)
        cleanup.callback(demo.client.close)
        say.step("folder", f"{folder.path} ({'kept' if folder.kept else 'removed at the end'}; logs are in logs/)")
        if demo.port != port:
            say.step("port", f"{port} is taken; the page is moved to {demo.port}")
        if external:
            say.step(
                "broker", f"OPSDASH_REDIS_URL is set: no broker is started; {label}, keys begin with {demo.prefix}"
            )
        supervisor = Supervisor(demo.parts(), env=demo.env(), folder=folder, say=say, stops=stops)
        # Runs whatever happens, also when something failed: then nobody waits for running tasks, and nothing may stay.
        cleanup.callback(supervisor.kill)
        supervisor.run(ready=lambda: _present(demo, say, open_browser=open_browser))
        say("\nStopping; running tasks may finish. Once more to kill at once.")
        supervisor.stop()
        if not demo.remove_keys():
            say(f"The broker does not answer: keys that begin with {demo.prefix} stay on it.")
        say(f"Stopped. {folder.path} is {'kept' if folder.kept else 'removed'}.")
    return 0


def _present(demo: Deployment, say: Progress, *, open_browser: bool) -> None:
    demo.folder.write_env(demo.settings())
    say(f"\nIn a second terminal:\n  source {shlex.quote(str(demo.folder.env))}\n  opsdash status")
    say(f"Ctrl-C stops the demo.\n\n{demo.page_url}\nready")
    if open_browser and sys.stdout.isatty():
        # A separate process outside the demo: it may block, fail, or continue in the user's browser.
        subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "webbrowser", demo.page_url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
