"""``opsdash workers`` and ``status``: what they tell of failures, load and running tasks, whatever was reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.cli import Result, off_a_terminal

from opsdash.services.console import Console

Opsdash = Callable[..., Result]
CALM = {
    "pool": "prefork",
    "queues": '["celery"]',
    "concurrency": 4,
    "processed": 1_204,
    "failed": 17,
    "active": 22,
    "load": "1.50",
}
RUNNING = [["id-1", "orders.send", "emails", 61.5], ["id-2", "orders.bill", "celery", 0.4]]


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    return console_for(database_url=sqlite_url, queues=("celery", "emails"))


@pytest.fixture
def report(console: Console) -> Callable[..., None]:
    """Writes a worker's report, as somebody's worker or somebody else may."""

    def write(hostname: str = "w1@host", **fields: Any) -> None:
        client, keys = console.broker.client, console.broker.keys
        seconds, _ = client.time()
        client.hset(keys.worker(hostname), mapping={"time": seconds, "loop_tick": seconds, **CALM, **fields})
        client.zadd(keys.workers, {hostname: seconds})

    return write


@pytest.fixture
def opsdash(console: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Opsdash:
    """Runs ``opsdash ARGS`` off a terminal."""
    monkeypatch.setenv("OPSDASH_REDIS_URL", console.settings.redis_url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", console.settings.database_url)
    monkeypatch.setenv("OPSDASH_QUEUES", "celery,emails")
    return off_a_terminal(monkeypatch, capsys)


def rows(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


def test_each_worker_stands_with_its_failures_and_its_load(opsdash: Opsdash, report: Callable[..., None]) -> None:
    report()
    report("w2@host", failed=0, load="")
    head, _, first, second = rows(opsdash("workers").out)[:4]
    assert head[3:6] == ["Processed", "Failed", "Running"]
    assert first[:2] + first[3:6] == ["w1@host", "online", "1,204", "17", "22"]
    assert (first[first.index("x") + 2], second[second.index("x") + 2]) == ("1.50", "-")
    listed = json.loads(opsdash("workers", "--json").out)
    assert [(worker["failed"], worker["load"]) for worker in listed] == [(17, 1.5), (0, None)]


def test_the_status_counts_failures_only_where_there_are_some(opsdash: Opsdash, report: Callable[..., None]) -> None:
    report(failed=0)
    assert "failed" not in opsdash("status").out
    report("w2@host")
    assert "0 scheduled, 17 failed since the workers started" in opsdash("status").out


def test_one_worker_is_shown_with_what_it_runs_and_how_much_more(opsdash: Opsdash, report: Callable[..., None]) -> None:
    report(running=json.dumps(RUNNING))
    report("w2@host", active=3)
    report("w3@host", active=0, running="[]")
    out = opsdash("workers", "w1@host").out
    assert "w2@host" not in out
    shown = [row for row in rows(out) if row and row[0].startswith("orders")]
    assert [row[:3] for row in shown] == [["orders.send", "id-1", "emails"], ["orders.bill", "id-2", "celery"]]
    assert " ".join(shown[0][-4:-2]) in {"1m 1s", "1m 2s", "1m 3s"}
    assert "and 20 more tasks" in out
    answer = json.loads(opsdash("workers", "w1@host", "--json").out)
    assert answer["worker"]["hostname"] == "w1@host"
    assert (answer["running"][0]["task_id"], answer["more"]) == ("id-1", 20)
    assert "w2@host runs 3 tasks, and does not report which." in opsdash("workers", "w2@host").out
    assert "w3@host runs nothing." in opsdash("workers", "w3@host").out


def test_a_worker_that_nobody_knows_is_one_clear_line(opsdash: Opsdash) -> None:
    for name in ("nobody@host", ""):
        assert opsdash("workers", name) == Result(
            3, "", f"opsdash: There is no worker {name!r}. Known workers: none.\n"
        )


@pytest.mark.parametrize("command", [["workers"], ["quiet-worker"], ["dismiss-worker"]])
def test_an_unknown_workers_name_is_answered_with_those_that_are_known(
    opsdash: Opsdash, report: Callable[..., None], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSDASH_SEPARATOR", ":")
    for number in range(30):
        report(f"worker-{number:02}@host")
    confirmed = ["--confirm", "YES"] if len(command[0]) > 7 else []
    done = opsdash(*command, "wroker-17@host", *confirmed)
    assert done.code == 3
    assert "Known workers: worker-17@host, " in done.err, "the one that was meant is the first"
    assert "and 20 more" in done.err
    assert len(done.err) < 400


def test_a_report_drives_no_terminal_and_hides_no_other_worker(opsdash: Opsdash, report: Callable[..., None]) -> None:
    evil = "\x1b[2J[bold]fire[/bold]"
    report("bad@host", running=json.dumps([[evil, evil, evil, 1]]), failed=evil, load=evil, active=evil)
    report(running=json.dumps(RUNNING))
    shown = opsdash("workers", "bad@host")
    assert (shown.code, "\x1b" in shown.out) == (0, False)
    assert shown.out.count(r"\x1b[2J[bold]fire[/bold]") == 3
    assert {"bad@host", "w1@host"} <= {row[0] for row in rows(opsdash("workers").out) if row}


def test_which_build_each_worker_runs_is_told_to_people_and_to_programs(
    opsdash: Opsdash, report: Callable[..., None]
) -> None:
    report(build="1.41", draining="1", active=0, uptime_s="900")
    report("w2@host", build="1.42", uptime_s="9")
    report("w3@host", build="\x1b[31m" + "x" * 100_000, uptime_s="8")
    shown = opsdash("workers").out
    assert "Build 1.41: drained 1 of 1; build 1.42: drained 0 of 1; no build named: drained 0 of 1." in shown
    assert "\x1b" not in shown
    listed = json.loads(opsdash("workers", "--json").out)
    assert [(worker["build"], worker["draining"], worker["drained"]) for worker in listed] == [
        ("1.41", True, True),
        ("1.42", False, False),
        ("", False, False),
    ]
