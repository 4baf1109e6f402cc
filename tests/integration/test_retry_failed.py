"""Failed tasks, as an operator retries, edits and discards them: what is previewed is what is done."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from support.failed_tasks import CHARGE, SEND, failed, keep, message, waiting
from support.previews import texts

import opsdash
from opsdash.errors import Invalid, Refused
from opsdash.model import Actor, Progress, Role
from opsdash.operation import Act, command_line
from opsdash.services.console import Console
from opsdash.services.failures.retry_preview import parse_rate
from opsdash.services.failures.store import FailureStore

MARIA = Actor(name="maria", role=Role.ADMIN, surface="page")


@pytest.fixture
def ops(console_for: Any) -> Console:
    return console_for(queues=("celery", "emails"))


@pytest.fixture
def command(opsdash: Any) -> Any:
    """Runs ``opsdash ARGS`` off a terminal."""
    return opsdash


def run(ops: Console, operation: Any, **more: Any) -> Any:
    return ops.run(operation, actor=MARIA, confirm="YES", **more)


def kept(ops: Console) -> set[str]:
    return {one.id for one in FailureStore(ops.broker).every()}


def arguments(raw: bytes) -> Any:
    return json.loads(base64.b64decode(json.loads(raw)["body"]))


def test_the_preview_says_how_many_go_where_what_is_reset_and_what_is_left_out(ops: Console) -> None:
    keep(
        ops.broker,
        [
            failed("a", retries="3", eta="2026-01-01T00:00:00+00:00"),
            failed("b", SEND, queue="emails", ago_s=5),
            failed("c", chord="1"),
            failed("d", too_large="1", message=b""),
        ],
    )
    run(ops, opsdash.PauseProcessing(queue="emails"))
    preview = ops.preview(opsdash.RetryFailed(task="*", per_s=0.5))
    assert tuple(line.text for line in preview.in_order) == (
        "2 failed tasks named * will be sent to their queues.",
        "Retries are set to 0 in 1.",
        "The ETA of 1 is removed.",
        "No worker consumes queue celery: 1 task will wait there until one does.",
        "Queue emails is paused: 1 task will wait there until it is resumed.",
        "No worker consumes queue emails: 1 task will wait there until one does.",
        "1 is of chords, which have ended without them: c.",
        "1 is too large to be kept, so there is no message to send: d.",
        "1 to celery, 1 to emails. For example a, b.",
        "All else in the messages stays byte for byte.",
        "At 30/m, the oldest failure first, this takes 2s.",
        "Searched for the same ids: 0 waiting tasks, 0 fetched ones, 0 worker reports.",
    )
    values = preview.values()
    assert (values["going"], values["left_out_chord"], values["with_retries"], values["with_eta"]) == (2, 1, 1, 1)
    assert values["by_queue"] == {"celery": 1, "emails": 1}
    assert values["by_task"] == {CHARGE.task: 1, SEND.task: 1}
    assert preview.choices == ("keep_retries", "keep_times", "new_id", "include_chords")
    assert preview.button == "Retry 2 tasks"


def test_a_retry_sends_what_was_previewed_and_nothing_that_failed_since(ops: Console) -> None:
    keep(ops.broker, [failed("a"), failed("b")])
    retry = opsdash.RetryFailed(group=CHARGE.fingerprint)
    preview = ops.preview(retry)
    boundary = {"read_at": preview.boundary["read_at"] - 1}  # as if it had been read a second ago
    keep(ops.broker, [failed("c", ago_s=0)])
    progress: list[Progress] = []
    effect = run(ops, retry, reviewed=dataclasses.replace(preview, boundary=boundary), on_progress=progress.append)
    assert (effect.affected, effect.message) == (2, "Sent 2 failed tasks to their queues.")
    assert (progress[-1].at, progress[-1].of) == (2, 2)
    assert kept(ops) == {"c"}
    assert {json.loads(raw)["headers"]["id"] for raw in waiting(ops.broker)} == {"a", "b"}
    entry = ops.get_recent_operations()[0]
    assert (entry.operation, entry.status, entry.details["by_queue"]) == ("retry_failed", "success", {"celery": 2})


def test_a_retry_that_changes_nothing_says_that_the_messages_stay_and_names_no_option(ops: Console) -> None:
    keep(ops.broker, [failed("a")])
    told = " ".join(texts(ops.preview(opsdash.RetryFailed(ids="a"))))
    assert "The messages stay byte for byte." in told
    assert "All else" not in told
    assert "--rate" not in told, "the page shows it too, and has a field for the pace"


def test_ids_are_given_one_by_one_and_those_that_are_not_kept_are_named(ops: Console) -> None:
    keep(ops.broker, [failed("a"), failed("b"), failed("c")])
    retry = opsdash.RetryFailed(ids="a b nobody")
    assert "Not kept as failed: nobody." in texts(ops.preview(retry))
    assert run(ops, retry).affected == 2
    with pytest.raises(Refused, match="No failed task with the id a is kept"):
        run(ops, opsdash.RetryFailed(ids="a"))


def test_what_to_retry_must_be_said(ops: Console) -> None:
    for operation in (opsdash.RetryFailed(), opsdash.DiscardFailed()):
        with pytest.raises(Invalid, match="Say which failed tasks"):
            ops.preview(operation)
    with pytest.raises(Invalid, match="expected ids alone"):
        ops.preview(opsdash.RetryFailed(ids="a", task="b"))
    keep(ops.broker, [failed("a")])
    with pytest.raises(Invalid, match="expected a rate above 0"):
        ops.preview(opsdash.RetryFailed(ids="a", per_s=float("nan")))


def test_at_a_pace_that_takes_more_than_a_day_it_is_refused(ops: Console) -> None:
    keep(ops.broker, [failed("a"), failed("b")])
    with pytest.raises(Refused, match="take more than a day"):
        run(ops, opsdash.RetryFailed(task="*", per_s=0.00001))
    assert kept(ops) == {"a", "b"}


def test_discarded_failures_are_undone_by_a_restore(ops: Console) -> None:
    keep(ops.broker, [failed("a"), failed("b", SEND), failed("c", SEND)])
    discard = opsdash.DiscardFailed(task=SEND.task)
    preview = ops.preview(discard)
    assert texts(preview)[0] == "2 failed tasks named shop.send will be discarded."
    effect = run(ops, discard, reviewed=preview)
    assert (effect.affected, effect.undo) == (2, opsdash.RestoreQueue(trash_id=effect.details["trash_id"]))
    assert kept(ops) == {"a"}
    (entry,) = ops.snapshot().trash
    assert (entry.kind, entry.count, entry.name) == ("failed", 2, "(failed tasks)")
    restore = ops.preview(effect.undo)
    assert texts(restore)[0] == "2 failed tasks will be restored, discarded by maria."
    assert restore.title == "Restore failed tasks"
    assert effect.undo.still_possible(ops.snapshot())
    again = run(ops, effect.undo)
    assert (again.affected, again.message) == (2, "Restored 2 failed tasks.")
    assert effect.undo.recorded_heading(again.details) == "Restore failed tasks"
    assert kept(ops) == {"a", "b", "c"}
    assert waiting(ops.broker) == []


def test_a_discarded_failure_is_found_in_the_trash_and_belongs_to_its_workflow_still(ops: Console) -> None:
    keep(ops.broker, [failed("broken-01", root_id="root-0001", parent_id="root-0001"), failed("broken-02", SEND)])
    trash_id = run(ops, opsdash.DiscardFailed(ids="broken-01")).details["trash_id"]
    found = ops.find_task("broken-01")
    (place,) = found.places
    assert (found.state, place.trash_id, place.name, place.queue) == ("cleared", trash_id, CHARGE.task, "celery")
    assert {place.state for place in ops.find_task("broken-0").places} == {"cleared", "failed"}
    (seen,) = [one for one in ops.workflow("root-0001").tasks if one.id == "broken-01"]
    assert (seen.state, seen.trash_id) == ("cleared", trash_id)
    run(ops, opsdash.RestoreQueue(trash_id=trash_id))
    assert ops.find_task("broken-01").state == "failed"


def test_discarded_failures_are_deleted_for_good_by_delete_trash(ops: Console) -> None:
    keep(ops.broker, [failed("a")])
    trash_id = run(ops, opsdash.DiscardFailed(ids="a")).details["trash_id"]
    delete = opsdash.DeleteTrash(trash_id=trash_id)
    assert texts(ops.preview(delete))[0] == "1 failed task discarded by maria will be deleted."
    assert run(ops, delete).message == "Deleted 1 failed task discarded for good."
    assert ops.trash.list() == ()


def test_one_task_is_sent_with_other_arguments_and_the_audit_log_has_both(ops: Console) -> None:
    raw = message("a", args=(17, "EUR"), kwargs={"retry": False, "note": "über"}, **{"x-trace": [1.50]})
    keep(ops.broker, [failed("a", message=raw, retries="2")])
    edit = opsdash.EditFailed(failure_id="a", args='[18, "EUR"]')
    preview = ops.preview(edit)
    assert texts(preview)[0] == "shop.charge will be sent to queue celery with other arguments."
    assert 'Before: 17, "EUR", retry=false, note="über"' in texts(preview)
    assert 'After: 18, "EUR", retry=false, note="über"' in texts(preview)
    effect = run(ops, edit, reviewed=preview)
    assert effect.message == "Sent a to celery with other arguments."
    (sent,) = waiting(ops.broker)
    before, after = json.loads(raw), json.loads(sent)
    assert arguments(sent) == [[18, "EUR"], *arguments(raw)[1:]]
    assert after["headers"] == {**before["headers"], "argsrepr": "(18, 'EUR')"}
    assert {**after, "headers": 0, "body": 0} == {**before, "headers": 0, "body": 0}
    details = ops.get_recent_operations()[0].details
    assert (details["before"], details["after"]) == (
        '17, "EUR", retry=false, note="über"',
        '18, "EUR", retry=false, note="über"',
    )
    assert kept(ops) == set()


def test_secrets_in_edited_arguments_are_in_no_preview_and_in_no_audit_entry(ops: Console) -> None:
    keep(ops.broker, [failed("a", message=message("a", kwargs={"password": "old-Secret-1"}))])
    edit = opsdash.EditFailed(failure_id="a", kwargs='{"password": "new-Secret-2"}')
    preview = ops.preview(edit)
    effect = run(ops, edit, reviewed=preview)
    shown = repr((preview.lines, preview.figures, effect, ops.get_recent_operations()))
    assert "Secret" not in shown
    assert "password=(hidden)" in shown
    assert arguments(*waiting(ops.broker))[1] == {"password": "new-Secret-2"}


def test_what_the_expression_hides_is_in_no_entry_of_an_edit_and_a_secrets_copy_in_no_preview(
    console_for: Callable[..., Console],
) -> None:
    console = console_for(queues=("celery",), redact=r"DE\d+")
    copied = message("a", args=("old-Secret-1",), kwargs={"password": "old-Secret-1"})
    keep(console.broker, [failed("a", message=copied)])
    edit = opsdash.EditFailed(failure_id="a", args='["DE1234567890", 18, 3]', kwargs="{}")
    preview = console.preview(edit)
    effect = run(console, edit, reviewed=preview)
    (entry,) = console.get_recent_operations()
    shown = repr((preview.lines, preview.figures, effect, entry))
    assert "DE1234567890" not in shown
    assert "Secret" not in shown
    assert (entry.details["after"], entry.details["params"]["failure_id"]) == ("(hidden), 18, 3", "a")
    assert arguments(*waiting(console.broker))[0] == ["DE1234567890", 18, 3]


def test_arguments_to_begin_with_are_offered_where_nothing_in_them_is_secret(ops: Console) -> None:
    keep(
        ops.broker,
        [
            failed("a", message=message("a", args=(1,))),
            failed("b", message=message("b", args=("sk_live_" + "x" * 24,))),
        ],
    )
    assert ops.suggest(opsdash.EditFailed(failure_id="a")) == {"args": ("[1]",), "kwargs": ("{}",)}
    told = texts(ops.preview(opsdash.EditFailed(failure_id="a", args="[2]")))
    assert "All else in the messages stays byte for byte." in told, "its arguments do not"
    assert ops.suggest(opsdash.EditFailed(failure_id="b")) == {}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "Say the new arguments"),
        ({"args": "{}"}, "args: expected a JSON array"),
        ({"args": "[NaN]"}, "args: expected a JSON array"),
        ({"args": "[1] x"}, "args: expected a JSON array"),
        ({"kwargs": "[]"}, "kwargs: expected a JSON object"),
        ({"kwargs": '{"a": "(hidden)"}'}, "kwargs: has .hidden."),
        ({"args": "[" * 6000}, "args: expected a JSON array"),
    ],
)
def test_what_are_no_arguments_in_json_is_refused(ops: Console, given: dict[str, str], why: str) -> None:
    keep(ops.broker, [failed("a")])
    with pytest.raises(Invalid, match=why):
        run(ops, opsdash.EditFailed(failure_id="a", **given))
    assert kept(ops) == {"a"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"content-type": "application/x-python-serialize"}, "of the type 'application/x-python-serialize', not JSON"),
        ({"body": "%%%"}, "a body that can't be decoded"),
        ({"body": base64.b64encode(b"{}").decode()}, "no message of Celery's|no arguments of Celery's"),
        ({"headers": {"task": "x", "id": "a", "compression": "gzip"}}, "a compressed body"),
    ],
)
def test_a_message_whose_body_is_not_json_is_not_edited(ops: Console, change: dict[str, Any], why: str) -> None:
    raw = json.dumps({**json.loads(message("a")), **change}).encode()
    keep(ops.broker, [failed("a", message=raw)])
    with pytest.raises(Refused, match=why):
        run(ops, opsdash.EditFailed(failure_id="a", args="[]"))
    assert kept(ops) == {"a"}
    assert run(ops, opsdash.RetryFailed(ids="a")).affected == 1, "it can be retried as it is"


def test_an_edit_of_what_has_failed_again_since_the_preview_is_refused(ops: Console) -> None:
    keep(ops.broker, [failed("a")])
    edit = opsdash.EditFailed(failure_id="a", args="[2]")
    preview = ops.preview(edit)
    keep(ops.broker, [failed("a", SEND)])
    with pytest.raises(Refused, match="a has failed again after the preview"):
        run(ops, edit, reviewed=preview)
    assert kept(ops) == {"a"}


def test_a_task_that_waits_already_is_edited_only_with_a_new_id(ops: Console) -> None:
    keep(ops.broker, [failed("a")])
    ops.broker.client.lpush("celery", message("a"))
    with pytest.raises(Refused, match="a waits in celery: it would run twice by one id"):
        run(ops, opsdash.EditFailed(failure_id="a", args="[2]"))
    assert run(ops, opsdash.EditFailed(failure_id="a", args="[2]", new_id=True)).affected == 1


def test_an_operator_may_retry_and_discard_but_not_edit(ops: Console) -> None:
    keep(ops.broker, [failed("a"), failed("b")])
    otto = Actor(name="otto", role=Role.OPERATOR, surface="page")
    with pytest.raises(Refused, match="admin"):
        ops.run(opsdash.EditFailed(failure_id="a", args="[2]"), actor=otto, confirm="YES")
    ops.run(opsdash.RetryFailed(ids="a"), actor=otto, confirm="YES")
    ops.run(opsdash.DiscardFailed(ids="b"), actor=otto, confirm="YES")
    assert kept(ops) == set()


def test_of_a_retry_whose_console_died_it_is_known_how_many_were_sent(ops: Console) -> None:
    keep(ops.broker, [failed(f"t{n}") for n in range(250)])
    retry = opsdash.RetryFailed(task="*")
    entry = ops.audit.begin(retry, MARIA)
    assert ops._evidence(entry)["message"] == "It sent no task: all are still kept as failed."
    seen: list[int] = []
    act = Act(
        actor=MARIA,
        audit_id=entry.id,
        on_progress=lambda one: seen.append(one.at or 0),
        cancelled=lambda: bool(seen),
    )
    retry.execute(ops.services, act)
    found = ops._evidence(entry)
    assert found["count"] == seen[0] == 250 - len(kept(ops))
    assert found["message"].startswith(f"It sent {seen[0]} failed tasks, each once")


def test_the_command_line_takes_ids_one_by_one_and_a_rate(command: Any, ops: Console) -> None:
    keep(ops.broker, [failed("a"), failed("b"), failed("c")])
    seen = command("retry-failed", "a", "b", "--rate", "600/m", "--dry-run")
    assert seen.code == 0
    assert "2 failed tasks of 2 ids will be sent to their queues." in seen.out
    assert "At 10/s, the oldest failure first, this takes 1s." in seen.out
    assert kept(ops) == {"a", "b", "c"}
    done = command("retry-failed", "a", "b", "--confirm", "YES")
    assert (done.code, done.out.splitlines()[0]) == (0, "Sent 2 failed tasks to their queues.")
    done = command("discard-failed", "--task", "shop.*", "--confirm", "YES")
    message, undo = done.out.splitlines()
    assert message == "Discarded 1 failed task."
    assert undo.startswith("Undo within 1d 0h: opsdash restore-queue ")
    assert "(failed tasks)" in command("trash").out
    assert command(*undo.partition("opsdash ")[2].split(), "--confirm", "YES").code == 0
    assert kept(ops) == {"c"}
    wrong = command("retry-failed", "c", "--rate", "fast", "--confirm", "YES")
    assert (wrong.code, kept(ops)) == (2, {"c"})
    assert "write for example 10/s, 90/m or 600/h" in wrong.err
    assert command("retry-failed", "--confirm", "YES").code == 3


def test_what_was_done_is_a_command_again(ops: Console) -> None:
    retry = opsdash.RetryFailed(ids="a,b c", per_s=0.5, new_id=True)
    assert command_line(retry) == "opsdash retry-failed --rate 0.5 --new-id a,b c"
    assert parse_rate("0.5") == 0.5


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "x", "1/d", "nan/s", "inf", "1e9/s", "9" * 30 + "/s", "1/s/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)
