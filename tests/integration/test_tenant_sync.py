"""A sync as an operator meets it: seen first, alone, told, cancelled, and cheap when nothing has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.errors import fails
from support.previews import texts
from support.services import until
from support.tenants import add, change, execute, preview, remove, stored, sync, writes

import opsdash
from opsdash.errors import Refused
from opsdash.model import Progress, Status
from opsdash.services.broker import bounded_reads
from opsdash.services.console import Console

SECRET = "planted-0123456789"


def test_the_preview_says_what_is_added_changed_and_stays_and_changes_nothing(console: Console):
    add(console, "same", "other")
    sync(console)
    add(console, "new")
    change(console, "other", name="Other", settings={"plan": "gold", "limits": {"rps": 5}})
    before = console.broker.client.dbsize(), stored(console, "other")
    found = console.preview(opsdash.SyncTenantConfigs())
    assert texts(found)[0] == ("3 tenants in the database: 1 will be added, 1 will be changed, 1 do not change.")
    assert (
        'other: name: "Acme" → "Other"; settings.limits.rps: nothing → 5; settings.plan: nothing → "gold"'
        in (texts(found)[1])
    )
    expected = {"tenants": 3, "added": 1, "changed": 1, "unchanged": 1, "orphaned": 0, "unreadable": 0, "keys": 2}
    assert found.values() == expected
    assert (console.broker.client.dbsize(), stored(console, "other")) == before
    assert sync(console).affected == 2
    assert console.preview(opsdash.SyncTenantConfigs()).values()["unchanged"] == 3


def test_of_a_secret_the_preview_says_only_that_it_changed(console: Console):
    add(console, "acme", api_key=SECRET, settings={"smtp": {"password": SECRET}, "url": f"amqp://u:{SECRET}@mq"})
    sync(console)
    change(console, "acme", api_key=f"{SECRET}2", settings={"smtp": {"password": "x"}, "url": "none", "list": [SECRET]})
    text = preview(console)
    assert "api_key_fingerprint changed" in text
    assert "settings.smtp.password changed" in text
    assert "settings.url changed" in text
    assert "hmac-sha256" not in text
    execute(console, "UPDATE tenant_config SET settings = :s", s="{}")
    console.broker.client.set("tenant_config:acme", f'{{"settings": {{"url": "amqp://u:{SECRET}@mq"}}}}')
    assert SECRET not in preview(console), "what somebody wrote to the key by hand may hold secrets too"


@pytest.mark.parametrize("value", ["{", "[1]", "[" * 5_000, "\x00", '{"a": 1e999, "b": NaN}'])
def test_whatever_somebody_wrote_to_a_key_the_preview_names_it_and_the_sync_mends_it(console_for, value: str):
    console = console_for()
    add(console, "acme")
    console.broker.client.set("tenant_config:acme", value)
    assert "acme: " in preview(console)
    sync(console)
    assert stored(console, "acme")["name"] == "Acme"


def test_a_key_of_another_type_is_written_over(console_for):
    console = console_for()
    add(console, "acme")
    console.broker.client.rpush("tenant_config:acme", "x")
    sync(console)
    assert stored(console, "acme")["name"] == "Acme"


def test_orphans_are_shown_and_stay_unless_asked_for(console: Console):
    add(console, "a", "b", "c")
    sync(console)
    remove(console, "c")
    found = console.preview(opsdash.SyncTenantConfigs())
    assert (found.values()["orphaned"], found.choices) == (1, ("remove_orphans",))
    assert "with a key in Redis: c. 1 will stay, unless you ask to remove them." in "\n".join(texts(found))
    assert sync(console).affected == 0
    assert stored(console, "c")
    assert "1 will be removed" in preview(console, remove_orphans=True)
    assert sync(console, remove_orphans=True).message == "Synced 0 tenant configs; 2 unchanged; 1 orphaned removed."
    assert stored(console, "c") is None
    assert stored(console, "a")


def test_keys_from_before_there_was_an_index_are_orphans_too(console: Console):
    console.broker.client.set("tenant_config:old", "{}")
    add(console, "a", "b")
    assert "with a key in Redis: old." in preview(console)
    sync(console)
    assert "with a key in Redis: old." in preview(console)
    sync(console, remove_orphans=True)
    assert stored(console, "old") is None


def test_a_row_that_can_not_be_read_keeps_its_key_and_is_no_orphan(console_for):
    console = console_for()
    add(console, "a", "b")
    sync(console)
    execute(console, "UPDATE tenant_config SET settings = '{' WHERE tenant_id = 'b'")
    found = console.preview(opsdash.SyncTenantConfigs(remove_orphans=True))
    assert (found.values()["unreadable"], found.values()["orphaned"]) == (1, 0)
    assert "1 row can't be read and will not be written: b (settings are not valid JSON)." in texts(found)
    assert not sync(console, remove_orphans=True).ok
    assert stored(console, "b")


def test_what_has_not_changed_costs_no_write(console: Console):
    add(console, *(f"t{at:04}" for at in range(1_200)))
    before = writes(console)
    sync(console)
    assert writes(console) == before + 12  # 100 each: Redis serves nobody else meanwhile
    before += 12
    effect = sync(console)
    assert (effect.affected, effect.details["unchanged"]) == (0, 1_200)
    assert writes(console) == before
    change(console, "t0700", name="Other")
    sync(console)
    assert writes(console) == before + 1


def test_the_second_sync_is_refused_and_told_who_runs_the_first(console: Console, console_for: Callable[..., Console]):
    add(console, "a")
    inside, go_on = threading.Event(), threading.Event()

    def wait(_progress: Progress) -> None:
        inside.set()
        assert go_on.wait(20)

    first: list[Any] = []
    thread = threading.Thread(
        target=lambda: first.append(
            console.run(opsdash.SyncTenantConfigs(), actor="maria", confirm="YES", on_progress=wait)
        )
    )
    thread.start()
    assert inside.wait(20)
    second = console_for(database_url=console.settings.database_url)
    with pytest.raises(Refused, match=r"synced by maria \(since .* UTC\)\. Nothing was changed"):
        second.run(opsdash.SyncTenantConfigs(), actor="tom", confirm="YES")
    assert "1 tenant in the database" in preview(second), "looking is free"
    go_on.set()
    thread.join(20)
    assert first[0].ok
    assert sync(second).ok
    refused = next(entry for entry in second.get_recent_operations() if entry.user == "tom")
    assert refused.status is Status.REFUSED


def test_a_cancelled_sync_leaves_each_tenant_old_or_new_and_the_next_one_ends_it(console: Console):
    tenants = [f"t{at:04}" for at in range(1_200)]
    add(console, *tenants)
    sync(console)
    execute(console, "UPDATE tenant_config SET name = 'New'")
    progress: list[Progress] = []
    effect = console.run(
        opsdash.SyncTenantConfigs(),
        actor="maria",
        confirm="YES",
        on_progress=progress.append,
        cancelled=lambda: bool(progress),
    )
    assert (effect.affected, effect.ok, effect.details["cancelled"]) == (500, False, True)
    assert effect.message == "Cancelled. Synced 500 tenant configs. The rest was not read."
    assert [(step.at, step.of) for step in progress] == [(500, 1_200)]
    names = [stored(console, tenant)["name"] for tenant in tenants]
    assert names == ["New"] * 500 + ["Acme"] * 700
    assert console.get_recent_operations()[0].status is Status.FAILURE
    assert console.snapshot().tenant_drift.differs
    assert sync(console).affected == 700
    assert not console.snapshot().tenant_drift.differs


def test_progress_is_told_from_the_first_chunk_to_the_last(console: Console):
    add(console, *(f"t{at:04}" for at in range(1_200)))
    progress: list[Progress] = []
    console.run(opsdash.SyncTenantConfigs(), actor="maria", confirm="YES", on_progress=progress.append)
    assert [(step.at, step.of) for step in progress] == [(500, 1_200), (1_000, 1_200), (1_200, 1_200)]
    assert progress[0].message == "500 of 1,200 tenants"


def test_whoever_was_away_for_longer_than_the_lock_lasts_writes_nothing_more(console: Console):
    add(console, *(f"t{at:04}" for at in range(1_200)))

    def lose_it(_progress: Progress) -> None:
        console.broker.client.set(console.broker.keys.tenants_busy, '{"by": "tom"}')

    with fails(opsdash.errors.Uncertain, changed="perhaps", retry=True):
        console.run(opsdash.SyncTenantConfigs(), actor="maria", confirm="YES", on_progress=lose_it)
    assert stored(console, "t0499")
    assert stored(console, "t0500") is None
    assert console.broker.client.get(console.broker.keys.tenants_busy) == '{"by": "tom"}', "somebody else's, and left"


def test_of_a_sync_whose_process_died_the_trail_says_what_is_left(console_for):
    console = console_for()
    add(console, "a")
    operation = opsdash.SyncTenantConfigs()
    dead = console.audit.begin(operation, console.settings.actor("dead", surface="cli"))
    assert operation.evidence(console.services, dead)["message"] == "Each tenant is old or new. Run it again."
    sync(console)
    assert "A later sync has ended" in operation.evidence(console.services, dead)["message"]


def test_a_killed_syncs_lock_ends_by_itself(console: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("opsdash.services.tenants.index.LEASE_S", 0.2)
    add(console, "a")
    dead = console.tenants.index.lock(by="dead")
    dead.__enter__()  # and nobody ever leaves it

    def freed() -> bool:
        try:
            return sync(console).ok
        except Refused as error:
            if "synced by dead" not in str(error):
                raise
            return False

    assert not freed()
    assert until(freed, timeout_s=5)


def test_a_lock_that_ends_before_its_holder_is_read_refuses_nobody(console: Console, monkeypatch: pytest.MonkeyPatch):
    add(console, "a")
    dead = console.tenants.index.lock(by="dead")
    dead.__enter__()  # and nobody leaves it
    read = bounded_reads.text

    def ended(client: Any, key: str, *rest: Any) -> str:
        client.delete(key)
        return read(client, key, *rest)

    monkeypatch.setattr(bounded_reads, "text", ended)
    assert sync(console).ok
