"""The page that a prefork worker shares with its children."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.worker import celery_private
from opsdash.worker.message_origin import Origin
from opsdash.worker.prefork_guard import (
    QUEUE,
    SIZE,
    GuardedPool,
    GuardedWorker,
    PreforkGuard,
    SharedPause,
    _naming_the_queue,
    take_queue,
)


@pytest.fixture
def shared() -> SharedPause:
    return SharedPause()


def test_a_pause_of_everything_catches_every_task(shared: SharedPause) -> None:
    assert not shared.catches("celery")
    shared.show(True, [])
    assert shared.memory[0]
    assert shared.catches("celery")
    assert shared.catches("mail.de")
    shared.show(False, [])
    assert not shared.memory[0]
    assert not shared.catches("celery")


def test_a_queues_own_pause_catches_its_messages_only(shared: SharedPause) -> None:
    shared.show(False, ["emails", "out"])
    assert shared.memory[0]
    assert shared.catches("emails")
    assert shared.catches("out")
    for queue in ("email", "emails2", "mails", "ou", ""):
        assert not shared.catches(queue)
    shared.show(False, ["reports"])
    assert not shared.catches("emails")
    assert shared.catches("reports")


def test_more_queues_than_fit_do_not_spill(shared: SharedPause) -> None:
    shared.show(False, [f"queue-{n:06d}" for n in range(SIZE // 8)])
    assert len(shared.memory) == SIZE
    assert not shared.catches("celery")


def test_a_job_says_from_which_queue_it_came_and_the_task_never_sees_that() -> None:
    sent: list[Any] = []
    apply = _naming_the_queue(lambda target, args, kwargs, **options: sent.append(kwargs))

    class Request:
        message = SimpleNamespace(opsdash_origin=Origin("emails", "emails\x06\x163", b"{}"))

        def on_accepted(self) -> None: ...

    request = Request()
    apply(print, (), {}, accept_callback=request.on_accepted)
    apply(print, (), {"own": 1}, accept_callback=request.on_accepted)
    assert sent == [{QUEUE: "emails"}, {QUEUE: "emails", "own": 1}]
    job = (2, (7, None, print, (), sent[1]))
    assert take_queue(job) == "emails"
    assert job[1][4] == {"own": 1}


def test_a_task_that_must_run_a_broadcast_and_a_pools_own_errand_pass(shared: SharedPause) -> None:
    sent: list[Any] = []
    apply = _naming_the_queue(lambda target, args, kwargs, **options: sent.append(kwargs))

    class Request:
        message = SimpleNamespace(opsdash_origin=Origin("emails", "emails", b"{}"))

        def on_accepted(self) -> None: ...

    must_run, news = Request(), Request()
    PreforkGuard.exempt(must_run)
    news.message = SimpleNamespace()
    for accept in (must_run.on_accepted, news.on_accepted, None):
        apply(print, (), {}, accept_callback=accept)
    assert sent == [{}, {}, {}]
    shared.show(True, [])
    for job in ((2, (8, None, print, (), {})), (2, (8,)), None, (2, None)):
        assert not shared.catches(take_queue(job))


def test_a_child_reads_what_its_worker_writes_after_the_fork(shared: SharedPause) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.read(reader, 1)
        os._exit(7 if shared.catches("emails") else 1)
    shared.show(False, ["emails"])
    os.write(writer, b"!")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_child_that_is_a_fresh_interpreter_has_no_page_and_works() -> None:
    assert GuardedWorker.shared is None
    assert GuardedWorker.__reduce__ is GuardedWorker.__mro__[1].__reduce__, "it is pickled as Celery's own"


def test_a_pool_that_has_moved_on_is_missing_its_names() -> None:
    lost = [
        name for _, owner, names in celery_private.guard_needs(object()) for name in names if not hasattr(owner, name)
    ]
    assert {"_cache", "_result_handler", "state_handlers", "_make_child_methods"} <= set(lost)
    here = [name for name in ("WorkerProcess", "on_job_ready") if not hasattr(GuardedPool, name)]
    assert here == []
