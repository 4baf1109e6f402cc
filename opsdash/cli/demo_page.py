"""The process of the demo's page: it prepares the database, then serves. Both need the same imports."""

from __future__ import annotations

import sys

from opsdash import cli
from opsdash.cli.commands import importing
from opsdash.demo import TENANTS_SAID


def main() -> None:
    """Serves on the port that is the only argument, as ``opsdash serve`` does."""
    with importing():
        from opsdash.config.settings import Settings
        from opsdash.demo import database

    print(f"{database.prepare(Settings.from_env().database_url)}{TENANTS_SAID}", flush=True)  # noqa: T201 - read by the supervisor
    sys.argv = ["opsdash", "serve", "--port", *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
