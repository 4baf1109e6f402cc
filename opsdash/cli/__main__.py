"""``python -m opsdash.cli``: the same as ``opsdash``."""

from opsdash.cli import main

main()
