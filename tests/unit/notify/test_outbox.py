"""Which message is next, when it is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from opsdash.config import notify_parsers
from opsdash.model.notification import OperationEnded, ServiceLost
from opsdash.services.notify.outbox import (
    GIVEN_UP_S,
    LONGEST_RETRY_S,
    MOST_MESSAGES,
    REFUSED_MOST,
    Message,
    TargetState,
    Waiting,
    after_failure,
    is_given_up,
    tried,
)

NOW = datetime(2026, 11, 28, 23, tzinfo=UTC)
URGENT = frozenset({"service"})
ACT = OperationEnded(at=NOW, audit_id="a", number=1, user="maria", operation="clear_queue", status="success")
AWAY = ServiceLost(at=NOW, service="redis", since=NOW)


def test_a_notification_is_a_message_for_each_address_with_one_id():
    waiting = Waiting()
    waiting.add([ACT, AWAY], ["slack", "mail"], NOW)
    ids = {(one.notification.kind, one.id) for one in waiting.messages.values()}
    assert len(waiting.messages) == 4
    assert len(ids) == 2


def test_messages_of_one_address_go_in_their_order():
    waiting = Waiting()
    first, second = waiting.add([ACT, AWAY], ["slack"], NOW)
    assert waiting.next_of("slack", NOW, urgent=URGENT, quiet=None) == first
    waiting.messages[first.field] = tried(first)
    assert waiting.next_of("slack", NOW, urgent=URGENT, quiet=None) == tried(first)
    assert waiting.next_of("mail", NOW, urgent=URGENT, quiet=None) is None
    stuck = replace(first, attempts=10)
    waiting.messages[first.field] = stuck
    assert waiting.next_of("slack", NOW, urgent=URGENT, quiet=None) == second


def test_in_quiet_hours_only_what_is_urgent_is_sent():
    quiet = notify_parsers.quiet_hours("22:00-07:00 Europe/Berlin")
    assert quiet is not None
    waiting = Waiting()
    act, away = waiting.add([ACT, AWAY], ["slack"], NOW)
    assert waiting.next_of("slack", NOW, urgent=URGENT, quiet=quiet) == away
    named = frozenset({"clear_queue"})
    assert waiting.next_of("slack", NOW, urgent=named, quiet=quiet) == act
    del waiting.messages[away.field]
    morning = datetime(2026, 11, 29, 6, tzinfo=UTC)
    assert waiting.next_of("slack", morning - timedelta(seconds=1), urgent=URGENT, quiet=quiet) is None
    assert waiting.next_of("slack", morning, urgent=URGENT, quiet=quiet) == act


def test_quiet_hours_are_by_the_clock_of_their_zone():
    quiet = notify_parsers.quiet_hours("9:00-17:00 America/New_York")
    assert quiet is not None
    assert quiet.within(datetime(2026, 11, 28, 15, tzinfo=UTC))
    assert not quiet.within(datetime(2026, 11, 28, 13, 30, tzinfo=UTC))
    assert str(quiet) == "09:00-17:00 America/New_York"


@pytest.mark.parametrize(
    ("moment", "silent"),
    [
        ("2026-03-29T00:59:59+00:00", True),  # 1:59:59
        ("2026-03-29T01:00:00+00:00", False),  # 3:00: there is no 2:30 in this night
        ("2026-10-25T00:29:59+00:00", True),  # 2:29:59
        ("2026-10-25T00:30:00+00:00", False),  # 2:30 …
        ("2026-10-25T01:00:00+00:00", True),  # … 2:00 again …
        ("2026-10-25T01:30:00+00:00", False),  # … and 2:30 again
    ],
)
def test_quiet_hours_end_also_in_the_nights_when_clocks_change(moment: str, silent: bool) -> None:
    quiet = notify_parsers.quiet_hours("22:00-02:30 Europe/Berlin")
    assert quiet is not None
    assert quiet.within(datetime.fromisoformat(moment)) is silent


def test_an_address_that_fails_is_tried_later_and_later_up_to_a_bound():
    state, waits = TargetState(), []
    for _ in range(12):
        state = after_failure(state, 0.0, lambda: 0.5)
        waits.append(state.next_s)
    assert waits[:5] == [5, 10, 20, 40, 80]
    assert waits[-1] == LONGEST_RETRY_S
    assert after_failure(TargetState(), 0.0, lambda: 0.0).next_s < after_failure(TargetState(), 0.0, lambda: 1.0).next_s


def test_a_message_is_given_up_after_a_day_or_when_it_is_refused_again_and_again():
    (message,) = Waiting().add([ACT], ["slack"], NOW)
    assert not is_given_up(replace(message, attempts=500), NOW + timedelta(hours=23), refused=False)
    assert is_given_up(message, NOW + timedelta(seconds=GIVEN_UP_S), refused=False)
    assert is_given_up(replace(message, attempts=REFUSED_MOST), NOW, refused=True)


def test_more_messages_than_can_wait_are_named_the_oldest_first():
    waiting = Waiting()
    new = waiting.add([ACT] * (MOST_MESSAGES + 2), ["slack"], NOW)
    assert waiting.surplus() == new[:2]


def test_a_message_comes_back_from_its_record():
    (message,) = Waiting().add([AWAY], ["slack"], NOW)
    assert Message.of(message.record()) == message
    assert Message.of({**message.record(), "notification": {"kind": "of a later version"}}) is None
