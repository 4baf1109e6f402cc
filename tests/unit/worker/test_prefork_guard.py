"""The page that a prefork worker shares with its children."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue, binding

from opsdash.worker import celery_private
from opsdash.worker.prefork_guard import SIZE, Board, GuardedPool, GuardedWorker, run_regardless


def job(exchange: str | None = "", routing_key: str | None = "celery", function: Any = print) -> Any:
    """A job as a child receives it."""
    request = {"id": "1", "delivery_info": {"exchange": exchange, "routing_key": routing_key, "priority": 0}}
    return 2, (7, None, function, ("sample.short", "1", request, b"[]", "json", "utf-8"), {})


@pytest.fixture
def board() -> Board:
    return Board()


def test_a_pause_of_everything_catches_every_task(board: Board) -> None:
    assert not board.catches(job())
    board.show(True, [])
    assert board.memory[0]
    assert board.catches(job())
    assert board.catches(job("topics", "mail.de"))
    board.show(False, [])
    assert not board.memory[0]
    assert not board.catches(job())


def test_a_queues_own_pause_catches_its_messages_only(board: Board) -> None:
    board.show(False, [("", "emails"), ("mailing", "out")])
    assert board.memory[0]
    assert board.catches(job("", "emails"))
    assert board.catches(job(None, "emails"))
    assert board.catches(job("mailing", "out"))
    for address in (("", "email"), ("", "emails2"), ("", "mailing"), ("mailing", "emails"), ("", ""), (None, None)):
        assert not board.catches(job(*address))
    board.show(False, [("", "reports")])
    assert not board.catches(job("", "emails"))
    assert board.catches(job("", "reports"))


def test_more_queues_than_fit_do_not_spill(board: Board) -> None:
    board.show(False, [("", f"queue-{n:06d}") for n in range(SIZE // 8)])
    assert len(board.memory) == SIZE
    assert not board.catches(job("", "celery"))


def test_a_task_told_to_run_regardless_and_a_pools_own_errand_pass(board: Board) -> None:
    board.show(True, [])
    assert not board.catches(job(function=run_regardless))
    assert not board.catches((2, (8, None, print, (), {})))
    assert run_regardless(divmod, 7, 2) == (3, 1)


def test_a_child_reads_what_its_worker_writes_after_the_fork(board: Board) -> None:
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.read(told, 1)
        os._exit(7 if board.catches(job("", "emails")) else 1)
    board.show(False, [("", "emails")])
    os.write(tell, b"!")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_child_that_is_a_fresh_interpreter_has_no_page_and_works() -> None:
    assert GuardedWorker.board is None
    assert GuardedWorker.__reduce__ is GuardedWorker.__mro__[1].__reduce__, "it is pickled as Celery's own"


def test_a_queues_addresses_are_its_name_its_own_exchange_and_its_bindings() -> None:
    mails = Queue("emails", Exchange("mailing"), "out", bindings=[binding(Exchange("news"), "mail")])
    app = Celery(set_as_current=False)
    app.conf.task_queues = [Queue("celery"), mails]
    consumer = SimpleNamespace(task_consumer=SimpleNamespace(queues=list(app.amqp.queues.values())))
    assert set(celery_private.addresses(consumer, ["emails", "gone"])) >= {
        ("", "emails"), ("news", "mail"), ("", "gone"),
    }  # fmt: skip


def test_a_pool_that_has_moved_on_is_missing_its_names() -> None:
    lost = [
        name for _, owner, names in celery_private.guard_needs(object()) for name in names if not hasattr(owner, name)
    ]
    assert {"_cache", "_result_handler", "state_handlers", "_make_child_methods"} <= set(lost)
    here = [name for name in ("WorkerProcess", "on_job_ready") if not hasattr(GuardedPool, name)]
    assert here == []
