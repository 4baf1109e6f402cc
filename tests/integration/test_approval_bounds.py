"""What others leave among the requests for approval, how many there are, and a Redis without room."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from support.cli import off_a_terminal
from support.errors import fails
from support.services import Valkey

import opsdash
from opsdash.errors import NeedsApproval, Refused
from opsdash.model import Actor, Role, Status
from opsdash.services.audit import approvals
from opsdash.services.console import Console

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="page", client="10.1.2.3")
BOB = Actor(name="bob", role=Role.OPERATOR, surface="cli")
CLEAR = opsdash.ClearQueue(queue="emails")


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    console = console_for(database_url=sqlite_url, queues=("celery", "emails"), approval=("clear_queue",))
    console.broker.client.rpush("emails", "a", "b", "c")
    return console


def ask(console: Console) -> str:
    with pytest.raises(NeedsApproval) as raised:
        console.run(CLEAR, actor=MARIA, confirm="YES")
    return raised.value.approval_id


def approve(console: Console, approval_id: str) -> Any:
    return console.run(opsdash.ApproveOperation(approval_id=approval_id), actor=BOB, confirm="YES")


def left(console: Console, number: int, **told: Any) -> list[str]:
    """As many more requests as opsdash itself would write, changed in some places."""
    keys, client = console.broker.keys, console.broker.client
    genuine = json.loads(str(client.hget(keys.approval(ask(console)), "asked")))
    made = []
    for _ in range(number):
        approval_id, text = uuid4().hex, json.dumps(genuine | told)
        mac = console.audit.signer.mac(f"approval:{approval_id}:{text}")
        client.hset(keys.approval(approval_id), mapping={"asked": text, "mac": mac})
        client.zadd(keys.approvals, {approval_id: time.time() + 600})
        made.append(approval_id)
    return made


@pytest.mark.parametrize(
    "told",
    [
        {"expires_at": "9999-12-31T23:59:59-23:59"},
        {"expires_at": 7},
        {"entry": []},
        {"entry": {"id": "x"}},
        {"params": 5},
        {"params": "no mapping"},
    ],
    ids=str,
)
def test_a_request_that_can_not_be_read_is_named_and_the_others_are_shown(console: Console, told: dict[str, Any]):
    (bad,) = left(console, 1, **told)
    snapshot = console.snapshot()
    assert (snapshot.redis_error, len(snapshot.approvals)) == ("", 1)
    (unread,) = snapshot.unread
    assert unread.message == f"Not readable, and left out, of the requests for approval: {bad}."
    with fails(Refused, field="approval_id"):
        approve(console, bad)
    assert approve(console, snapshot.approvals[0].id).affected == 3


@pytest.mark.parametrize("kind", ["large", "list", "text", "stranger's", "no ASCII"])
def test_what_is_no_request_at_all_is_named_and_the_others_are_shown(console: Console, kind: str):
    client, keys = console.broker.client, console.broker.keys
    good, bad = ask(console), "b" * 32
    client.zadd(keys.approvals, {bad: time.time() + 60, "gone": time.time() + 60, "x" * 5_000: time.time() + 60})
    match kind:
        case "large":
            client.hset(keys.approval(bad), "asked", "x" * 50_000_000)
        case "list":
            client.rpush(keys.approval(bad), "x")
        case "text":
            client.set(keys.approval(bad), "x")
        case _:
            client.hset(keys.approval(bad), mapping={"asked": "{}", "mac": "x" if kind == "stranger's" else "\u0080"})
    snapshot = console.snapshot()
    assert [one.id for one in snapshot.approvals] == [good]
    assert [one.names for one in snapshot.unread] == [(bad, "one with a name that is too long")]
    assert approve(console, good).affected == 3


def test_another_value_in_place_of_the_list_costs_the_list_alone(console: Console):
    client, keys = console.broker.client, console.broker.keys
    client.set(keys.approvals, "x")
    snapshot = console.snapshot()
    assert (snapshot.redis_error, snapshot.approvals, len(snapshot.queues)) == ("", (), 2)
    assert snapshot.unread[0].message.endswith(f"{keys.approvals} is not a sorted set.")


def test_of_more_requests_than_are_read_the_first_to_expire_are_and_the_rest_is_counted(
    console: Console, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(approvals, "MOST", 3)
    first = left(console, 4)[0]
    snapshot = console.snapshot()
    assert len(snapshot.approvals) == 3
    assert first in [one.id for one in snapshot.approvals]
    assert [one.message for one in snapshot.unread] == ["Showing 3 of 5 requests for approval."]


def sent(console: Console, do: Callable[[], Any]) -> int:
    """Round trips, by what the server has counted of commands outside scripts and of pipelines."""
    client, number = console.broker.client, 0
    pipeline, execute = client.pipeline, client.execute_command

    def made(*args: Any, **options: Any) -> Any:
        pipe = pipeline(*args, **options)
        run = pipe.execute

        def executed(*args: Any, **options: Any) -> Any:
            nonlocal number
            number += bool(pipe.command_stack)
            return run(*args, **options)

        pipe.execute = executed
        return pipe

    def executed(*args: Any, **options: Any) -> Any:
        nonlocal number
        number += 1
        return execute(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "pipeline", made)
        patch.setattr(client, "execute_command", executed)
        do()
    return number


def test_a_list_of_requests_costs_two_round_trips_however_many_there_are(console: Console):
    for number in (0, 40):
        left(console, number)
        assert sent(console, console.approvals) == 2


def test_what_expired_costs_the_same_round_trips_however_much_it_is(console: Console, monkeypatch: pytest.MonkeyPatch):
    client, keys = console.broker.client, console.broker.keys
    monkeypatch.setattr(type(console.audit), "finish", lambda *_, **__: None)
    for number in (1, 30):
        for approval_id in left(console, number):
            client.zadd(keys.approvals, {approval_id: time.time() - 1})
        assert sent(console, console.pending_approvals.close_expired) == 6
        assert client.zcount(keys.approvals, "-inf", time.time()) == 0


def test_what_is_too_large_to_wait_is_refused_in_one_sentence(console: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(approvals, "LARGE", 100)
    with pytest.raises(Refused, match=r"is too large for an approval"):
        console.run(CLEAR, actor=MARIA, confirm="YES")
    assert console.broker.client.exists(console.broker.keys.approvals) == 0
    assert console.get_recent_operations()[0].status is Status.REFUSED


def test_a_request_that_is_gone_when_it_is_taken_is_not_made_anew(console: Console):
    asked = console.pending_approvals.find(ask(console))
    console.broker.client.delete(console.broker.keys.approval(asked.id))
    with fails(Refused, field="approval_id"):
        console.pending_approvals.take(asked, "bob")
    assert console.broker.client.exists(console.broker.keys.approval(asked.id)) == 0


@pytest.fixture
def full(console: Console, valkey: Valkey) -> Iterator[None]:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            with contextlib.suppress(redis.ConnectionError):
                client.config_set("maxmemory", 0)


@pytest.mark.usefixtures("full")
def test_on_a_full_redis_what_frees_it_can_be_asked_for_and_approved(console: Console):
    with pytest.raises(redis.OutOfMemoryError):
        console.broker.client.set("any", "thing")
    approval_id = ask(console)
    assert [one.id for one in console.approvals()] == [approval_id]
    assert approve(console, approval_id).affected == 3
    assert {one.status for one in console.get_recent_operations()} == {Status.SUCCESS}


def test_what_has_no_request_takes_nobodys_place_and_the_command_line_says_what_it_does_not_show(
    console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    approval_id, index, client = ask(console), console.broker.keys.approvals, console.broker.client
    client.zadd(index, {uuid4().hex: time.time() + 5 + n / 1_000 for n in range(approvals.MOST + 3)})
    waiting, unread = console.pending_approvals.look()
    assert [one.message for one in unread] == [f"Showing 0 of {approvals.MOST + 4} requests for approval."]
    monkeypatch.setenv("OPSDASH_REDIS_URL", console.settings.redis_url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", console.settings.database_url)
    monkeypatch.setenv("OPSDASH_SECRET_KEY", console.settings.secret_key or "")
    output = off_a_terminal(monkeypatch, capsys)("approvals")
    assert "There are no readable pending approvals" in output.out
    assert "Showing 0 of" in output.err
    console.pending_approvals.close_expired()
    waiting, unread = console.pending_approvals.look()
    assert [one.id for one in waiting] == [approval_id]
    console.pending_approvals.close_expired()
    assert client.zcard(index) == 1
