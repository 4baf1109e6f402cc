"""``opsdash`` and ``python -m opsdash``: the command line, where it is installed."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Runs the command. Exits with 2 and one line where only a worker's part is installed."""
    gc.disable()  # as `opsdash.cli.commands.importing` says
    try:
        from opsdash import cli
    except ModuleNotFoundError as error:
        from opsdash import installed

        if not (line := installed.missing(error)):
            raise
        if sys.argv[1:] == ["--version"]:
            sys.stdout.write(f"{installed.describe()}\n")
            sys.exit(0)
        sys.stderr.write(f"opsdash: {line}\n")
        sys.exit(2)
    except KeyboardInterrupt:  # the imports take a moment
        sys.stderr.write("opsdash: interrupted. Nothing was changed.\n")
        sys.exit(130)
    gc.freeze()
    gc.enable()
    cli.main()


if __name__ == "__main__":
    main()
