"""Readers during a sync: every value they get is one tenant's whole configuration, old or new."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from support.tenants import add, execute, sync

from opsdash.bootstrap import assemble
from opsdash.services.broker import client as broker

TENANTS = [f"t{at:03}" for at in range(700)]


@pytest.mark.long
@pytest.mark.parametrize(("database", "value"), [("sqlite", ":text"), ("postgres", "CAST(:text AS JSON)")])
def test_a_reader_never_sees_a_half_written_tenant(
    request: pytest.FixtureRequest, settings_for: Callable, database: str, value: str
):
    console = assemble(settings_for(database_url=request.getfixturevalue(f"{database}_url")))
    reader = broker.connect(console.settings).client
    add(console, *TENANTS, settings={"first": 0, "filling": "x" * 300, "last": 0})
    sync(console)
    over, seen, wrong = threading.Event(), set(), []

    def read() -> None:
        try:
            while not over.is_set():
                for text in reader.mget([f"tenant_config:{tenant}" for tenant in TENANTS]):
                    settings = json.loads(text)["settings"]
                    seen.add((settings["first"], settings["last"]))
        except (TypeError, ValueError, KeyError) as error:  # a key that is not there, or not whole
            wrong.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for version in range(1, 7):
        text = json.dumps({"first": version, "filling": "y" * 300 * version, "last": version})
        execute(console, f"UPDATE tenant_config SET settings = {value}", text=text)
        assert sync(console).affected == len(TENANTS)
    over.set()
    thread.join()
    assert wrong == []
    assert {first for first, last in seen if first != last} == set()
    assert len(seen) > 2, "it has read while syncs were under way"
    reader.close()
    console.close()
