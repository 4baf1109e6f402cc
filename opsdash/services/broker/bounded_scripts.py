"""The scripts of `bounded`: each asks for sizes and reads in one step, and begins nothing that has no end."""

from __future__ import annotations

from opsdash import lua
from opsdash.services.broker.messages import LARGEST

LARGE_MESSAGE = LARGEST
"""Bytes of a message that is looked into. A larger one is known by its mark, and stays where it is."""

MARKS: dict[str, int | str] = {"LARGE": LARGE_MESSAGE, "MARK": "\\0large:"}
"""What a script needs that includes ``named.lua``: how it calls a message that is too large to be read."""

FIELDS = lua.load(__name__, "fields")
HASHES = lua.load(__name__, "hashes")
SOME_FIELDS = lua.load(__name__, "some_fields")
SOME_MEMBERS = lua.load(__name__, "some_members")
SCAN = lua.load(__name__, "scan")
POINTS = lua.load(__name__, "points")
MEMBERS = lua.load(__name__, "members")
MESSAGES = lua.load(__name__, "messages", **MARKS)

NAMES = lua.load(__name__, "names")
SCAN_NAMES = lua.load(__name__, "scan_names")
SCAN_KEYS = lua.load(__name__, "scan_keys")
CHANNELS = lua.load(__name__, "channels")
NOTED = lua.load(__name__, "noted")
