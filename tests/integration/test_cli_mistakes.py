"""What a tired operator types wrong: one line, the right exit code, and nothing done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.cli import Result, off_a_terminal
from support.services import until
from support.workers import producer

from opsdash.demo import producer as demo
from opsdash.demo.tasks import KINDS
from opsdash.model import Status
from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"))


@pytest.fixture
def environment(console: Console, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    variables = {
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
        "OPSDASH_QUEUES": "celery,emails",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def opsdash(environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    return off_a_terminal(monkeypatch, capsys)


@pytest.mark.parametrize(
    "args",
    [
        ["pause-processing", "--reason", "x" * 5_000, "--confirm", "YES"],
        ["pause-processing", "x" * 5_000],
        ["pause-processing", "--for", "x" * 5_000],
        ["pause-processing", f"--for={'x' * 5_000}"],
        ["pause-processing", *(["why"] * 3_000)],
        ["clear-queue", "x" * 900, "--confirm", "YES"],
        ["clear-queue", "\x1b[31m" + "x" * 900, "--confirm", "YES"],
        ["audit", "--since", "x" * 5_000],
        ["x" * 5_000],
    ],
    ids=lambda args: " ".join(args)[:30],
)
def test_what_was_pasted_by_mistake_is_not_repeated_at_length(opsdash, args: list[str]):
    result = opsdash(*args)
    assert result.code in {2, 3}
    assert result.err.count("\n") == 1
    assert len(result.err) < 1_100
    assert "x" * 100 not in result.err


def test_a_refusal_that_is_cut_still_says_whether_anything_was_changed(opsdash):
    result = opsdash("clear-queue", "x" * 900, "--confirm", "YES")
    assert "is not known. Nothing was changed. Known queues: celery, emails." in result.err


@pytest.mark.parametrize("url", ["banana", "localhost:6379", "http://localhost", "redis://host:port/0"])
@pytest.mark.parametrize("command", [["status"], ["doctor"], ["pause-processing", "--confirm", "YES"], ["demo"]])
def test_a_broker_that_is_no_url_is_one_line_that_names_the_setting(
    opsdash, monkeypatch: pytest.MonkeyPatch, url: str, command: list[str]
):
    monkeypatch.setenv("OPSDASH_REDIS_URL", url)
    result = opsdash(*command)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("opsdash: OPSDASH_REDIS_URL: ")
    assert "redis://host:port/db" in result.err


def test_what_a_rule_of_the_operation_turns_down_is_refused_in_the_log_and_by_the_exit_code(opsdash, console: Console):
    for args in (["prune-audit-log", "5m"], ["clear-tasks", "emails"]):
        result = opsdash(*args, "--confirm", "YES")
        assert (result.code, result.err.count("\n")) == (3, 1)
        assert "Nothing was changed." in result.err
        assert console.get_recent_operations()[0].status is Status.REFUSED
        assert opsdash(*args, "--dry-run").code == 3


def test_what_the_demo_sends_says_when_so_that_older_than_finds_it(opsdash, console: Console, monkeypatch):
    kind = next(kind for kind in KINDS if kind.queue == "emails" and not kind.delay_s)
    with producer(console.settings.redis_url) as celery:
        monkeypatch.setattr(demo, "app", celery)
        for _ in range(2):
            demo.send(kind)
    older = ("clear-tasks", "emails", "--dry-run", "--older-than")
    assert "0 of 2 pending tasks" in opsdash(*older, "1h").out
    assert until(lambda: "2 of 2 pending tasks" in opsdash(*older, "1s").out)
