"""The course of one demo: check, prepare, start, be there, stop, leave nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click

from opsdash.demo import MENDED, PREPARED
from opsdash.demo.deployment import Deployment
from opsdash.demo.folder import Folder
from opsdash.demo.supervisor import Supervisor, step, stop_requests


def run(*, port: int, data_dir: Path | None, open_browser: bool) -> None:
    """Starts the demo, says when it is ready, and stops it all on Ctrl-C, SIGTERM or SIGHUP. In the main thread only.

    Raises:
        Invalid: A wrong data folder, or no broker to be found.
        Unavailable: A part of the demo did not start, or the broker ended. Everything is stopped by then.
    """
    stops = stop_requests()
    with ExitStack() as cleanup:  # runs whatever happens: nothing may stay
        folder = Folder(data_dir)
        cleanup.callback(folder.close)
        demo = Deployment(folder=folder, port=port, external_url=os.environ.get("OPSDASH_REDIS_URL", "").strip())
        cleanup.callback(demo.close)
        step("folder", f"{folder.path} ({'kept' if folder.kept else 'removed at the end'}; logs are in logs/)")
        if demo.port != port:
            step("port", f"{port} is taken; the page is moved to {demo.port}")
        if demo.external:
            step("broker", f"OPSDASH_REDIS_URL is set: {demo.external}, with keys that begin with {demo.prefix}")
        env = demo.env()
        supervisor = Supervisor(demo.parts(), env=env, folder=folder, stops=stops)
        cleanup.callback(supervisor.kill)
        with ThreadPoolExecutor(max_workers=1) as thread:  # the parts import for longer than this takes
            preparing = thread.submit(_prepare, demo)
            supervisor.run(
                ready=lambda: _present(demo, open_browser=open_browser),
                prepared=lambda: preparing.done() and preparing.result(),
            )
        click.echo("\nStopping; running tasks may finish. Once more to kill at once.")
        supervisor.stop()
    click.echo(f"Stopped. {folder.path} is {'kept' if folder.kept else 'removed'}.")


def _prepare(demo: Deployment) -> bool:
    """Makes the database's tables and tenants, and lets the page serve."""
    from opsdash.demo import database  # takes some tenths of a second

    step("database", f"SQLite, migrated; {database.prepare(demo.database_url)} tenants")
    (demo.folder.temp / PREPARED).touch()
    return True


def _present(demo: Deployment, *, open_browser: bool) -> None:
    demo.folder.write_env(demo.settings())
    click.echo(f"\nIn a second terminal:\n  source {shlex.quote(str(demo.folder.env))}\n  opsdash status")
    mended = shlex.quote(str(demo.folder.path / MENDED))
    click.echo(f"Some tasks fail. To mend the payments and run them again:\n  touch {mended}")
    click.echo("  opsdash retry-failed --task payments.capture")
    click.echo(f"Ctrl-C stops the demo.\n\n{demo.page_url}\nready")
    if open_browser and sys.stdout.isatty():
        # A separate process outside the demo: it may block, fail, or continue in the user's browser.
        command = [sys.executable, "-m", "webbrowser", demo.page_url]
        nowhere = subprocess.DEVNULL
        subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)  # noqa: S603 - our own command
