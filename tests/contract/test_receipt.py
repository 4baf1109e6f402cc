"""Receipts: what waited before and after an act, in this queue by priority and in the others as they were."""

from __future__ import annotations

from opsdash.services.broker.client import Broker
from opsdash.services.queues.read import Queues
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import take_watermark


def push(broker: Broker, queue: str, *numbers: int, step: int = 0) -> None:
    for number in numbers:
        broker.client.lpush(broker.lists(queue)[step], f'{{"number": {number}, "queue": "{queue}"}}')


def test_a_clear_says_what_waited_before_and_after_it_counted_in_the_step_that_moved_it(broker: Broker) -> None:
    push(broker, "celery", 1, 2, 3)
    push(broker, "celery", 4, step=9)
    push(broker, "emails", 5, 6, step=3)
    boundary = take_watermark(broker, "celery")
    push(broker, "celery", 7)  # came later: it stays
    made = Queues(broker).clear(
        "celery", by="maria", keep_s=60, trash_id="one", watermark=boundary, others=("celery", "emails", "reports")
    )
    assert made.receipt is not None
    assert made.receipt.details() == {
        "queue": "celery",
        "before": {0: 4, 9: 1},
        "after": {0: 1, 9: 0},
        "others": {"emails": {"before": 2, "after": 2}, "reports": {"before": 0, "after": 0}},
        "at_once": True,
    }
    again = Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="one", watermark=boundary)
    assert (again.total, again.receipt) == (4, None), "it was done before"


def test_a_selective_clear_and_a_restore_end_with_a_receipt_too(broker: Broker) -> None:
    push(broker, "celery", 1, 2, 3)
    push(broker, "emails", 4)
    broker.client.set(broker.lists("emails")[3], "foreign")
    done = SelectiveClear(broker).clear(
        "celery", lambda text: b'"number": 2' in text, by="maria", keep_s=60, trash_id="one", others=("emails",)
    )
    assert done.receipt is not None
    assert (done.receipt.before, done.receipt.after, done.receipt.at_once) == ({0: 3}, {0: 2}, False)
    assert done.receipt.others == {"emails": (1, 1)}
    push(broker, "celery", 5)
    restored = Trash(broker).restore("one", by="maria", others=("emails",))
    number, receipt = restored.tasks, restored.receipt
    assert receipt is not None
    assert (number, receipt.before, receipt.after, receipt.others) == (1, {0: 3}, {0: 4}, {"emails": (1, 1)})
    again = Trash(broker).restore("one", by="maria")
    assert (again.tasks, again.receipt) == (0, None)


def test_how_many_of_a_trash_go_to_which_priority_is_known_before_they_do(broker: Broker) -> None:
    push(broker, "celery", 1, 2)
    push(broker, "celery", 3, step=9)
    trash_id = Queues(broker).clear("celery", by="maria", keep_s=60).trash_id
    assert Trash(broker).by_priority(trash_id or "") == {0: 2, 9: 1}
