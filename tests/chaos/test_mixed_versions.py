"""A console and a worker of the last release beside those of this build: during an update, both do as they say.

The release is taken out of this repository's history; where that is not at hand, as in an archive of the sources,
there is nothing to compare with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support import builds
from support.services import Missing, Valkey
from support.workers import ROOT, Records, Worker, producer, worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

APPROVE = """
import sys
import opsdash
from opsdash.model import Actor, Role
who = Actor(name="bob", role=Role.OPERATOR, surface="page")
opsdash.connect().run(opsdash.ApproveOperation(approval_id=sys.argv[1]), actor=who, confirm="YES")
"""
"""What another person does on a page: the command takes who acts from the operating system."""
Run = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the last release."""
    try:
        return builds.last_release(tmp_path_factory.mktemp("before"))
    except Missing as missing:
        pytest.skip(str(missing))  # an archive of the sources has no history to take the release from


@pytest.fixture
def runs(before: Path, valkey: Valkey, sqlite_url: str, tmp_path: Path) -> Run:
    """``runs("before" or "now", ARGS)`` runs ``opsdash ARGS --json``, and gives the exit code and the answer."""
    places = {"before": before, "now": ROOT}
    settings = {
        "OPSDASH_REDIS_URL": valkey.url,
        "OPSDASH_DATABASE_URL": sqlite_url,
        "OPSDASH_SECRET_KEY": "x" * 40,
        "OPSDASH_QUEUES": "celery,emails",
        "OPSDASH_CELERY_APP": "support.sample_app:app",
    }

    def run(version: str, *args: str, **more: str) -> tuple[int, Any]:
        path = builds.path_of(places[version])
        command = [sys.executable, *(["-c", *args] if args[0] is APPROVE else ["-m", "opsdash", *args, "--json"])]
        made = {**os.environ, **settings, "PYTHONPATH": path, **more}
        done = subprocess.run(command, capture_output=True, text=True, env=made, cwd=tmp_path, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else done.stderr

    return run


@pytest.fixture
def workers(before: Path, valkey: Valkey) -> Iterator[tuple[Worker, Worker]]:
    """One with the plug-in of before and one with that of now, on the same queues."""
    env = {"OPSDASH_REDIS_URL": valkey.url}
    old = {**env, "PYTHONPATH": builds.path_of(before)}
    with worker(env=old) as one, worker(env=env) as other:
        yield one, other


@pytest.mark.parametrize(("first", "then"), [("before", "now"), ("now", "before")])
def test_a_pause_by_one_stops_workers_of_both_and_the_other_ends_it(
    runs: Run, workers: tuple[Worker, Worker], valkey: Valkey, first: str, then: str
) -> None:
    records = Records(valkey.url)
    with producer(valkey.url) as app:
        for number in range(200):
            app.send_task("sample.short", [number])
        records.wait_for(20)
        code, answer = runs(first, "pause-processing", "--confirm", "YES", "--wait", "--timeout", "20s")
        assert (code, answer["progress"]["done"]) == (0, True)
        assert records.stay(2.0) == 0
        code, answer = runs(then, "resume-processing", "--confirm", "YES")
        assert code == 0, answer
        records.wait_for(200)
    assert set(records.times_run().values()) == {1}
    records.close()


@pytest.mark.parametrize(("first", "then"), [("before", "now"), ("now", "before")])
def test_what_one_has_cleared_the_other_restores_in_order(runs: Run, valkey: Valkey, first: str, then: str) -> None:
    with producer(valkey.url) as app:
        for number in range(30):
            app.send_task("sample.short", [number], queue="emails", priority=number % 2 * 9)
    with redis.Redis.from_url(valkey.url) as client:
        waited = {key: client.lrange(key, 0, -1) for key in client.scan_iter("emails*")}
        code, answer = runs(first, "clear-queue", "emails", "--confirm", "YES")
        assert (code, client.llen("emails")) == (0, 0), answer
        _, (cleared,) = runs(then, "trash")
        code, answer = runs(then, "restore-queue", cleared["id"], "--confirm", "YES")
        assert code == 0, answer
        assert {key: client.lrange(key, 0, -1) for key in client.scan_iter("emails*")} == waited


def test_a_log_that_both_write_is_whole_for_both(runs: Run) -> None:
    for version in ("before", "now", "before", "now"):
        code, answer = runs(version, "pause-processing", "--for", "10m", "--confirm", "YES")
        assert code == 0, answer
        code, answer = runs(version, "resume-processing", "--confirm", "YES")
        assert code == 0, answer
    for version in ("before", "now"):
        code, answer = runs(version, "audit", "verify")
        assert code == 0, answer
    _, entries = runs("now", "audit")
    brokers = [entry["broker"] for entry in entries]
    assert (brokers.count(None), len(set(brokers)), len(brokers)) == (4, 2, 8)


@pytest.mark.parametrize(("first", "then"), [("before", "now"), ("now", "before")])
def test_what_one_was_asked_the_other_approves_once(runs: Run, valkey: Valkey, first: str, then: str) -> None:
    asked = {"OPSDASH_APPROVAL": "clear_queue"}
    with producer(valkey.url) as app, redis.Redis.from_url(valkey.url) as client:
        app.send_task("sample.short", [1], queue="emails")
        code, answer = runs(first, "clear-queue", "emails", "--confirm", "YES", **asked)
        assert code == 3, answer
        _, (waits,) = runs(then, "approvals", **asked)
        assert (waits["params"]["queue"], client.llen("emails")) == ("emails", 1)
        code, answer = runs(then, "approve", waits["id"], "--confirm", "YES", **asked)
        assert (code, client.llen("emails")) == (3, 1), "whoever asked is no second person"
        code, answer = runs(then, APPROVE, waits["id"], **asked)
        assert (code, client.llen("emails")) == (0, 0), answer
        for version in (first, then):
            assert runs(version, "approvals", **asked) == (0, [])


@pytest.mark.parametrize(("first", "then"), [("before", "now"), ("now", "before")])
def test_a_step_that_waits_for_the_database_is_written_by_the_other(runs: Run, first: str, then: str) -> None:
    nobody = {"OPSDASH_DATABASE_URL": "postgresql+psycopg2://nobody@127.0.0.1:1/nothing"}
    code, answer = runs(first, "pause-processing", "--for", "10m", "--confirm", "YES", **nobody)
    assert code in (0, 5), answer
    code, answer = runs(then, "resume-processing", "--confirm", "YES")
    assert code == 0, answer
    _, entries = runs(then, "audit")
    assert {(entry["operation"], entry["status"]) for entry in entries} == {
        ("pause_processing", "success"),
        ("resume_processing", "success"),
    }
    code, answer = runs(then, "audit", "verify")
    assert (code, answer["checked"]) == (0, 2), answer
    _, here = runs("now", "audit", "--broker", "this")
    # Whoever brings a step into the table, it keeps the broker that it was written with.
    assert [entry["operation"] for entry in here] == [f"{'pause' if first == 'now' else 'resume'}_processing"]
