"""The tenants' side in Redis: whole steps under a lease, an index that agrees with the keys, keys altered by hand."""

from __future__ import annotations

import json

import pytest

from opsdash.errors import Refused, Uncertain
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import LEASE_S
from opsdash.services.tenants.index import Config, TenantIndex, in_steps
from opsdash.services.tenants.redaction import digest

A, B, C = (Config(name, json.dumps({"tenant_id": name})) for name in "abc")


@pytest.fixture
def index(broker: Broker) -> TenantIndex:
    return TenantIndex(broker)


def held(index: TenantIndex) -> dict[str, str | None]:
    return {
        config.tenant_id: index.broker.client.get(index.broker.keys.tenant_config(config.tenant_id))
        for config in (A, B, C)
    }


def known(index: TenantIndex) -> set[str]:
    return {tenant for tenants in index.known() for tenant in tenants}


def test_what_is_written_stands_in_its_key_and_in_the_index(index: TenantIndex) -> None:
    assert [config for config, _ in index.differing([A, B])] == [A, B]
    with index.lock(by="maria") as lock:
        assert index.write(lock, [A, B]) == 2
    assert held(index) == {"a": A.text, "b": B.text, "c": None}
    assert index.broker.client.hgetall(index.broker.keys.tenants) == {"a": digest(A.text), "b": digest(B.text)}
    assert index.differing([A, B]) == []
    assert index.broker.keys.tenant_config("a") == f"{index.broker.keys.prefix}tenant_config:a"


def test_what_differs_is_told_with_what_stands_there_now(index: TenantIndex) -> None:
    with index.lock(by="maria") as lock:
        index.write(lock, [A, B])
    index.broker.client.set(index.broker.keys.tenant_config("a"), "by hand")
    assert index.differing([A, B, C]) == [(A, "by hand"), (C, None)]


def test_a_key_that_is_right_but_missing_from_the_index_differs_too(index: TenantIndex) -> None:
    index.broker.client.set(index.broker.keys.tenant_config("a"), A.text)
    assert index.differing([A]) == [(A, A.text)]


def test_a_removed_tenant_leaves_neither_key_nor_index_entry(index: TenantIndex) -> None:
    with index.lock(by="maria") as lock:
        index.write(lock, [A, B, C])
        index.broker.client.delete(index.broker.keys.tenant_config("c"))
        assert index.remove(lock, ["b", "c"]) == 1
    assert held(index) == {"a": A.text, "b": None, "c": None}
    assert index.broker.client.hkeys(index.broker.keys.tenants) == ["a"]


def test_one_at_a_time_and_the_second_is_told_who_is_first(index: TenantIndex) -> None:
    with index.lock(by="maria"):
        assert 0 < index.broker.client.pttl(index.broker.keys.tenants_busy) <= LEASE_S * 1000
        with pytest.raises(Refused, match=r"synced by maria \(since \d\d:\d\d:\d\d UTC\)"):
            index.lock(by="tom").__enter__()
    with index.lock(by="tom"):
        pass
    assert not index.broker.client.exists(index.broker.keys.tenants_busy)


@pytest.mark.parametrize("value", ["", "{", "[]", "3", '{"by": "x", "at": "when"}'])
def test_a_lock_that_somebody_made_by_hand_is_one_too_if_it_ends(index: TenantIndex, value: str) -> None:
    index.broker.client.set(index.broker.keys.tenants_busy, value, ex=600)
    with pytest.raises(Refused, match="synced by another user"):
        index.lock(by="tom").__enter__()


def test_whoever_lost_the_lock_writes_and_removes_nothing_and_leaves_the_new_one(index: TenantIndex) -> None:
    with index.lock(by="maria") as lock:
        index.write(lock, [A])
        index.broker.client.set(index.broker.keys.tenants_busy, "tom's")
        for act in (
            lambda: index.write(lock, [B]),
            lambda: index.remove(lock, ["a"]),
            lambda: index.begin(lock),
            lambda: index.finish(lock, {"rows": 1}),
            lambda: index.differing([A], lock),
        ):
            with pytest.raises(Uncertain):  # the first write was done
                act()
    assert held(index) == {"a": A.text, "b": None, "c": None}
    assert index.stored()[0] == {}
    assert index.broker.client.get(index.broker.keys.tenants_busy) == "tom's"


def test_each_step_makes_the_lock_last_longer(index: TenantIndex) -> None:
    with index.lock(by="maria") as lock:
        for step in (
            lambda: index.write(lock, [A]),
            lambda: index.differing([A], lock),
            lambda: index.remove(lock, ["a"]),
        ):
            index.broker.client.pexpire(index.broker.keys.tenants_busy, 500)
            step()
            assert index.broker.client.pttl(index.broker.keys.tenants_busy) > 5_000


def test_keys_from_before_the_index_are_found_and_taken_over_once(index: TenantIndex) -> None:
    index.broker.client.set(index.broker.keys.tenant_config("old"), "{}")
    index.broker.client.set(index.broker.keys.tenant_config("a"), A.text)
    index.broker.client.set(f"x{index.broker.keys.tenant_config('other')}", "somebody else's")
    assert known(index) == {"old", "a"}
    with index.lock(by="maria") as lock:
        index.write(lock, [A])
        index.adopt(lock)
        index.finish(lock, {"rows": 2})
    assert index.broker.client.hgetall(index.broker.keys.tenants) == {"old": "", "a": digest(A.text)}
    index.broker.client.set(index.broker.keys.tenant_config("later"), "{}")
    assert known(index) == {"old", "a"}, "no look at every key of the server any more"


def test_a_look_names_keys_that_are_not_as_they_were_written(index: TenantIndex) -> None:
    with index.lock(by="maria") as lock:
        index.write(lock, [A, B, C])
    assert index.look(0, []) == (0, [])
    index.broker.client.set(index.broker.keys.tenant_config("a"), "by hand")
    index.broker.client.delete(index.broker.keys.tenant_config("b"))
    assert sorted(index.look(0, ["gone"])[1]) == ["a", "b"]
    index.broker.client.set(index.broker.keys.tenant_config("a"), A.text)
    assert index.look(0, ["a", "b"]) == (0, ["b"])


def test_of_a_key_that_was_there_before_a_look_knows_nothing(index: TenantIndex) -> None:
    index.broker.client.set(index.broker.keys.tenant_config("old"), "{}")
    with index.lock(by="maria") as lock:
        index.adopt(lock)
    index.broker.client.set(index.broker.keys.tenant_config("old"), "other")
    assert index.look(0, []) == (0, [])


def test_what_a_sync_leaves_replaces_what_the_last_one_left(index: TenantIndex) -> None:
    assert index.stored() == ({}, 0)
    with index.lock(by="maria") as lock:
        index.begin(lock)
        assert "begun" in index.stored()[0]
        index.write(lock, [A])
        index.finish(lock, {"rows": 1, "newest": "x", "by": "maria"})
    assert index.stored() == ({"rows": "1", "newest": "x", "by": "maria", "keys": "1", "adopted": "1"}, 1)


def test_configurations_are_written_in_parts_that_bound_what_one_step_holds() -> None:
    large = [Config(str(at), "x" * 400_000) for at in range(5)]
    assert [len(part) for part in in_steps(large)] == [2, 2, 1]
    assert [len(part) for part in in_steps([Config("huge", "x" * 1_000_001)])] == [1]
    assert list(in_steps([])) == []
