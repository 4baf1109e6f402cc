"""``kill -9`` of the console at every step of a retry, discard and restore: nothing is lost, nothing is there twice."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import programs, services
from support.failed_tasks import failed, keep

from opsdash.config.settings import Settings
from opsdash.errors import Refused, Uncertain
from opsdash.model.failure import Failure
from opsdash.services.broker.client import Broker, connect
from opsdash.services.console import Console
from opsdash.services.failures.discard import Discarded
from opsdash.services.failures.message_edit import Change
from opsdash.services.failures.retry import Retry
from opsdash.services.failures.selection import Meant, RetryPlan, plan, redis_now
from opsdash.services.failures.store import FailureFilter, FailureStore
from opsdash.services.queues import lock
from opsdash.services.queues.trash import Trash

HERE = Path(__file__).parent
IDS = [f"t{number}" for number in range(7)]
ALL = Meant(where=FailureFilter(task="*"))
RESET = Change(retries=True, times=True)


def in_queue(broker: Broker) -> list[str]:
    texts: Any = broker.client.lrange(broker.lists("celery")[0], 0, -1)
    return [json.loads(text)["headers"]["id"] for text in texts]


def in_store(broker: Broker) -> list[str]:
    return [one.id for one in FailureStore(broker).every()]


def in_trash(broker: Broker) -> list[str]:
    keys = broker.client.scan_iter("opsdash:trash:*:failed:*")
    return [key.rpartition(":")[2] for key in keys]


def planned(broker: Broker) -> RetryPlan:
    failures: list[Failure] = ALL.read(FailureStore(broker), redis_now(broker))
    return plan(broker, ALL, failures, known=("celery",), workers=())


class Stage:
    """A broker, and consoles that die on it."""

    def __init__(self, url: str, database: str) -> None:
        self.url, self.database = url, database
        self.broker = connect(Settings.from_env({}, redis_url=url, queues=("celery",)))
        self._consoles = programs.Popen(
            [sys.executable, str(HERE / "dying_console.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self) -> None:
        self.broker.client.flushall()
        keep(self.broker, [failed(one, retries="1", ago_s=20 - n) for n, one in enumerate(IDS)])

    def console(self, act: str, step: int, **more: Any) -> bool:
        """Whether a console that does this was killed in place of its command of this number; False: it had fewer."""
        assert self._consoles.stdin
        assert self._consoles.stdout
        job = {"act": act, "step": step, "url": self.url, "database": self.database, **more}
        self._consoles.stdin.write(json.dumps(job) + "\n")
        self._consoles.stdin.flush()
        answer = self._consoles.stdout.readline().strip()
        assert answer in {"killed", "0"}, answer
        return answer == "killed"

    def close(self) -> None:
        assert self._consoles.stdin
        assert self._consoles.stdout
        self._consoles.stdin.close()
        self._consoles.wait(10)
        self._consoles.stdout.close()
        self.broker.client.close()


@pytest.fixture
def stage(valkey_url: str, sqlite_url: str) -> Iterator[Stage]:
    with contextlib.closing(Stage(valkey_url, sqlite_url)) as made:
        yield made


@pytest.mark.long
def test_a_retry_killed_at_any_step_has_each_task_in_its_queue_or_among_the_failed(stage: Stage) -> None:
    broker = stage.broker
    partly = 0
    for step in range(1, 1_000):
        stage.begin()
        killed = stage.console("retry", step)
        sent = in_queue(broker)
        partly += 0 < len(sent) < len(IDS)
        assert sorted(sent + in_store(broker)) == IDS, step
        acts = broker.client.scan_iter("opsdash:failed:act:*")
        counted = sum(int(number) for key in acts for number in broker.client.hvals(key))
        assert counted == len(sent), "Redis knows what the dead console has sent"
        with contextlib.suppress(Refused):
            Retry(broker).send(planned(broker), RESET, audit_id="again")
        assert sorted(in_queue(broker)) == IDS, step
        assert in_store(broker) == []
        if not killed:
            break
    assert partly >= 2, "it was killed between steps too"


@pytest.mark.long
def test_a_discard_killed_at_any_step_can_be_run_again_and_undone(stage: Stage) -> None:
    broker = stage.broker
    partly = 0
    for step in range(1, 1_000):
        stage.begin()
        killed = stage.console("discard", step)
        moved = in_trash(broker)
        partly += 0 < len(moved) < len(IDS)
        assert sorted(moved + in_store(broker)) == IDS, step
        entries = Trash(broker).list()
        assert sum(entry.count for entry in entries) == len(moved), step
        for entry in entries:
            assert Discarded(broker).restore(entry.id, by="otto")[1].restored == entry.count
        assert sorted(in_store(broker)) == IDS, step
        assert in_trash(broker) == []
        if not killed:
            break
    assert partly >= 2, "it was killed between steps too"


@pytest.mark.long
@pytest.mark.parametrize("act", ["restore", "delete"])
def test_a_restore_or_delete_of_discarded_tasks_killed_at_any_step_is_run_again(stage: Stage, act: str) -> None:
    broker = stage.broker
    partly = 0
    for step in range(1, 1_000):
        stage.begin()
        failures = list(FailureStore(broker).every())
        Discarded(broker).take(failures, by="maria", keep_s=600, trash_id="t1")
        killed = stage.console(act, step, trash_id="t1")
        left = in_trash(broker)
        partly += 0 < len(left) < len(IDS)
        if act == "restore":
            assert sorted(left + in_store(broker)) == IDS, step
        assert sum(entry.count for entry in Trash(broker).list()) == len(left), step
        with contextlib.suppress(Refused):
            Discarded(broker).restore("t1", by="otto") if act == "restore" else Discarded(broker).delete("t1")
        assert sorted(in_store(broker)) == (IDS if act == "restore" else [])
        assert (in_trash(broker), Trash(broker).list()) == ([], ())
        if not killed:
            break
    assert partly >= 2, "it was killed between steps too"


def test_two_consoles_that_retry_and_discard_the_same_tasks_at_once_have_each_task_once(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "FIRST_STEP", 5)
    monkeypatch.setattr(lock, "LARGEST_STEP", 5)
    brokers = [connect(Settings.from_env({}, redis_url=valkey_url, queues=("celery",))) for _ in range(3)]
    ids = keep(brokers[0], [failed(f"t{number:03}") for number in range(300)])
    plans = [planned(broker) for broker in brokers]
    totals: list[int] = []

    def send(at: int) -> None:
        totals.append(Retry(brokers[at]).send(plans[at], RESET, audit_id=f"a{at}").total)

    def discard() -> None:
        totals.append(Discarded(brokers[2]).take(plans[2].going[::-1], by="m", keep_s=60, trash_id="t")[0])

    threads = [threading.Thread(target=send, args=(at,)) for at in (0, 1)] + [threading.Thread(target=discard)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(in_queue(brokers[0]) + in_trash(brokers[0])) == ids
    assert in_store(brokers[0]) == []
    assert sum(totals) == 300
    for broker in brokers:
        broker.client.close()


def test_a_broker_that_goes_in_the_middle_of_a_retry_is_told_with_numbers_and_has_each_task_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock, "FIRST_STEP", 2)
    monkeypatch.setattr(lock, "LARGEST_STEP", 2)
    with services.folder() as home:
        server = services.Valkey(home)
        server.start_with("--appendonly", "yes", "--appendfsync", "always")
        broker = connect(Settings.from_env({}, redis_url=server.url, queues=("celery",)))
        keep(broker, [failed(one) for one in IDS])

        def on_progress(at: int, _of: int) -> None:
            if at == 4:
                server.kill()

        with pytest.raises(Uncertain, match="after 4 of 7 tasks had been sent") as raised:
            Retry(broker).send(planned(broker), RESET, audit_id="a", on_progress=on_progress)
        assert raised.value.retry
        server.start_with("--appendonly", "yes", "--appendfsync", "always")
        broker.client.connection_pool.disconnect()
        assert sorted(in_queue(broker) + in_store(broker)) == IDS
        assert len(in_queue(broker)) == 4
        broker.client.close()
        server.kill()


def test_a_redis_that_is_full_takes_what_is_retried_since_that_needs_no_room(console_for: Any) -> None:
    console: Console = console_for(queues=("celery",))
    broker = console.broker
    keep(broker, [failed(f"t{number}") for number in range(300)])
    going = planned(broker)
    broker.client.config_set("maxmemory", "1")
    try:
        assert Discarded(broker).take(going.going[:100], by="maria", keep_s=60, trash_id="t")[0] == 100
        assert Retry(broker).send(going, RESET, audit_id="a").total == 200
        assert Discarded(broker).restore("t", by="maria")[1].restored == 100
    finally:
        broker.client.config_set("maxmemory", "0")
    assert (len(in_queue(broker)), len(in_store(broker)), in_trash(broker)) == (200, 100, [])
