"""What is made of a failure in the worker: its group, its entry, and how many are kept in a time."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.exceptions import SoftTimeLimitExceeded
from support.services import until

from opsdash.keys import Keys
from opsdash.model.failure import is_failure_id
from opsdash.worker.failures import budget, keeper
from opsdash.worker.failures.batch import Group
from opsdash.worker.failures.budget import Budget
from opsdash.worker.failures.ended import Ended, group_of, raised
from opsdash.worker.failures.entry import Noted, entry_of, text_of
from opsdash.worker.failures.keeper import FailureKeeper
from opsdash.worker.failures.settings import FailureSettings
from opsdash.worker.message_origin import Origin


def request(args: Any = (), kwargs: Any = None, embed: Any = None, **headers: Any) -> Any:
    """As much of Celery's request, and of kombu's message, as is looked at."""
    body = json.dumps([list(args), kwargs or {}, embed or {}]).encode()
    given = {"id": "id-1", "task": "shop.charge", "retries": 0, "root_id": "id-0", **headers}
    raw = json.dumps({"body": base64.b64encode(body).decode(), "headers": given}).encode()
    message = SimpleNamespace(
        headers=given,
        properties={"correlation_id": "id-1"},
        delivery_info={"exchange": "", "routing_key": "celery"},
        body=body,
        content_type="application/json",
        opsdash_origin=Origin("celery", "shop:celery\x06\x169", raw),
    )
    return SimpleNamespace(message=message, task=SimpleNamespace(name="shop.charge"), args=args, kwargs=kwargs)


def charge(error: BaseException) -> ExceptionInfo:
    try:
        raise error  # noqa: TRY301 - in a function of this name
    except BaseException:  # noqa: BLE001 - as Celery does
        return ExceptionInfo()


def ended(error: BaseException, *args: Any, **headers: Any) -> Ended:
    return raised("failed", request(args, **headers), charge(error))


def entry(what: Ended, redact: str = "") -> dict[str, str | bytes]:
    noted = Noted(what, group_of(what), "celery", time.monotonic(), text_of(what.error))
    return {"id": entry_of(noted, "w@h", redact)[0].id, **entry_of(noted, "w@h", redact)[0].fields}


def test_a_group_is_the_kind_the_task_the_errors_type_and_the_function_that_raised_it():
    assert group_of(ended(ValueError("1"))) == group_of(ended(ValueError("2")))
    assert group_of(ended(ValueError("1"))) == Group(
        "failed", "shop.charge", "ValueError", "charge in worker/test_failed_tasks.py"
    )
    assert group_of(ended(json.JSONDecodeError("x", "y", 0))).error == "json.decoder.JSONDecodeError"


def test_the_place_is_the_last_function_that_is_no_librarys():
    try:
        json.loads("{")
    except ValueError:
        info = ExceptionInfo()
    assert group_of(raised("failed", request(), info)).place.startswith("test_the_place_is_the_last_function")


@pytest.mark.parametrize(
    ("error", "kind", "name"),
    [
        (WorkerLostError("signal 9"), "killed", "billiard.exceptions.WorkerLostError"),
        (SystemExit(3), "killed", "billiard.exceptions.WorkerLostError"),
        (SoftTimeLimitExceeded(), "time_limit", "billiard.exceptions.SoftTimeLimitExceeded"),
    ],
)
def test_a_process_that_is_gone_and_a_time_limit_are_kinds_of_their_own_without_a_place(
    error: BaseException, kind: str, name: str
):
    assert group_of(ended(error)) == Group(kind, "shop.charge", name, "")


def test_an_entry_has_all_that_the_message_says_and_the_message_itself():
    fields = entry(
        ended(
            ValueError("no card"),
            7,
            parent_id="p",
            group="g",
            eta="2026-01-01T00:00:00+00:00",
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            redelivered=True,
            retries=2,
        )
    )
    told = {"id": "id-1", "task_id": "id-1", "task": "shop.charge", "queue": "celery", "priority": "9", "worker": "w@h"}
    told |= {"error": "ValueError", "message_text": "no card", "kind": "failed", "arguments": "7", "redelivered": "1"}
    told |= {"root_id": "id-0", "parent_id": "p", "group_id": "g", "retries": "2", "routing_key": "celery"}
    assert {name: fields[name] for name in told} == told
    assert fields["list"] == b"shop:celery\x06\x169"
    assert fields["eta"] == "2026-01-01T00:00:00+00:00"
    assert str(fields["traceparent"]).startswith("00-0af7")
    assert json.loads(fields["message"])["headers"]["id"] == "id-1"
    assert "chord" not in fields


def test_a_member_of_a_chord_is_known_by_its_body():
    what = raised("failed", request((1,), embed={"chord": {"task": "sum"}}), charge(ValueError()))
    assert entry(what)["chord"] == "1"


@pytest.mark.parametrize("task_id", ["", "a b", "*", "x" * 121, "\u2026", 7, None, "a\n"])
def test_a_task_whose_id_can_be_none_goes_by_a_hash_of_its_message(task_id: Any):
    fields = entry(ended(ValueError(), id=task_id))
    assert str(fields["id"]).startswith("unreadable-")
    assert is_failure_id(str(fields["id"]))


def test_what_is_hidden_among_the_arguments_is_hidden_in_error_and_traceback_too():
    what = raised("failed", request((), {"password": "tulip-12", "user": "maria"}), charge(KeyError("tulip-12")))
    fields = entry(what)
    assert "tulip-12" not in str({name: value for name, value in fields.items() if name != "message"})
    assert fields["message_text"] == "'(hidden)'"
    assert fields["arguments"] == 'password=(hidden), user="maria"'


def test_what_the_workers_expression_finds_is_hidden_line_by_line():
    what = raised("failed", request((), {"iban": "DE12"}), charge(ValueError("of iban DE12\nof maria")))
    fields = entry(what, "iban")
    assert fields["message_text"] == "(hidden)\nof maria"
    assert "DE12" not in str(fields["traceback"])


def test_texts_are_bounded_whatever_their_length():
    what = raised("failed", request(("x" * 5_000,)), charge(ValueError("y" * 3_000_000)))
    fields = entry(what)
    for name, most in {"message_text": 1_001, "traceback": 8_001, "arguments": 301}.items():
        assert len(fields[name]) <= most, name


def test_an_exception_whose_text_can_not_be_made_is_told_without():
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("on purpose")

    assert text_of(OddError()) == "(its text could not be made)"


def test_a_message_above_256_kb_is_not_kept_and_its_error_is_not_told():
    what = raised("failed", request(("x" * 300_000,)), charge(ValueError("xx")))
    fields = entry(what)
    assert ("message" in fields, fields["too_large"]) == (False, "1")
    assert "not shown" in str(fields["message_text"])


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_storm_is_kept_up_to_a_burst_and_a_rate_and_a_second_error_is_seen_in_it_all_the_same():
    clock = Clock()
    allowed = Budget(clock)
    assert sum(allowed.take("storm") for _ in range(1_000)) == budget.BURST
    clock.now += 1
    assert sum(allowed.take("storm") for _ in range(1_000)) == budget.RATE_PER_S
    assert [allowed.take("new") for _ in range(3)] == [True, False, False]
    assert sum(allowed.take(f"new {n}") for n in range(1_000)) == budget.NEW_BURST - 1


def test_while_the_store_is_full_of_young_failures_fewer_are_kept():
    clock = Clock()
    allowed = Budget(clock)
    while allowed.take("storm"):
        pass
    allowed.slow_down()
    clock.now += 10
    assert sum(allowed.take("storm") for _ in range(1_000)) == 10 * budget.SLOW_RATE_PER_S
    clock.now += budget.SLOW_S
    assert sum(allowed.take("storm") for _ in range(1_000)) >= budget.RATE_PER_S


SERVER = fakeredis.FakeServer()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> fakeredis.FakeRedis:
    """What the thread that writes takes for the broker."""
    made = fakeredis.FakeRedis(server=SERVER)
    SERVER.connected = True
    made.flushall()
    link = SimpleNamespace(redis=made, keys=Keys(), close=lambda: None)
    monkeypatch.setattr(keeper, "Link", lambda _app: link)
    return made


def test_of_a_storm_every_failure_is_counted_and_a_burst_is_kept(
    server: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keeper, "CLOSE_S", 60.0)  # a busy machine needs longer than a worker that ends may wait
    began_s = time.monotonic()
    kept = FailureKeeper(None, "w@h", "1", FailureSettings())
    for number in range(5_000):
        kept.note(ended(ValueError("no"), id=f"t{number}"))
    kept.close()
    more = budget.RATE_PER_S * (time.monotonic() - began_s) + budget.NEW_BURST
    keys = Keys()
    fingerprint = group_of(ended(ValueError("no"))).fingerprint
    count, left = server.hmget(keys.failed_group(fingerprint), "count", "not_kept")
    entries = server.zcard(keys.failed)
    assert int(count) == 5_000
    assert budget.BURST <= entries <= budget.BURST + more, "a burst, and what the time allows"
    assert int(left) == 5_000 - entries


def test_what_goes_back_to_its_queue_has_not_failed(server: fakeredis.FakeRedis):
    kept = FailureKeeper(None, "w@h", "1", FailureSettings())
    kept.note(ended(ValueError())._replace(goes_back=True))
    kept.close()
    assert server.keys() == []


def test_a_worker_that_keeps_none_writes_nothing_and_has_no_thread(server: fakeredis.FakeRedis):
    kept = FailureKeeper(None, "w@h", "1", FailureSettings(most=0))
    kept.note(ended(ValueError()))
    assert kept._thread is None
    assert server.keys() == []


def test_failures_wait_while_redis_is_away_and_are_written_once(
    server: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keeper, "AGAIN_S", 0.05)
    SERVER.connected = False
    kept = FailureKeeper(None, "w@h", "1", FailureSettings())
    for number in range(1_000):
        kept.note(ended(ValueError("no"), id=f"t{number}"))
    assert until(lambda: kept._failing, timeout_s=60)
    SERVER.connected = True
    keys = Keys()
    fingerprint = group_of(ended(ValueError("no"))).fingerprint
    assert until(lambda: server.hget(keys.failed_group(fingerprint), "count") == b"1000", timeout_s=60)
    kept.close()


def test_a_fault_in_noting_one_is_logged_and_ends_nothing(
    server: fakeredis.FakeRedis, caplog: pytest.LogCaptureFixture
):
    kept = FailureKeeper(None, "w@h", "1", FailureSettings())
    kept.note(SimpleNamespace(goes_back=False, kind="failed", message=None))  # type: ignore[arg-type]
    assert "could not be noted" in caplog.text


@pytest.mark.parametrize("value", ["-1", "many", "1e9", "9" * 30])
def test_a_wrong_setting_is_logged_and_the_default_holds(value: str, caplog: pytest.LogCaptureFixture):
    assert FailureSettings.from_env({"OPSDASH_FAILED_MAX": value}) == FailureSettings()
    assert "OPSDASH_FAILED_MAX must be a whole number" in caplog.text


def test_settings_are_read_from_the_workers_environment():
    environ = {"OPSDASH_FAILED_MAX": "0", "OPSDASH_FAILED_TTL_S": "600", "OPSDASH_POISON_AFTER": "3"}
    expected = FailureSettings(most=0, ttl_s=600, poison_after=3, redact=".")
    assert FailureSettings.from_env({**environ, "OPSDASH_REDACT": "("}) == expected
