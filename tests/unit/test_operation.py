from __future__ import annotations

from typing import Any, ClassVar

import pytest

import opsdash
from opsdash.operation import Operation, argument, parameters, registry


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
    with pytest.raises(TypeError, match="takes the name 'clear_queue', which ClearQueue has"):

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
    with pytest.raises(opsdash.Invalid, match=r"reason: .* Nothing was changed"):
        opsdash.PauseProcessing(reason=text)


@pytest.mark.parametrize("value", [1.5, True, "2h", [60]])
def test_another_type_than_declared_is_refused_before_anything_is_begun(value: Any):
    with pytest.raises(opsdash.Invalid, match=r"^duration_s: expected `int \| null`, got `\w+`. Nothing was changed"):
        opsdash.PauseProcessing(duration_s=value)
    with pytest.raises(opsdash.Invalid, match=r"^reason: expected `str`, got `\w+`. Nothing was changed"):
        opsdash.ClearQueue(reason=5)


def test_any_other_text_is_taken():
    text = "line one\nline two 🔥 " + "x" * 900
    assert opsdash.PauseProcessing(reason=text).reason == text
