"""Who asked is who asked: approvals of other versions, second persons, and requests that belong to somebody."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.errors import fails
from support.services import Postgres

import opsdash
from opsdash.api.problems import problem_error
from opsdash.errors import NeedsApproval, Refused
from opsdash.model import Actor, Role, Status
from opsdash.operations.approve import described
from opsdash.services.audit import approvals
from opsdash.services.audit.idempotency import TakenRequest
from opsdash.services.audit.log import DuplicateRequest
from opsdash.services.console import Console
from opsdash.views.rows import approval_rows

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="page")
BOB = Actor(name="bob", role=Role.OPERATOR, surface="page")
CLEAR = opsdash.ClearQueue(queue="emails")


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    console = console_for(queues=("celery", "emails"), approval=("clear_queue",))
    console.broker.client.rpush("emails", "a", "b", "c")
    return console


def ask(console: Console, actor: Actor = MARIA) -> str:
    with pytest.raises(NeedsApproval) as raised:
        console.run(CLEAR, actor=actor, confirm="YES")
    return raised.value.approval_id


def approve(console: Console, approval_id: str, actor: Actor = BOB) -> Any:
    return console.run(opsdash.ApproveOperation(approval_id=approval_id), actor=actor, confirm="YES")


def written_by_another_version(console: Console, approval_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Another version has the same key, and other ideas of what is in a request."""
    key = console.broker.keys.approval(approval_id)
    request = json.loads(str(console.broker.client.hget(key, "asked")))
    change(request)
    text = json.dumps(request)
    mac = console.audit.signer.mac(f"approval:{approval_id}:{text}")
    console.broker.client.hset(key, mapping={"asked": text, "mac": mac})


def more_params(request: dict[str, Any]) -> None:
    request["params"]["only_priority"] = 3


def more_params_of_the_release_before(request: dict[str, Any]) -> None:
    del request["params"]
    request["entry"]["details"]["params"]["only_priority"] = 3


def other_type(request: dict[str, Any]) -> None:
    request["params"]["queue"] = ["emails"]


def other_operation(request: dict[str, Any]) -> None:
    request["entry"]["operation"] = "defrost_queue"


def other_preview(request: dict[str, Any]) -> None:
    request["reviewed"]["colour"] = "red"


