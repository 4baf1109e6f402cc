"""Commands to paste: bash reads the name that they were made of, and a terminal shows it as it is."""

from __future__ import annotations

import subprocess

import pytest

from opsdash.cli.plain import clean
from opsdash.operation import command_line
from opsdash.operations import DeleteTrash, PauseProcessing
from opsdash.services.queues.receipt import receipt_text
from opsdash.text import shell_word


@pytest.mark.parametrize(
    "name", ["emails", "", "a b", "it's", "a\nb", "\x1b[31mred", "tab\t1'\\n", "é\u202eü", "$(id)\x07"]
)
def test_a_queues_name_comes_out_of_a_pasted_command_as_it_is(name: str) -> None:
    shown = clean(shell_word(name))
    said = subprocess.run(
        ["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert said.stdout.decode() == name


def test_the_command_of_an_operation_is_quoted_so() -> None:
    assert command_line(PauseProcessing(queue="a\tb")).endswith(r"--queue $'a\x09b'")


def test_a_receipt_that_was_not_counted_in_the_very_step_says_so() -> None:
    receipt = {"queue": "celery", "before": {0: 3}, "after": {0: 1}, "others": {}}
    assert "workers and producers went on meanwhile" in receipt_text({"receipt": {**receipt, "at_once": False}})
    assert "meanwhile" not in receipt_text({"receipt": {**receipt, "at_once": True}})


def test_what_deletes_trash_names_it_in_the_log_before_its_queue_is_known() -> None:
    assert DeleteTrash(trash_id="4f5e").recorded_heading({}) == "Delete trash 4f5e"
    assert DeleteTrash(trash_id="4f5e").recorded_heading({"queue": "emails"}) == "Delete trash of queue emails"
