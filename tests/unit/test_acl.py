"""The list of rights has every command that the code sends."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from opsdash.services.broker import acl
from opsdash.services.broker.acl import Place, Right
from opsdash.services.broker.writes import READS

PACKAGE = Path(__file__).parents[2] / "opsdash"
METHODS = {"delete": "DEL", "hscan_iter": "HSCAN", "scan_iter": "SCAN", "eval": "EVAL"}
OURS = {
    "client",
    "close",
    "connect",
    "execute",
    "execute_command",
    "pipeline",
    "pubsub",
    "replicate_commands",
    "subscribe",
}
"""Methods that are no command by that name."""
CONTAINED = {"client_list": "CLIENT|LIST", "pubsub_numpat": "PUBSUB|NUMPAT", "pubsub_channels": "PUBSUB|CHANNELS"}
CONTAINED |= {"pubsub_numsub": "PUBSUB|NUMSUB", "client_id": "CLIENT|ID"}


def sent(files: Iterable[Path]) -> dict[str, str]:
    """Command → where it is sent, in scripts, by redis-py's methods and by name."""
    found: dict[str, str] = {}
    for path in files:
        text = path.read_text()
        for name in re.findall(r"redis\.p?call\([^,)]*?'([A-Z]+)'", text) + re.findall(
            r"raw\([\w.]+, \"([A-Z]+)\"", text
        ):
            found[name] = path.name
        for name, inner in re.findall(r"redis\.p?call\('(PUBSUB|CLIENT)', '([A-Z]+)'", text):
            found.pop(name, None)
            found[f"{name}|{inner}"] = path.name
        for name in re.findall(r"\b(?:client|pipe|redis)\.([a-z_]+)\(", text):
            if name not in {*OURS, "call", "pcall"}:
                found[CONTAINED.get(name) or METHODS.get(name) or name.upper()] = path.name
    return found


def granted(needed: Iterable[Right]) -> set[str]:
    return {right.grant[1:].upper() for right in needed if right.kind == "command"}


@pytest.mark.parametrize(
    ("folders", "needed"),
    [
        (("services", "operations", "web"), acl.console(Place())),
        (("worker",), acl.worker(Place())),
    ],
    ids=["console", "worker"],
)
def test_every_command_that_is_sent_is_among_the_rights(folders: tuple[str, ...], needed: tuple[Right, ...]):
    files = [path for folder in folders for path in (PACKAGE / folder).rglob("*") if path.suffix in {".py", ".lua"}]
    found = sent([*files, *(PACKAGE / "model" / "lua").glob("*.lua")])
    assert len(found) > 10
    assert {name: where for name, where in found.items() if name not in granted(needed)} == {}


def test_what_is_taken_for_a_read_changes_nothing():
    changing = {
        "SET",
        "DEL",
        "HSET",
        "EVAL",
        "PUBLISH",
        "EXPIRE",
        "PEXPIRE",
        "PERSIST",
        "RENAME",
        "LMOVE",
        "XADD",
        "INCR",
    }
    assert not changing & READS


def test_a_pattern_means_the_name_and_nothing_else():
    needed = acl.console(Place(prefix="a*b:", queues=("two words", "x[1]?", "naïve")))
    grants = {right.grant for right in needed}
    assert {r"~a\*b:two?words", r"~a\*b:x\[1\]\?", "~a\\*b:naïve", r"~a\*b:opsdash:*", "&a*b:opsdash:nudge"} <= grants


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("celery", "celery"),
        ("celery\x06\x16*", r'"celery\x06\x16*"'),
        ('a"b\\', r'"a\"b\\"'),
        ("naïve", r'"na\xc3\xafve"'),
    ],
)
def test_a_word_is_quoted_as_redis_cli_reads_it(text: str, typed: str):
    assert acl.quoted(text) == typed
