"""What a problem document says: the sentence for a person, the fields for a program."""

from __future__ import annotations

import pytest
from support.served import Client
from support.services import Valkey

from opsdash.api import reads
from opsdash.services.console import Console


def test_a_read_that_fails_says_what_did_not_answer(api: Client, valkey: Valkey):
    valkey.kill()
    answer = api.get("/api/v1/queues")
    assert answer.status == 503
    assert "did not answer" in answer.problem
    assert "changed" not in answer.problem, "nobody expects a read to change anything"
    assert answer.json["changed"] == "nothing", "and a program needs no list of what does"


def test_redis_gone_is_a_problem_that_says_nothing_was_changed(api: Client, console: Console, valkey: Valkey):
    before = api.get("/api/v1/queues")
    valkey.kill()
    answer = api.run("pause_processing", confirm="YES")
    assert answer.status == 503
    assert answer.problem.startswith("unavailable: ")
    assert (answer.json["changed"], answer.json["retry"]) == ("nothing", True)
    assert "Nothing was changed" in answer.problem
    assert "Traceback" not in answer.text
    stale = api.get("/api/v1/queues")
    assert (before.status, stale.status) == (200, 200)  # stale beats blank
    assert "did not answer" in stale.json["redis_error"]


def test_an_operation_done_in_part_is_no_success(api: Client, console: Console):
    from opsdash.services.database.tables import tenant_config

    with console.engine.begin() as connection:
        connection.execute(tenant_config.insert().values(tenant_id="bad tenant\n", name="x"))
    answer = api.run("sync_tenant_configs", confirm="YES")
    assert answer.status == 502
    assert answer.problem.startswith("partial: ")
    assert answer.json["outcome"]["status"] == "failure"


def test_a_refusal_says_which_parameter_is_at_fault_and_what_helps(api: Client):
    answer = api.run("clear_queue", params={"queue": "emials"}, confirm="YES")
    assert (answer.status, answer.json["field"], answer.json["changed"]) == (409, "queue", "nothing")
    assert answer.json["hint"].startswith("Known queues: ")
    assert answer.json["detail"].endswith(answer.json["hint"])
    assert "retry" not in answer.json


@pytest.mark.parametrize(
    ("params", "query", "field"),
    [
        ({"cue": "emails"}, "", "cue"),
        ({}, "", "queue"),
        ({"queue": 5}, "", "queue"),
        ({"queue": "emails", "reason": "x" * 100_000}, "", "reason"),
        ({"queue": "emails"}, "?dry_run=perhaps", "dry_run"),
        ({"queue": "emails"}, "?dry_run=1&dry_run=0", "dry_run"),
        ({"queue": "emails"}, "?wet_run=1", "wet_run"),
    ],
)
def test_what_does_not_fit_the_schema_is_named_and_changed_nothing(api: Client, params, query: str, field: str):
    answer = api.run("clear_queue", params=params, query=query, confirm="YES")
    assert (answer.status, answer.json["changed"], answer.json.get("field")) == (422, "nothing", field)


def test_the_field_at_fault_is_named_in_short(api: Client):
    answer = api.run("clear_queue", params={"queue": "emails", "x" * 3_000: 1}, confirm="YES")
    assert answer.status == 422
    assert answer.json["field"].startswith("xxx")
    assert len(answer.json["field"]) <= 100


def test_every_answer_without_an_act_says_that_nothing_was_changed(api: Client):
    answers = {
        400: api.call("POST", "/api/v1/operations/pause_processing", b"{"),
        401: api.get("/api/v1/status", token="a-token-that-nobody-has"),
        404: api.get("/api/v1/nowhere"),
        405: api.call("DELETE", "/api/v1/queues"),
        415: api.call("POST", "/api/v1/operations/pause_processing", b"{}", headers={"Content-Type": "text/plain"}),
    }
    for status, answer in answers.items():
        assert (answer.status, answer.json["changed"]) == (status, "nothing")


def test_a_bug_in_an_act_may_have_changed_something(api: Client, console: Console, monkeypatch):
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(console, "run", breaks)
    monkeypatch.setattr(reads, "recent", breaks)
    answer = api.run("pause_processing", confirm="YES")
    assert (answer.status, answer.json["changed"]) == (500, "perhaps")
    read = api.get("/api/v1/queues")
    assert (read.status, read.json["changed"]) == (500, "nothing")
