from __future__ import annotations

import json

import pytest

from opsdash.services.broker.client import Broker
from opsdash.services.pause.flags import PauseFlags


@pytest.fixture
def flags(broker: Broker) -> PauseFlags:
    return PauseFlags(broker)


def test_a_pause_sets_the_flag_any_foreign_reader_may_test(flags: PauseFlags, broker: Broker):
    flags.pause(None, by="maria", reason="fire", ttl_s=86_400)
    key = f"{broker.keys.prefix}system:pause_processing"
    assert broker.client.get(key) == "true"
    assert 86_390 < broker.client.ttl(key) <= 86_400


def test_a_pause_tells_who_why_since_when_and_until_when(flags: PauseFlags):
    info = flags.pause(None, by="maria", reason='a "quoted" reason\n', ttl_s=60)
    (read,) = flags.read(()).values()
    assert (read.by, read.reason, read.at, read.epoch) == ("maria", 'a "quoted" reason\n', info.at, 1)
    assert abs((read.expires_at - info.expires_at).total_seconds()) < 2


@pytest.mark.parametrize("ttl_s", [60, None])
def test_what_a_pause_gives_is_what_any_console_reads(flags: PauseFlags, broker: Broker, ttl_s: int | None):
    info = flags.pause("emails", by="maria", reason="fire", ttl_s=ttl_s)
    assert (info.queue, info.by, info.reason, info.epoch) == ("emails", "maria", "fire", 1)
    assert (info.expires_at is None) == (ttl_s is None)
    told = json.loads(broker.client.hget(broker.keys.pause_info, "emails"))
    ends = info.expires_at.isoformat() if info.expires_at else None
    assert (told["by"], told["reason"], told["at"], told.get("expires_at")) == (
        "maria",
        "fire",
        info.at.isoformat(),
        ends,
    )


def test_resuming_everything_does_not_lift_a_queues_own_pause(flags: PauseFlags):
    flags.pause(None, by="maria", reason="", ttl_s=60)
    flags.pause("emails", by="maria", reason="", ttl_s=60)
    assert flags.resume(None)
    assert list(flags.read(["celery", "emails"])) == ["emails"]


def test_resuming_what_is_not_paused_says_so(flags: PauseFlags):
    assert not flags.resume(None)


def test_the_epoch_counts_every_change(flags: PauseFlags):
    assert flags.pause(None, by="a", reason="", ttl_s=60).epoch == 1
    flags.resume(None)
    assert flags.pause("emails", by="a", reason="", ttl_s=60).epoch == 3


def test_a_flag_set_by_hand_is_a_pause_without_a_story(flags: PauseFlags, broker: Broker):
    broker.client.set(broker.keys.pause(), "yes please")
    (info,) = flags.read(()).values()
    assert (info.by, info.at, info.epoch, info.expires_at) == ("", None, None, None)


@pytest.mark.parametrize("nonsense", ["{", "[]", "7", json.dumps({"at": "yesterday"}), json.dumps({"epoch": "many"})])
def test_nonsense_in_the_story_does_not_hide_the_pause(flags: PauseFlags, broker: Broker, nonsense: str):
    broker.client.set(broker.keys.pause(), "true")
    broker.client.hset(broker.keys.pause_info, "*", nonsense)
    assert None in flags.read(())


def test_a_story_without_its_flag_is_no_pause(flags: PauseFlags, broker: Broker):
    flags.pause(None, by="maria", reason="", ttl_s=60)
    broker.client.delete(broker.keys.pause())
    assert flags.read(()) == {}


def test_every_change_nudges_the_workers(flags: PauseFlags, broker: Broker):
    with broker.client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(broker.keys.nudge)
        listener.get_message(timeout=1)  # the subscription's own reply
        flags.pause("emails", by="maria", reason="", ttl_s=60)
        flags.resume("emails")
        messages = [json.loads(listener.get_message(timeout=1)["data"]) for _ in range(2)]
    assert messages == [
        {"epoch": 1, "field": "emails", "paused": True},
        {"epoch": 2, "field": "emails", "paused": False},
    ]


def test_a_flag_set_by_hand_does_not_inherit_the_story_of_an_earlier_pause(flags: PauseFlags, broker: Broker):
    flags.pause(None, by="maria", reason="fire", ttl_s=60)
    flags.resume(None)
    broker.client.set(broker.keys.pause(), "true")
    assert flags.read(())[None].by == ""


def test_a_pause_for_a_while_neither_replaces_nor_ends_somebody_elses(flags: PauseFlags):
    mine = flags.pause_if_not("emails", by="maria", reason="clear", ttl_s=60)
    assert flags.pause_if_not("emails", by="otto", reason="clear", ttl_s=60) is None
    assert flags.read(["emails"])["emails"].by == "maria"
    theirs = flags.pause("emails", by="ann", reason="incident", ttl_s=600)
    assert flags.resume("emails", mine.epoch) is False
    assert flags.read(["emails"])["emails"].by == "ann"
    assert flags.resume("emails", theirs.epoch) is True
    assert flags.read(["emails"]) == {}
