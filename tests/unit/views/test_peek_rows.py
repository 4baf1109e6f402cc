"""What a look into a queue shows, as rows."""

from __future__ import annotations

from opsdash.services.broker.messages import Message
from opsdash.services.queues.browse import Look
from opsdash.views.peek import peeked


def test_each_message_has_its_own_row_whatever_its_id_is_and_however_often_it_was_sent() -> None:
    ids = ["a at 4", "gap:0", "a", "a", "a at 4", "gap:9", "place:9"]
    messages = [Message(id=name, position=at) for at, name in enumerate(ids, 2)] + [Message(position=9)]
    rows = peeked(Look(waiting=20, messages=tuple(messages), upto=9), may=lambda _operation: True)
    assert [row.get("id") for row in rows] == [None, *ids, None, None]
    assert len({row["key"] for row in rows}) == len(rows)