def other_actor(request: dict[str, Any]) -> None:
    request["actor"]["role"] = "emperor"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (more_params, "This one does not know: only_priority."),
        (more_params_of_the_release_before, "This one does not know: only_priority."),
        (other_type, "can't be read by this one."),
        (other_operation, "This opsdash does not have the operation defrost_queue."),
        (other_preview, "can't be read by this one."),
        (other_actor, "can't be read by this one."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_request_of_another_version_is_shown_as_one_and_refused_and_the_rest_goes_on(
    console: Console, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    strange, good = ask(console), ask(console)
    written_by_another_version(console, strange, change)
    snapshot = console.snapshot()
    assert (snapshot.redis_error, snapshot.database_error) == ("", "")
    shown = {waits.id: waits for waits in snapshot.approvals}
    assert shown.keys() == {strange, good}
    assert shown[strange].problem.endswith(why)
    assert described(shown[strange]).endswith(why)
    assert (shown[good].problem, shown[strange].by) == ("", "maria")
    table = approval_rows(snapshot.approvals, may=True)
    assert ("acts" in table[good], "acts" in table[strange]) == (True, False)
    for act in (approve, lambda c, i: c.preview(opsdash.ApproveOperation(approval_id=i))):
        with pytest.raises(Refused, match=r"asked for by maria can't be done here\. "):
            act(console, strange)
    assert console.get_queue_length("emails") == 3
    assert approve(console, good).affected == 3


def test_a_request_of_another_version_expires_as_any_other(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    written_by_another_version(console, ask(console), more_params)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=16)

    monkeypatch.setattr(approvals, "datetime", Later)
    console.snapshot()
    (entry,) = console.get_recent_operations()
    assert (entry.status, entry.details["approved_by"]) == (Status.REFUSED, "(expiry)")


def unreadable(request: dict[str, Any]) -> None:
    request["entry"] = "x"


@pytest.mark.parametrize("kind", ["text", "no json", "entry"])
def test_a_request_that_can_not_be_read_is_named_once_and_left_out(
    console: Console, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    strange, good = ask(console), ask(console)
    client, key = console.broker.client, console.broker.keys.approval(strange)
    if kind == "text":
        client.delete(key)
        client.set(key, "x")
    elif kind == "no json":
        mac = console.audit.signer.mac(f"approval:{strange}:" + "[" * 20_000)
        client.hset(key, mapping={"asked": "[" * 20_000, "mac": mac})
    else:
        written_by_another_version(console, strange, unreadable)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            snapshot = console.snapshot()
            assert (snapshot.redis_error, [waits.id for waits in snapshot.approvals]) == ("", [good])
    assert sum(strange in record.getMessage() for record in caplog.records) == 1


def test_somebody_elses_value_in_place_of_the_list_hides_nothing_else(console: Console) -> None:
    console.broker.client.set(console.broker.keys.approvals, "x")
    snapshot = console.snapshot()
    assert (snapshot.redis_error, snapshot.database_error, snapshot.approvals) == ("", "", ())
    assert [queue.waiting for queue in snapshot.queues] == [0, 3]


def test_what_waits_is_read_in_two_round_trips_however_much_it_is(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        ask(console)
    sent: list[int] = []
    console.approvals()  # the connection is there
    connection = console.broker.client.connection_pool.connection_class
    send = connection.send_packed_command

    def counting(self: Any, command: Any, **over: Any) -> Any:
        sent.append(1)
        return send(self, command, **over)

    monkeypatch.setattr(connection, "send_packed_command", counting)
    assert len(console.approvals()) == 5
    assert len(sent) == 2


@pytest.mark.parametrize(
    "name", ["Maria.", "\uff4d\uff41\uff52\uff49\uff41", "ma\u200bria", " maria\u00ad", "MARIA\u3164"], ids=ascii
)
def test_the_same_name_in_other_letters_is_no_second_person(console: Console, name: str) -> None:
    approval_id = ask(console)
    with pytest.raises(Refused, match="maria made the request, so another user must approve it"):
        approve(console, approval_id, Actor(name=name, role=Role.ADMIN))
    assert console.get_queue_length("emails") == 3


@pytest.mark.parametrize("name", ["maria", "Maria."])
def test_a_token_can_not_approve_what_a_person_of_its_name_asked(console: Console, name: str) -> None:
    token = Actor(name=name, role=Role.ADMIN, surface="api")
    approval_id = ask(console)
    with pytest.raises(Refused, match="another user must approve it"):
        approve(console, approval_id, token)
    asked = ask(console, token)
    with pytest.raises(Refused, match="another user must approve it"):
        approve(console, asked, MARIA)
    assert console.get_queue_length("emails") == 3


def pause(console: Console, actor: Actor, request_id: UUID) -> Any:
    return console.run(opsdash.PauseProcessing(reason="x"), actor=actor, confirm="YES", request_id=request_id)


@pytest.mark.parametrize(
    "other", [BOB, Actor(name="maria", role=Role.ADMIN, surface="api")], ids=["another person", "a token of her name"]
)
def test_a_request_id_belongs_to_whoever_used_it_first(console: Console, other: Actor) -> None:
    request_id = uuid4()
    done = pause(console, MARIA, request_id)
    console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    with fails(TakenRequest, field="request_id") as refusal:
        pause(console, other, request_id)
    problem = problem_error(refusal.value, opsdash.PauseProcessing, other).problem
    assert (problem.status, problem.type.rpartition(":")[2]) == (409, "duplicate")
    assert not console.is_processing_paused()
    refused = console.get_recent_operations()[0]
    assert (refused.user, refused.status, refused.request_id != request_id) == (other.name, Status.REFUSED, True)
    assert pause(console, MARIA, request_id).audit_id == done.audit_id, "whoever made it is answered as before"
    assert console.audit.verify().ok


def test_a_request_id_is_nobody_elses_while_the_database_is_down_either(
    console_for: Callable[..., Console], postgres: Postgres, postgres_url: str
) -> None:
    console = console_for(database_url=postgres_url)
    postgres.stop()
    request_id = uuid4()
    pause(console, MARIA, request_id)
    console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    with pytest.raises(opsdash.OpsdashError):
        pause(console, BOB, request_id)
    assert not console.is_processing_paused()
    postgres.start()
    console.snapshot()
    with pytest.raises(DuplicateRequest):
        pause(console, BOB, request_id)
    assert datetime.now(UTC) > console.get_recent_operations()[0].timestamp
