"""How a console that was told nothing finds the layout: from workers and bindings, without looking through the keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import redis

from opsdash.errors import Refused
from opsdash.keys import Keys
from opsdash.model.key_layout import APP, ASSUMED, BROKER, SETTING, WORKERS, Claim
from opsdash.services.broker.key_layout import Layouts

Reports = Callable[..., None]
DEFAULT = "\x06\x16"


@pytest.fixture
def reports(client: redis.Redis) -> Iterator[Reports]:
    """A worker that has reported just now under a prefix, and listens for nudges."""
    with ExitStack() as stack:

        def report(hostname: str, prefix: str = "", *, listens: bool = True, ago_s: float = 0, **layout: Any) -> None:
            keys = Keys(prefix)
            client.zadd(keys.workers, {hostname: time.time() - ago_s})
            report = {"separator": DEFAULT, "steps": [0, 3, 6, 9], **layout}
            client.hset(keys.worker(hostname), mapping={"layout": json.dumps(report), "exchanges": '["shop"]'})
            if listens:
                pubsub = stack.enter_context(closing(client.pubsub()))
                pubsub.subscribe(keys.nudge)
                pubsub.get_message(timeout=1)

        yield report


def bind(client: redis.Redis, separator: str, *hostnames: str, prefix: str = "", control: str = "celery") -> None:
    members = [f"{separator}{separator}{name}.{control}.pidbox" for name in hostnames]
    client.sadd(f"{prefix}_kombu.binding.{control}.pidbox", *members)


def test_the_layout_of_the_workers_is_adopted(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:", separator=":", steps=[0, 4, 8], unacked="mine", visibility_timeout_s=60)
    found = Layouts(client).found
    layout = found.layout
    assert (layout.prefix, layout.separator, layout.priority_steps) == ("shop:", ":", (0, 4, 8))
    assert (layout.unacked, layout.visibility_timeout_s) == ("mine", 60)
    assert layout.source_of("prefix") == layout.source_of("separator") == WORKERS
    assert layout.proven
    assert found.exchanges == ("shop",)
    assert not found.conflicts


def test_nobody_there_leaves_kombus_defaults_and_an_unproven_separator(client: redis.Redis):
    layout = Layouts(client).layout
    assert (layout.prefix, layout.separator, layout.source_of("prefix")) == ("", DEFAULT, ASSUMED)
    assert not layout.proven


def test_workers_under_several_prefixes_are_nobodys_to_choose_from(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:")
    reports("v@x", "blog:")
    layouts = Layouts(client)
    with pytest.raises(Refused, match=r"The key prefix differs: .*OPSDASH_KEY_PREFIX"):
        layouts.check("Pause Processing", ["prefix"])
    told = Layouts(client, [Claim(source=SETTING, facts={"prefix": "blog:"})])
    assert (told.layout.prefix, told.found.conflicts) == ("blog:", ())


def test_workers_of_another_database_teach_no_prefix(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:")
    client.delete(Keys("shop:").workers)
    found = Layouts(client).found
    assert (found.layout.prefix, found.elsewhere) == ("", ("shop:",))


def test_a_prefix_that_nobody_uses_is_refused_where_workers_use_another(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:")
    layouts = Layouts(client, [Claim(source=SETTING, facts={"prefix": "shpo:"})])
    with pytest.raises(Refused, match=r"'shpo:' by OPSDASH_KEY_PREFIX; 'shop:' by the workers under 'shop:'"):
        layouts.check("Pause Processing", ["prefix"])


def test_a_deployment_whose_workers_are_stopped_is_not_taken_for_its_neighbour(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:")
    client.sadd("blog:_kombu.binding.celery", "celery")
    layouts = Layouts(client, [Claim(source=SETTING, facts={"prefix": "blog:"})])
    layouts.check("Pause Processing", ["prefix"])
    assert layouts.layout.prefix == "blog:"


def test_what_workers_taught_stays_known_when_they_have_stopped(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:", separator=":", steps=[0, 4])
    layouts = Layouts(client)
    before = layouts.look().layout
    client.delete(Keys("shop:").workers, Keys("shop:").worker("w@x"))
    assert layouts.look().layout == before


def test_a_neighbour_that_is_alone_with_its_workers_is_not_adopted_in_our_place(client: redis.Redis, reports: Reports):
    reports("w@x", "shop:")
    layouts = Layouts(client)
    assert layouts.layout.prefix == "shop:"
    client.delete(Keys("shop:").workers, Keys("shop:").worker("w@x"))
    reports("v@x", "blog:")
    found = layouts.look()
    assert found.layout.prefix == "shop:"
    assert [conflict.fact for conflict in found.conflicts] == ["prefix"]


@pytest.mark.parametrize(
    ("fact", "own", "layout"),
    [
        ("separator", DEFAULT, {"separator": ":"}),
        ("priority_steps", (0, 3, 6, 9), {"steps": [0, 4, 8]}),
    ],
)
def test_an_app_that_says_otherwise_than_its_workers_is_refused_and_the_reason_told(
    client: redis.Redis, reports: Reports, fact: str, own: Any, layout: dict[str, Any]
):
    reports("w@x", **layout)
    layouts = Layouts(client, [Claim(source=APP, facts={"prefix": "", fact: own})])
    with pytest.raises(Refused, match=r"by the Celery app; .* by w@x\."):
        layouts.check("Clear Queue", ["prefix", "separator", "priority_steps", "db"])
    layouts.check("Resume Processing", ["prefix", "db"])


def test_workers_that_differ_among_themselves_are_refused(client: redis.Redis, reports: Reports):
    reports("w@x", separator=":")
    reports("v@x", separator="|")
    found = Layouts(client).found
    assert [conflict.fact for conflict in found.conflicts] == ["separator"]
    assert not found.layout.proven


def test_a_worker_that_has_been_silent_says_nothing_of_todays_layout(client: redis.Redis, reports: Reports):
    reports("old@x", separator=":", ago_s=300, listens=False)
    reports("new@x", separator="|")
    found = Layouts(client).found
    assert (found.layout.separator, found.conflicts) == ("|", ())


def test_a_change_while_something_is_written_waits_until_it_has_ended(client: redis.Redis, reports: Reports):
    layouts = Layouts(client)
    before = layouts.layout
    with layouts.kept():
        reports("w@x", "shop:", separator=":")
        assert layouts.look().layout == before
    assert layouts.look().layout.prefix == "shop:"


@pytest.mark.parametrize("separator", [":", DEFAULT])
def test_the_separator_is_proven_by_the_mailboxes_of_workers_without_the_plug_in(client: redis.Redis, separator: str):
    bind(client, separator, "celery@a", "celery@b")
    layout = Layouts(client).layout
    assert (layout.separator, layout.source_of("separator"), layout.proven) == (separator, BROKER, True)


def test_mailboxes_with_several_separators_prove_none(client: redis.Redis):
    bind(client, ":", "celery@a")
    bind(client, DEFAULT, "celery@b")
    assert not Layouts(client).layout.proven


def test_an_app_whose_separator_is_not_that_of_the_mailboxes_proves_none(client: redis.Redis):
    bind(client, ":", "celery@a")
    claim = Claim(source=APP, facts={"prefix": "", "separator": DEFAULT})
    assert not Layouts(client, [claim]).layout.proven


def test_the_mailboxes_are_found_by_the_prefix_and_the_control_exchange_that_were_told(client: redis.Redis):
    bind(client, ":", "celery@a", prefix="shop:", control="ops")
    claim = Claim(source=APP, facts={"prefix": "shop:", "control_exchange": "ops"})
    assert Layouts(client, [claim]).layout.source_of("separator") == BROKER


def test_foreign_values_in_the_keys_that_are_looked_at_teach_nothing(client: redis.Redis, reports: Reports):
    client.set("_kombu.binding.celery.pidbox", "x")
    client.set(Keys().workers, "x")
    assert not Layouts(client).layout.proven
    client.delete(Keys().workers)
    reports("w@x")
    client.delete(Keys().worker("w@x"))
    client.set(Keys().worker("w@x"), "x")
    assert Layouts(client).layout.separator == DEFAULT


@pytest.mark.long
def test_a_server_that_is_away_leaves_what_was_told_and_is_asked_again():
    away = redis.Redis(port=1, decode_responses=True, retry=None)
    layouts = Layouts(away, [Claim(source=SETTING, facts={"prefix": "shop:"})])
    assert layouts.layout.prefix == "shop:"
    with pytest.raises(redis.ConnectionError):
        layouts.look()


def test_workers_without_a_prefix_in_another_database_are_noticed(client: redis.Redis, reports: Reports):
    reports("w@x")
    client.delete(Keys().workers)
    found = Layouts(client).found
    assert (found.elsewhere, found.layout.source_of("prefix")) == (("",), ASSUMED)


def test_a_foreign_value_where_mailboxes_are_bound_is_no_error(client: redis.Redis, reports: Reports):
    reports("w@x", control_exchange="ops")
    client.set("_kombu.binding.ops.pidbox", "x")
    layout = Layouts(client).look().layout
    assert (layout.control_exchange, layout.proven) == ("ops", True)
