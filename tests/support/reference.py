"""The pages of Redis keys and tables, and of rights in Redis, read off the code.

``PYTHONPATH=tests python -m support.reference`` writes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa

from opsdash.keys import Keys
from opsdash.services.broker import acl
from opsdash.services.broker.acl import Place, Right
from opsdash.services.database import tables

DOCS = Path(__file__).parents[2] / "docs"
MADE = "<!-- Written by tests/support/reference.py from the code; a test holds it to that. -->"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _table(*columns: str) -> list[str]:
    return ["", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def storage() -> str:
    """Every Redis key and every column."""
    lines = ["# Keys and tables", "", MADE, "", "## In Redis", ""]
    lines += [
        "The broker's `global_keyprefix`, if there is one, is the prefix of each name. Without `:{queue}` the first",
        "pauses everything. Nothing scans the keyspace.",
    ]
    lines += _table("key", "what it is")
    keys = Keys()
    for name, member in vars(Keys).items():
        if name.startswith("_") or not (isinstance(member, property) or inspect.isfunction(member)):
            continue
        key = getattr(keys, name)
        if not isinstance(member, property):
            key = key(*(f"{{{parameter}}}" for parameter in list(inspect.signature(member).parameters)[1:]))
        lines.append(f"| `{key}` | {_cell((member.__doc__ or '').partition(chr(10) * 2)[0])} |")
    lines += [
        "",
        "## In the database",
        "",
        "`opsdash db upgrade` makes them. `tenant_config` may be your application's own.",
    ]
    for table in tables.metadata.sorted_tables:
        lines += ["", f"### `{table.name}`", *_table("column", "type", "null")]
        lines += [
            f"| `{column.name}` | {_type(column)} | {'yes' if column.nullable else 'no'} |" for column in table.columns
        ]
    return "\n".join(lines) + "\n"


def _type(column: sa.Column[object]) -> str:
    kind = "time, UTC" if isinstance(column.type, tables.UtcDateTime) else type(column.type).__name__.lower()
    return f"{kind}, primary key" if column.primary_key else f"{kind}, unique" if column.unique else kind


def in_redis() -> str:
    """What console and worker may have to do in Redis, and the lines that allow just that."""
    place = Place(queues=("celery", "emails"))
    lines = ["# Users in Redis", "", MADE, ""]
    lines += [
        "Where Redis has one user for everything, skip this page. Else each of these lines, typed into `redis-cli`,",
        "makes a user that may do what it needs and little more. They are for the queues `celery` and `emails`,",
        "database 0, and Celery's and kombu's default names. `opsdash doctor` tries every right and prints the line",
        "that adds what is missing: as its own user and, for workers, as that of `OPSDASH_CELERY_APP`'s `broker_url`.",
        "",
        "With a `global_keyprefix` each pattern of keys and each channel begins with it. Channels of kombu carry the",
        "database's number. Redis takes no blank in a pattern: write `?` for it.",
        "",
        "Not in these lines, because opsdash does not use it:",
        "",
        f"- results that Celery keeps in the same Redis: `{' '.join(acl.RESULTS)}` for workers;",
        '- broadcasts: for `Broadcast("news")` a worker needs `~bcast.* &/0.news/celery`;',
        "- `+client|setinfo` (Redis 7.2 and later): redis-py works without it, and `ACL LOG` then shows that it asked.",
        "",
        "Who only sends tasks can do so as the workers' user.",
    ]
    for title, user, needed in (
        ("The console", "opsdash", acl.console(place)),
        ("A worker", "worker", acl.worker(place)),
    ):
        lines += ["", f"## {title}", "", "<!-- tested: ACL -->", "```text", acl.setuser(user, needed), "```"]
        lines += _table("what for", "rights")
        lines += [f"| {_cell(why)} | {given} |" for why, given in _by_reason(needed).items()]
    return "\n".join(lines) + "\n"


def _by_reason(needed: Iterable[Right]) -> dict[str, str]:
    given: dict[str, list[str]] = {}
    for right in needed:
        given.setdefault(right.why, []).append(f"`{_cell(acl.quoted(right.grant))}`")
    return {why: " ".join(grants) for why, grants in given.items()}


PAGES = {"storage.md": storage, "rights.md": in_redis}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write())
