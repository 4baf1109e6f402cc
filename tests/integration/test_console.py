"""``Console.run``: the one place that authorizes, confirms, audits and executes. Real broker, both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from support import programs
from support.acts import EVERY_OPERATION
from support.errors import fails
from support.previews import texts
from support.services import Postgres, Valkey, until

import opsdash
from opsdash.errors import Invalid, OpsdashError, Refused, Unavailable, Uncertain
from opsdash.model import Actor, Role, Status
from opsdash.operation import registry
from opsdash.services.console import Console

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="page")


def test_every_operation_is_among_those_that_are_tried_here():
    assert {operation.name for operation in EVERY_OPERATION} == set(registry())


def fill(console: Console, queue: str, number: int, step: int = 0) -> None:
    console.broker.client.rpush(console.broker.lists(queue)[step], *(f"message {i}" for i in range(number)))


def redis_keys(console: Console) -> set[str]:
    return set(console.broker.client.scan_iter())


@pytest.mark.parametrize("operation", EVERY_OPERATION, ids=lambda operation: operation.name)
@pytest.mark.parametrize("typed", ["", "yes", "Yes", " YES", "YES ", "YES\n", "YESS", "ＹＥＳ"])
def test_without_the_exact_yes_nothing_is_done_and_the_attempt_is_audited(console_for, operation, typed: str):
    console = console_for(queues=("celery", "emails"))
    fill(console, "emails", 3)
    before = redis_keys(console)
    with pytest.raises(Refused, match="not confirmed with YES"):
        console.run(operation, actor=replace(MARIA, role=Role.ADMIN), confirm=typed)
    assert redis_keys(console) == before
    (entry,) = console.get_recent_operations()
    assert (entry.status, entry.operation, entry.user) == (Status.REFUSED, operation.name, "maria")


@pytest.mark.parametrize("operation", EVERY_OPERATION, ids=lambda operation: operation.name)
@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_whoever_lacks_the_role_is_refused_and_the_attempt_is_audited(console_for, operation, role: Role | None):
    console = console_for(queues=("celery", "emails"))
    with pytest.raises(Refused, match=r"eve has .* needs (operator|admin)"):
        console.run(operation, actor=Actor(name="eve", role=role), confirm="YES")
    assert redis_keys(console) == set()
    (entry,) = console.get_recent_operations()
    assert (entry.status, entry.user) == (Status.REFUSED, "eve")


def test_a_name_alone_gets_its_role_from_the_settings(console_for: Callable[..., Console]):
    console = console_for(operators=("maria",))
    console.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
    with pytest.raises(Refused, match="eve has no role"):
        console.run(opsdash.ResumeProcessing(), actor="eve", confirm="YES")
    assert console.is_processing_paused()


@pytest.mark.parametrize("left", ["viewers: maria", "operators: eve", ""], ids=["viewer", "nothing", "empty"])
def test_a_role_taken_away_while_the_page_is_open_counts_at_the_next_act(
    console_for: Callable[..., Console], tmp_path: Path, left: str
):
    file = tmp_path / "roles"
    file.write_text("operators: maria\n")
    console = console_for(auth="header", roles_file=str(file))
    maria = console.settings.actor("maria", surface="page")
    console.run(opsdash.PauseProcessing(), actor=maria, confirm="YES")
    file.write_text(left)
    with pytest.raises(Refused, match=r"maria has .* needs operator"):
        console.run(opsdash.ResumeProcessing(), actor=maria, confirm="YES")
    assert console.is_processing_paused()
    assert console.get_recent_operations()[0].status is Status.REFUSED


def test_pause_and_resume_are_done_and_audited(console: Console):
    effect = console.run(opsdash.PauseProcessing(reason="fire"), actor=MARIA, confirm="YES")
    assert console.is_processing_paused()
    assert console.snapshot().pause.reason == "fire"
    console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    assert not console.is_processing_paused()
    resumed, paused = console.get_recent_operations()
    assert (paused.id, paused.status, paused.details["params"]["reason"]) == (effect.audit_id, Status.SUCCESS, "fire")
    assert (paused.details["surface"], paused.details["message"]) == ("page", effect.message)
    assert resumed.operation == "resume_processing"
    assert paused.timestamp <= paused.finished_at <= resumed.timestamp


@pytest.mark.parametrize("actor", ["", "  ", 3, None, Actor(name="", role=Role.ADMIN)])
def test_nobody_does_nothing(console: Console, actor: Any):
    with fails(Invalid, field="actor", changed="nothing"):
        console.run(opsdash.PauseProcessing(), actor=actor, confirm="YES")
    assert not console.is_processing_paused()
    assert not console.get_recent_operations()


@pytest.mark.parametrize("thing", ["clear_queue", None, opsdash.ClearQueue])
def test_what_is_no_operation_is_refused_in_a_sentence(console: Console, thing: Any):
    for call in (console.preview, lambda what: console.run(what, actor=MARIA, confirm="YES")):
        with pytest.raises(Invalid, match=r"expected an operation such as ClearQueue.*, got \w+. Nothing was changed"):
            call(thing)


def test_the_reason_of_any_act_is_kept_in_the_trail(console: Console):
    console.run(opsdash.ClearQueue(queue="emails", reason="INC-7: poisoned"), actor=MARIA, confirm="YES")
    assert console.get_recent_operations()[0].details["params"]["reason"] == "INC-7: poisoned"


def test_a_queues_own_pause_is_independent_of_the_one_for_everything(console: Console):
    console.run(opsdash.PauseProcessing(queue="emails"), actor=MARIA, confirm="YES")
    console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    preview = console.preview(opsdash.ResumeProcessing())
    assert any(text.startswith("Queue emails has its own pause until ") for text in texts(preview))
    console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    snapshot = console.snapshot()
    assert snapshot.pause is None
    assert {queue.name: queue.paused for queue in snapshot.queues} == {"celery": False, "emails": True}


def test_clear_leaves_the_other_queue_untouched_and_reports_the_exact_count(console: Console):
    for step, number in ((0, 4), (3, 3), (6, 2), (9, 1)):
        fill(console, "emails", number, step)
    fill(console, "celery", 5)
    preview = console.preview(opsdash.ClearQueue(queue="emails"))
    assert preview.values()["waiting"] == 10
    assert console.get_queue_length("emails") == 10, "a preview changes nothing"
    effect = console.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    assert effect.affected == 10
    assert effect.message == "Cleared 10 tasks from emails."
    assert effect.undo == opsdash.RestoreQueue(trash_id=effect.details["trash_id"])
    assert (console.get_queue_length("emails"), console.get_queue_length("celery")) == (0, 5)
    assert console.get_recent_operations()[0].details["affected"] == 10


def test_the_preview_of_a_clear_shows_what_it_will_not_remove(console: Console):
    fill(console, "emails", 2)
    console.broker.client.hset("unacked", mapping={"a": "1", "b": "2", "c": "3"})
    preview = console.preview(opsdash.ClearQueue(queue="emails"))
    assert preview.values()["unacked"] == 3
    assert any(line.startswith("Not removed by this:") for line in texts(preview))


@pytest.mark.parametrize("operation", [opsdash.ClearQueue(queue="emials"), opsdash.PauseProcessing(queue="emials")])
def test_an_unknown_queue_is_refused_with_the_names_that_exist(console: Console, operation):
    for act in (lambda: console.preview(operation), lambda: console.run(operation, actor=MARIA, confirm="YES")):
        with fails(Refused, field="queue", hint="Known queues: celery, emails."):
            act()
    assert console.get_recent_operations()[0].status is Status.REFUSED


def test_redis_gone_means_nothing_was_changed_and_the_attempt_is_audited(console: Console, valkey: Valkey):
    valkey.stop()
    with fails(Unavailable, silent=True, changed="nothing"):
        console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    (entry,) = console.get_recent_operations()
    assert (entry.status, entry.details["error"]) == (Status.FAILURE, "Unavailable")


def test_redis_gone_leaves_the_last_good_figures_with_their_age(console: Console, valkey: Valkey):
    fill(console, "emails", 3)
    good = console.snapshot()
    assert (good.redis_error, good.redis_age_s < 1) == ("", True)
    valkey.stop()
    stale = console.snapshot()
    assert stale.silent == ("redis",)
    assert stale.redis_age_s > good.redis_age_s
    assert stale.queues == good.queues
    valkey.start()
    assert console.snapshot().redis_error == ""


@pytest.mark.long
@pytest.mark.timeout(15)
def test_a_hung_redis_is_reported_and_not_waited_for(console: Console, valkey: Valkey):
    valkey.freeze()
    assert "no answer within 2 s" in console.snapshot().redis_error


def test_the_database_gone_reads_still_show_and_operations_work_and_are_audited_once_it_is_back(
    console_for, postgres: Postgres, postgres_url: str
):
    console = console_for(database_url=postgres_url)
    fill(console, "celery", 3)
    console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    console.snapshot()
    postgres.stop()
    snapshot = console.snapshot()
    assert "database" in snapshot.silent
    assert snapshot.queues[0].waiting == 3
    assert len(snapshot.operations) == 1, "the last good list stays"
    effect = console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    assert console.is_processing_paused()
    assert console.snapshot().spooled == 2, "intent and outcome"
    with fails(Refused, field="confirm"):
        console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="yes")
    postgres.start()
    snapshot = console.snapshot()
    assert (snapshot.database_error, snapshot.spooled) == ("", 0)
    entries = [(entry.id == effect.audit_id, entry.status) for entry in snapshot.operations]
    assert entries[:2] == [(False, Status.REFUSED), (True, Status.SUCCESS)]
    assert console.audit.verify().ok


def test_a_strict_audit_log_refuses_while_the_database_is_down(console_for, postgres: Postgres, postgres_url: str):
    console = console_for(database_url=postgres_url, audit="strict")
    postgres.stop()
    with fails(Unavailable, silent=True):
        console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    assert not console.is_processing_paused()
    postgres.start()


def test_an_outcome_that_the_database_did_not_take_is_recorded_once_it_is_back(
    console_for, postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    console = console_for(database_url=postgres_url)
    pause = console.pause.__class__.pause

    def pause_then_lose_the_database(*args, **kwargs):
        info = pause(*args, **kwargs)
        postgres.stop()
        return info

    monkeypatch.setattr(console.pause.__class__, "pause", pause_then_lose_the_database)
    console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    assert console.is_processing_paused()
    postgres.start()
    assert console.get_recent_operations()[0].status is Status.IN_PROGRESS
    assert console.snapshot().operations[0].status is Status.SUCCESS
    assert console.audit.verify().ok


def test_the_outcome_recorded_nowhere_is_uncertain_and_the_entry_stays_in_progress(
    console_for, postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    console = console_for(database_url=postgres_url, audit="strict")
    pause = console.pause.__class__.pause

    def pause_then_lose_the_database(*args, **kwargs):
        info = pause(*args, **kwargs)
        postgres.stop()
        return info

    monkeypatch.setattr(console.pause.__class__, "pause", pause_then_lose_the_database)
    with pytest.raises(Uncertain, match=r"The flag is set .* still says in progress"):
        console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    assert console.is_processing_paused()
    postgres.start()
    assert console.get_recent_operations()[0].status is Status.IN_PROGRESS


def test_a_database_that_was_never_migrated_says_what_to_run(console_for, empty_database_url: str):
    console = console_for(database_url=empty_database_url, audit="strict")
    assert "opsdash db upgrade" in console.snapshot().database_error
    with pytest.raises(Unavailable, match="opsdash db upgrade"):
        console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    assert not console.is_processing_paused()


def test_a_bug_in_an_operation_is_audited_as_unknown_and_goes_on_its_way(
    console: Console, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(opsdash.SyncTenantConfigs, "execute", lambda self, console, act: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        console.run(opsdash.SyncTenantConfigs(), actor=MARIA, confirm="YES")
    assert console.get_recent_operations()[0].status is Status.UNKNOWN
    assert "ZeroDivisionError" in caplog.text, "a bug leaves its traceback in the log"


@pytest.mark.parametrize(("written", "kind"), [(True, Uncertain), (False, Unavailable)])
def test_a_read_that_fails_after_an_act_has_written_does_not_say_that_nothing_was_changed(
    console_for, monkeypatch: pytest.MonkeyPatch, written: bool, kind: type[OpsdashError]
):
    def execute(self, services, act):
        if written:
            services.broker.client.set("sample:done", "1")
        raise Unavailable("Redis did not answer.")

    monkeypatch.setattr(opsdash.SyncTenantConfigs, "execute", execute)
    console = console_for()
    with fails(kind, changed="perhaps" if written else "nothing"):
        console.run(opsdash.SyncTenantConfigs(), actor=MARIA, confirm="YES")
    (entry,) = console.get_recent_operations()
    assert entry.status is (Status.UNKNOWN if written else Status.FAILURE)
    assert ("Nothing was changed" in entry.details["message"]) is not written


KILLED_MIDWAY = """
import os, signal, sys
import opsdash
opsdash.PauseProcessing.execute = lambda self, console, act: os.kill(os.getpid(), signal.SIGKILL)
opsdash.connect().run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
"""


@pytest.mark.long
def test_a_process_killed_between_intent_and_outcome_leaves_a_visible_entry(console: Console):
    environment = {
        **os.environ,
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
    }
    done = programs.run([sys.executable, "-c", KILLED_MIDWAY], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    (entry,) = console.snapshot().operations
    assert (entry.status, entry.operation, entry.finished_at) == (Status.IN_PROGRESS, "pause_processing", None)


def test_the_log_shows_the_newest_operations_first_and_exports_them_all(console: Console):
    for _ in range(12):
        console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
        console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    recent = console.get_recent_operations()
    assert len(recent) == 20
    assert [e.timestamp for e in recent] == sorted((e.timestamp for e in recent), reverse=True)
    lines = list(console.audit.export())
    assert len(lines) == 25
    assert lines[0].startswith("timestamp,finished_at,user,operation,status,details")


def test_a_formula_in_the_log_is_text_in_the_exported_file(console: Console):
    actor = Actor(name="=cmd|' /C calc'!A0", role=Role.ADMIN)
    console.run(opsdash.PauseProcessing(reason="+1"), actor=actor, confirm="YES")
    (_, line) = console.audit.export()
    assert ",'=cmd|" in line


def test_the_poller_reads_the_real_thing(console: Console):
    seen = []
    end = console.poller.subscribe(seen.append)
    assert until(lambda: bool(seen))
    end()
    assert seen[0].redis_error == seen[0].database_error == ""


def test_the_package_works_from_any_folder(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "opsdash", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("opsdash")


def test_one_request_is_one_act_however_often_it_is_sent(console: Console):
    request_id = uuid4()
    console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES", request_id=request_id)
    console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    again = console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES", request_id=request_id)
    assert not console.is_processing_paused(), "it was not done a second time"
    assert again.message.startswith("The flag is set")
    with pytest.raises(Refused, match="was made before"):
        console.run(opsdash.ClearQueue(), actor=MARIA, confirm="YES", request_id=request_id)
    assert [entry.operation for entry in console.get_recent_operations()] == ["resume_processing", "pause_processing"]


def test_a_second_pause_says_whose_pause_it_replaces(console: Console):
    console.run(opsdash.PauseProcessing(reason="fire"), actor=MARIA, confirm="YES")
    again = opsdash.PauseProcessing(reason="deploy", duration_s=60)
    preview = console.preview(again)
    assert any(line.startswith("There is already a pause by maria (fire), until ") for line in texts(preview))
    assert preview.title == "Change the pause", "the dialog of Extend is not called as if nothing were paused"
    effect = console.run(again, actor=Actor(name="eve", role=Role.ADMIN), confirm="YES")
    assert "Replaced the one by maria (fire)" in effect.message
    assert console.get_recent_operations()[0].details["replaced"]["by"] == "maria"


def test_a_wrong_password_is_said_as_such(console_for, valkey: Valkey):
    wrong, right = (
        console_for(redis_url=valkey.url.replace("//", f"//:{word}-password@")) for word in ("wrong", "right")
    )
    # By a client without a password: to a server that has none yet, redis 6.4 can't sign in with one.
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("requirepass", "right-password")
    try:
        error = wrong.snapshot().redis_error
    finally:
        right.broker.client.config_set("requirepass", "")
    assert error.startswith("OPSDASH_REDIS_URL: ")
    assert "refused the user or password" in error
    assert "wrong-password" not in error


def test_a_clear_leaves_what_arrived_after_its_preview_and_can_be_undone(console_for):
    console = console_for(queues=("celery", "emails"))
    client, key = console.broker.client, console.broker.lists("emails")[0]
    client.lpush(key, "old 1", "old 2")
    clear = opsdash.ClearQueue(queue="emails")
    reviewed = console.preview(clear)
    client.lpush(key, "new")
    effect = console.run(clear, actor=MARIA, confirm="YES", reviewed=reviewed)
    assert (effect.affected, client.lrange(key, 0, -1)) == (2, ["new"])
    assert "1 task arrived after the preview and stays." in effect.message
    restored = console.run(opsdash.RestoreQueue(trash_id=effect.details["trash_id"]), actor=MARIA, confirm="YES")
    assert restored.affected == 2
    assert client.lrange(key, 0, -1) == ["new", "old 2", "old 1"]


def test_a_pause_that_is_too_short_or_too_long_names_where_its_duration_came_from(console_for):
    console = console_for()
    for duration_s in (0, 10**9):
        with pytest.raises(opsdash.Invalid) as refused:
            console.preview(opsdash.PauseProcessing(duration_s=duration_s))
        assert (refused.value.field, refused.value.setting) == ("duration_s", "")
    with pytest.raises(opsdash.Invalid) as refused:
        console_for(pause_ttl_s=0).preview(opsdash.PauseProcessing())
    assert (refused.value.field, refused.value.setting) == ("", "OPSDASH_PAUSE_TTL_S")


def test_only_the_tasks_of_that_name_are_cleared(console_for):
    console = console_for(queues=("celery", "emails"))
    client, key = console.broker.client, console.broker.lists("emails")[0]
    client.lpush(key, *(f'{{"headers": {{"task": "shop.{name}"}}}}' for name in ("mail", "bill", "mail")))
    effect = console.run(opsdash.ClearTasks(queue="emails", task="shop.m*"), actor=MARIA, confirm="YES")
    assert effect.affected == 2
    assert effect.undo == opsdash.RestoreQueue(trash_id=effect.details["trash_id"])
    assert client.lrange(key, 0, -1) == ['{"headers": {"task": "shop.bill"}}']
    with pytest.raises(opsdash.Invalid, match="Say which tasks"):
        console.run(opsdash.ClearTasks(queue="emails"), actor=MARIA, confirm="YES")
