"""``opsdash demo``: a whole deployment on one machine, for looking at and playing with.

A broker, two Celery workers with the plug-in, a producer of sample tasks, a migrated database with sample tenants, and
the page. The workers import this package for `opsdash.demo.tasks`, so nothing heavy is imported here.
"""

from __future__ import annotations

from pathlib import Path


def run(*, port: int = 5006, data_dir: Path | None = None, open_browser: bool = True) -> int:
    """Starts the demo, says when it is ready, and stops it all on Ctrl-C, SIGTERM or SIGHUP.

    Must be called from the main thread: it installs signal handlers for as long as it runs.

    Args:
        port: Where the page should be; a taken one is moved to a free one, and said.
        data_dir: Kept afterwards; None is a temporary folder, removed at the end.
        open_browser: Open the page once it is ready, where there is a terminal and a display.

    Returns:
        The exit code: 0, also when it was stopped before it was ready.

    Raises:
        Invalid: A wrong port or data folder, or no broker to be found.
        Unavailable: A part of the demo did not start or kept ending. Everything is stopped by then.
    """
    from opsdash.demo import launch

    return launch.run(port=port, data_dir=data_dir, open_browser=open_browser)
