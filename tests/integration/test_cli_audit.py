"""The audit log on the command line: read, searched, exported."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from support.cli import Result, on_a_terminal

from opsdash.operations import ResumeProcessing
from opsdash.services.audit import query
from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"))


def test_the_audit_log_shows_who_did_what_and_exports_csv(opsdash):
    assert opsdash("audit").out == "No operations logged yet.\n"
    opsdash("pause-processing", "--confirm", "YES")
    assert "Pause Processing" in opsdash("audit").out
    assert opsdash("audit", "--csv").out.startswith("timestamp,finished_at,user,operation,status,details")


def test_an_export_into_a_file_shows_how_far_it_is_on_a_terminal_and_nothing_off_it(
    opsdash, environment, console: Console, tmp_path
):
    for _ in range(3):
        opsdash("pause-processing", "--confirm", "YES")
    code, screen = on_a_terminal(environment, [], "audit", "export", "--output", str(tmp_path / "a.csv"))
    assert code == 0, screen
    assert re.search(r"Exporting .*100%", screen)
    assert "Wrote 3 entries to" in screen
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
    quiet = opsdash("audit", "export", "--output", str(tmp_path / "b.csv"))
    assert (quiet.code, quiet.err) == (0, "")


def test_a_search_in_the_log_says_how_much_of_it_was_searched_and_how_to_go_on(
    opsdash, console: Console, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(5):
        console.run(ResumeProcessing(), actor="maria", confirm="YES")
    assert opsdash("audit", "--text", "no such text").err == ""
    monkeypatch.setattr(query, "SEARCHED", 2)
    for way in ([], ["--json"]):
        shown = opsdash("audit", "--text", "no such text", *way)
        assert shown.code == 0
        found = re.fullmatch(
            r"opsdash: Searched the newest 2 of 5 entries; continue with --after (\S+)\n", shown.err.replace("\r", "")
        )
        assert found, shown.err
    further = opsdash("audit", "--text", "no such text", "--after", found[1]).err
    assert further.startswith("opsdash: Searched a further 2 of 5 entries; continue")


def test_the_head_of_the_chain_is_printed_to_be_kept_elsewhere(opsdash, console: Console):
    assert opsdash("audit", "head").out == "0:\n"
    opsdash("pause-processing", "--confirm", "YES")
    kept = opsdash("audit", "head").out.strip()
    assert re.fullmatch(r"1:[0-9a-f]{64}", kept)
    assert opsdash("audit", "verify", "--head", kept).code == 0
    assert opsdash("audit", "verify", "--head", f"1:{'0' * 64}").code == 3


def test_a_filter_that_matches_nothing_is_told_from_an_empty_log(console: Console, opsdash: Callable[..., Result]):
    assert opsdash("audit").out == "No operations logged yet.\n"
    opsdash("pause-processing", "--confirm", "YES")
    assert opsdash("audit", "--user", "nobody-here").out == "No entry of the audit log matches.\n"
