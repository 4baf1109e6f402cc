"""What a problem document says: the sentence for a person, the fields for a program."""

from __future__ import annotations

from support.served import Client
from support.services import Valkey

from opsdash.services.console import Console


def test_a_read_that_fails_says_what_did_not_answer_and_nothing_of_changes(api: Client, valkey: Valkey):
    valkey.kill()
    answer = api.get("/api/v1/queues")
    assert answer.status == 503
    assert "did not answer" in answer.problem
    assert "changed" not in answer.problem


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


def test_what_does_not_fit_the_schema_changed_nothing(api: Client):
    answer = api.run("clear_queue", params={"cue": "emails"}, confirm="YES")
    assert (answer.status, answer.json["changed"]) == (422, "nothing")
