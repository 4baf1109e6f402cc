"""Whatever anybody leaves in the store of failed tasks, it is read without an error, and bounded."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model import to_plain
from opsdash.model.failure import COUNTED, KEPT
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.failures import store as failures
from opsdash.services.failures.store import FIELDS, FailureFilter, FailureStore

GROUP_FIELDS = ("kind", "task", "error", "place", "message_text", "count", "not_kept", "first_at", "last_at")
NUMBERS = st.sampled_from(["0", "-1", "1e5", "1e999", "nan", "inf", "9" * 30, "1790000000", "1790000000.5", "٣", " 1"])
VALUES = (
    NUMBERS.map(str.encode) | st.binary(max_size=30) | st.sampled_from([b"x" * 70_000, b"\xff", b"a\0b", b"failed"])
)
NAMES = st.binary(min_size=1, max_size=12) | st.sampled_from([b"a1", b"*", b"groups", b"a b", b"x" * 2_000])
SCORES = st.sampled_from([0.0, 1.0, 1.79e9, 1e18, float("inf"), float("-inf"), -1.0])
MEMBERS = st.dictionaries(NAMES, SCORES, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def broker() -> Broker:
    client = fakeredis.FakeRedis(decode_responses=True, encoding_errors="backslashreplace")
    return Broker(client, Layouts.fixed(client, Layout()), "test", ())


@pytest.mark.long
@given(
    index=MEMBERS,
    prints=MEMBERS,
    entry=st.dictionaries(st.sampled_from([*FIELDS, "message"]), VALUES, min_size=1),
    group=st.dictionaries(
        st.sampled_from([*GROUP_FIELDS, "at:1", "at:x", "at:" + "9" * 30, "queue:a", "worker:" + "w" * 500, "queue:*"]),
        VALUES,
        min_size=1,
    ),
)
def test_nothing_in_the_store_can_break_a_read(broker: Broker, index: Any, prints: Any, entry: Any, group: Any) -> None:
    client, keys, store = broker.client, broker.keys, FailureStore(broker)
    client.flushall()
    client.zadd(keys.failed, index)
    client.zadd(keys.failed_groups, {**prints, "a1": 1.79e9})
    client.zadd(keys.failed_group_entries("a1"), index)
    client.hset(keys.failed_group("a1"), mapping=group)
    for name in index:
        client.hset(keys.failed_entry(name.decode(errors="replace")), mapping=entry)
    found, unread = store.groups()
    page = store.page()
    by_queue = store.page(FailureFilter(queue="a"))
    kept = list(store.messages(store.ids()))
    assert len(repr(to_plain([found, unread, page, by_queue]))) < 200_000
    for each in found:
        assert each.kind in (*KEPT, *COUNTED)
        assert len(each.message_text) <= failures.LONG_TEXT
    for failure in page.failures:
        assert failure.kind in KEPT
        assert len(failure.traceback) <= failures.LONG_TRACEBACK
    assert all(len(one.message) <= failures.LARGE_MESSAGE for one in kept)
