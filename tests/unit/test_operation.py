from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from support.errors import fails

import opsdash
from opsdash.cli import commands
from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Status
from opsdash.operation import Operation, argument, command_line, heading_of, parameters, registry
from opsdash.redaction import HIDDEN
from opsdash.text import LONGEST_DURATION_S


def test_the_contracts_operations_are_declared():
    assert opsdash.ClearQueue().name == "clear_queue"
    assert {"pause_processing", "resume_processing", "clear_queue", "sync_tenant_configs"} <= registry().keys()


def test_every_operation_says_what_it_does_to_a_running_system():
    for operation in registry().values():
        assert operation.title.istitle()
        assert operation.help.endswith(".")
        assert operation.warning.endswith(".")


def test_a_declaration_without_a_warning_is_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match="declares no warning"):

        class Silent(Operation):
            name: ClassVar[str] = "silent"
            title: ClassVar[str] = "Silent"
            help: ClassVar[str] = "Says nothing."


def test_two_operations_never_share_a_name():
    with pytest.raises(TypeError, match="uses the name 'clear_queue' of ClearQueue"):

        class Other(Operation):
            name: ClassVar[str] = "clear_queue"
            title: ClassVar[str] = "Other"
            help: ClassVar[str] = "Other."
            warning: ClassVar[str] = "Other."

            queue: str = argument(default="", help="A queue.")


def test_an_operation_is_a_frozen_record():
    operation = opsdash.ClearQueue(queue="emails")
    assert operation == opsdash.ClearQueue(queue="emails")
    with pytest.raises(AttributeError):
        operation.queue = "celery"
    assert operation.params() == {"queue": "emails", "everything": False, "reason": ""}


def test_every_operation_takes_a_reason_and_asks_for_it_last():
    for operation in registry().values():
        assert parameters(operation)[-1].name == "reason"
        assert operation(reason="INC-7").params()["reason"] == "INC-7"


@pytest.mark.parametrize("text", ["x" * 1_001, "a\0b", "\udcff"])
def test_text_that_no_store_could_take_is_refused_and_named(text: str):
    with fails(opsdash.Invalid, field="reason", changed="nothing"):
        opsdash.PauseProcessing(reason=text)


@pytest.mark.parametrize("value", [1.5, True, "2h", [60]])
def test_another_type_than_declared_is_refused_before_anything_is_begun(value: Any):
    with fails(opsdash.Invalid, field="duration_s", changed="nothing"):
        opsdash.PauseProcessing(duration_s=value)
    with fails(opsdash.Invalid, field="reason", changed="nothing"):
        opsdash.ClearQueue(reason=5)


def test_a_time_longer_than_a_century_is_refused_and_named():
    with pytest.raises(Invalid) as refused:
        opsdash.RetryFailed(task="*", since_s=10**12)
    assert refused.value.field == "since_s"
    assert opsdash.RetryFailed(task="*", since_s=LONGEST_DURATION_S).since_s == LONGEST_DURATION_S


def test_any_other_text_is_taken():
    text = "line one\nline two 🔥 " + "x" * 900
    assert opsdash.PauseProcessing(reason=text).reason == text


@pytest.mark.parametrize(
    ("operation", "typed"),
    [
        (opsdash.ResumeProcessing(), "opsdash resume-processing"),
        (opsdash.ResumeProcessing(queue="two words"), "opsdash resume-processing --queue 'two words'"),
        (opsdash.RestoreQueue(trash_id="4f5e"), "opsdash restore-queue 4f5e"),
        (opsdash.RestoreQueue(trash_id="-x"), "opsdash restore-queue -- -x"),
        (
            opsdash.PauseProcessing(duration_s=90, reason="INC 7"),
            "opsdash pause-processing --for 1m30s --reason 'INC 7'",
        ),
        (opsdash.ClearQueue(queue="emails", everything=True), "opsdash clear-queue --everything emails"),
        (opsdash.PruneAuditLog(older_than_s=172_800), "opsdash prune-audit-log 2d"),
    ],
)
def test_an_operation_is_written_as_a_command_that_can_be_pasted_and_means_the_same(operation: Operation, typed: str):
    assert command_line(operation) == typed
    command = commands.load(operation.name.replace("_", "-"))
    given = command.make_context("x", shlex.split(typed)[2:]).params
    assert {name: given[name] for name in operation.params()} == operation.params()


def test_titles_name_their_target_also_in_the_log():
    def logged(name: str, details: dict[str, Any] | None = None, **params: Any) -> str:
        return heading_of(
            AuditEntry(
                id=uuid4(),
                timestamp=datetime.now(UTC),
                user="maria",
                operation=name,
                status=Status.SUCCESS,
                details={"params": params, **(details or {})},
                request_id=uuid4(),
            )
        )

    assert logged("restore_queue", {"queue": "emails"}, trash_id="4f5e") == "Restore queue emails"
    assert logged("delete_trash", {"queue": "emails"}, trash_id="4f5e") == "Delete trash of queue emails"
    assert logged("restore_queue", trash_id="4f5e") == "Restore trash 4f5e", "it was refused or is not finished"
    assert logged("clear_queue", queue="emails", reason="") == "Clear queue emails"
    assert logged("pause_processing", queue=None) == "Pause Processing"
    assert logged("clear_queue", colour="red") == "Clear Queue", "of another version"
    assert logged("burn_down") == "Burn Down", "of another package"
    assert logged("quiet_worker", hostname=HIDDEN) == "Quiet Worker"


def test_what_takes_something_away_is_declared_as_dangerous():
    dangerous = {name for name, kind in registry().items() if kind.danger}
    assert dangerous == {
        "cancel_workflow",
        "clear_held",
        "clear_queue",
        "clear_tasks",
        "clear_tenant",
        "delete_trash",
        "discard_failed",
        "edit_failed",
        "prune_audit_log",
        "remove_task",
        "revoke_task",
    }
    with pytest.raises(TypeError, match="danger is 'yes'; expected True or False"):

        class Loud(Operation):
            name: ClassVar[str] = "loud"
            title: ClassVar[str] = "Loud"
            help: ClassVar[str] = "Loud."
            warning: ClassVar[str] = "Loud."
            danger: ClassVar[bool] = "yes"
