"""``python -m opsdash``: the same as ``opsdash``."""

from opsdash.cli import main

main()
