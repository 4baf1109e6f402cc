"""The process of the demo's page: it imports what serves while the database is prepared, and serves after that."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from opsdash import cli
from opsdash.cli.commands import importing
from opsdash.demo import PREPARED

STEP_S = 0.02


def main() -> None:
    """Serves on the port that is the only argument, as ``opsdash serve`` does."""
    with importing():
        import opsdash.web.server  # noqa: F401 - what takes longest

    prepared = Path(os.environ["TMPDIR"]) / PREPARED
    while not prepared.exists():  # the demo ends this process with itself, so it need not give up
        time.sleep(STEP_S)
    sys.argv = ["opsdash", "serve", "--port", *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
