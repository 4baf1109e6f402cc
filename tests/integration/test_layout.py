"""Apps with their own separator, steps and prefix: a console that was told nothing sees them and disturbs nobody."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.cli import Result, off_a_terminal
from support.sample_app import make_app
from support.services import Valkey
from support.workers import Records, Worker, eventually, worker

import opsdash as api
from opsdash.api.schemas import status_read
from opsdash.errors import Refused
from opsdash.model.key_layout import APP, BROKER, WORKERS, Layout
from opsdash.services.console import Console
from opsdash.services.doctor import diagnose

OPTIONS = {"sep": ":", "priority_steps": [0, 4, 8], "queue_order_strategy": "priority"}
BARE = {"SAMPLE_PLUGIN": "no"}
Consoles = Callable[..., Console]


class App:
    """An app with a layout of its own, its producer and what its tasks wrote down."""

    def __init__(self, valkey: Valkey, keyprefix: str = "", options: dict[str, Any] | None = None) -> None:
        options = OPTIONS if options is None else options
        self.celery = make_app(valkey.url, keyprefix, **options)
        self.celery.conf.broker_pool_limit = 0
        self.records = Records(valkey.url)
        self.env = {
            "OPSDASH_REDIS_URL": valkey.url,
            "SAMPLE_KEYPREFIX": keyprefix,
            "SAMPLE_OPTIONS": json.dumps(options),
        }

    def send(self, number: int, **options: Any) -> None:
        for n in range(number):
            self.celery.send_task("sample.short", [n], **{"priority": 5, **options})

    def still_works(self, running: Worker) -> None:
        """It takes the tasks that are sent now, and has logged no traceback."""
        before = len(self.records)
        self.send(3)
        self.records.wait_for(before + 3)
        assert "Traceback" not in running.log

    def close(self) -> None:
        self.celery.close()
        self.records.close()


@pytest.fixture
def app(valkey: Valkey) -> Iterator[App]:
    with contextlib.closing(App(valkey)) as made:
        yield made


@pytest.fixture
def opsdash(
    console_for: Consoles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """``opsdash ARGS`` of somebody who was told the address and nothing else; each is a console of its own."""
    settings = console_for().settings
    monkeypatch.setenv("OPSDASH_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("OPSDASH_SECRET_KEY", "a-key-for-tests-and-nothing-else")
    return off_a_terminal(monkeypatch, capsys)


def adopted(console: Console) -> Layout:
    """The layout once a worker has reported."""
    eventually(lambda: console.broker.layouts.look().layout.source_of("prefix") == WORKERS, what="a report")
    return console.broker.layout


def look_at_everything(console: Console) -> None:
    """Every read that there is, each once."""
    console.unmanaged.look()
    list(diagnose(console))
    status_read(console.snapshot())
    console.snapshot()
    console.get_worker_stats()
    console.queues.to_frame()
    console.queues.peek("celery", 5)
    console.trash.list()
    console.get_recent_operations()
    console.approvals()
    for operation in (api.PauseProcessing(), api.ClearQueue(queue="celery"), api.ResumeProcessing()):
        console.preview(operation)


READS = [
    words.split()
    for words in (
        *("doctor", "status", "status --json", "queues", "queues --json", "workers", "audit", "trash", "peek celery"),
        *("pause-processing --dry-run", "clear-queue celery --dry-run"),
    )
]


@pytest.mark.long
@pytest.mark.parametrize("plugin", [True, False], ids=["with the plug-in", "without"])
def test_no_read_disturbs_workers_of_an_app_with_its_own_separator(
    app: App, console_for: Consoles, opsdash: Callable[..., Result], plugin: bool
) -> None:
    with worker(pool="solo", env=app.env if plugin else {**app.env, **BARE}) as running:
        app.still_works(running)
        for read in READS:
            done = opsdash(*read)
            assert done.code == 0 or read == ["doctor"], f"{read}: {done.err}"
            assert "Traceback" not in done.err
        console = console_for()
        look_at_everything(console)
        assert (console.broker.layout.separator, console.broker.layout.proven) == (":", True)
        assert console.broker.layout.source_of("separator") == (WORKERS if plugin else BROKER)
        if not plugin:
            assert [other.hostname for other in console.unmanaged.look() or ()] == [running.hostname]
        app.still_works(running)


def test_workers_whose_separator_is_not_known_are_not_asked(app: App, console_for: Consoles) -> None:
    console = console_for()
    with worker(pool="solo", env={**app.env, **BARE}) as running:
        # As after a FLUSHALL: the worker listens, and nothing tells with which separator.
        app.records.redis.flushall()
        assert not console.broker.layouts.look().layout.proven
        assert console.unmanaged.look() is None
        assert any("can't be asked" in finding.message for finding in diagnose(console))
        assert not list(app.records.redis.scan_iter("_kombu.binding.reply*"))
        app.still_works(running)


def test_a_pause_by_a_console_that_was_told_nothing_holds_workers_under_a_prefix(
    valkey: Valkey, opsdash: Callable[..., Result]
) -> None:
    with contextlib.closing(App(valkey, "shop:")) as app, worker(pool="solo", env=app.env) as running:
        app.still_works(running)
        before = len(app.records)
        assert opsdash("pause-processing", "--confirm", "YES").code == 0
        assert app.records.redis.exists("shop:system:pause_processing")
        assert not app.records.redis.exists("system:pause_processing")
        health = lambda: app.records.redis.hgetall(f"shop:opsdash:worker:{running.hostname}")  # noqa: E731
        eventually(lambda: health().get("paused") == "1", what="the worker has applied the pause")
        app.send(12)
        (celery, *_) = json.loads(opsdash("queues", "--json").out)
        assert (celery["name"], celery["waiting"], celery["by_priority"]) == ("celery", 12, {"4": 12})
        assert "Cleared 12 tasks" in opsdash("clear-queue", "celery", "--confirm", "YES").out
        assert opsdash("resume-processing", "--confirm", "YES").code == 0
        app.still_works(running)
        assert len(app.records) == before + 3


@pytest.mark.long
def test_an_app_that_says_otherwise_than_its_workers_is_refused_before_anything_is_written(
    valkey: Valkey, app: App, console_for: Consoles
) -> None:
    # The sample app of this process has kombu's own separator and other steps.
    console = console_for(celery_app="support.sample_app:app")
    assert console.broker.layout.source_of("separator") == APP
    with worker(pool="solo", env=app.env) as running:
        eventually(lambda: console.broker.layouts.look().conflicts, what="a report")
        for operation in (api.PauseProcessing(), api.ClearQueue(queue="celery")):
            with pytest.raises(Refused, match=r"The separator differs: "):
                console.preview(operation)
            with pytest.raises(Refused, match=r"The separator differs: "):
                console.run(operation, actor="maria", confirm="YES")
        assert not app.records.redis.exists("system:pause_processing")
        assert {conflict.fact for conflict in console.snapshot().layout_conflicts} == {"separator", "priority_steps"}
        findings = [finding for finding in diagnose(console) if finding.check == "layout"]
        assert {finding.level for finding in findings} >= {"error"}
        assert console.unmanaged.look() is None, "workers that go by another separator are not asked"
        app.still_works(running)


def test_a_clear_that_would_leave_tasks_behind_is_refused_where_nobody_tells_the_steps(
    app: App, opsdash: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(pool="solo", env={**app.env, **BARE}) as running:
        app.celery.control.cancel_consumer("celery", destination=[running.hostname], reply=True)
        app.send(12)
        refused = opsdash("clear-queue", "celery", "--confirm", "YES")
        assert (refused.code, "wait at priority 4, where opsdash does not look" in refused.err) == (3, True)
        monkeypatch.setenv("OPSDASH_PRIORITY_STEPS", "0,4,8")
        assert "Cleared 12 tasks from celery." in opsdash("clear-queue", "celery", "--confirm", "YES").out


def test_a_setting_that_workers_contradict_is_refused_and_every_read_says_so(
    app: App, opsdash: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSDASH_SEPARATOR", "|")
    with worker(pool="solo", env=app.env) as running:
        app.still_works(running)
        message = f"The separator differs: '|' by OPSDASH_SEPARATOR; ':' by {running.hostname}."
        for read in ("status", "queues"):
            result = opsdash(read)
            assert (result.code, message in result.err) == (0, True)
        assert message in opsdash("doctor").out
        for act in (["pause-processing"], ["clear-queue", "celery"]):
            result = opsdash(*act, "--confirm", "YES")
            assert result.code == 3
            assert message in result.err
            assert "Nothing was changed" in result.err
        assert not app.records.redis.exists("system:pause_processing")
        app.still_works(running)


def test_a_database_that_workers_do_not_report_into_is_suspected_by_the_doctor(
    valkey: Valkey, app: App, console_for: Consoles
) -> None:
    with worker(pool="solo", env=app.env) as running:
        adopted(console_for())
        other = console_for(redis_url=f"{valkey.url.rpartition('/')[0]}/1")
        messages = [finding.message for finding in diagnose(other) if finding.check == "layout"]
        assert any("No worker reports into this database" in message for message in messages)
        app.still_works(running)


def test_a_worker_tells_the_layout_of_its_own_channel(valkey: Valkey, console_for: Consoles) -> None:
    options = {**OPTIONS, "visibility_timeout": 77, "unacked_key": "mine", "unacked_index_key": "mine_index"}
    with contextlib.closing(App(valkey, "shop:", options)) as app, worker(pool="solo", env=app.env) as running:
        layout = adopted(console_for())
        assert (layout.prefix, layout.separator, layout.priority_steps) == ("shop:", ":", (0, 4, 8))
        assert (layout.unacked, layout.unacked_index, layout.visibility_timeout_s) == ("mine", "mine_index", 77)
        told = json.loads(app.records.redis.hget(f"shop:opsdash:worker:{running.hostname}", "layout") or "")
        assert (told["transport"], told["db"], told["control_exchange"]) == ("redis", 0, "celery")
        assert told["url_host"] == valkey.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        exchanges = app.records.redis.hget(f"shop:opsdash:worker:{running.hostname}", "exchanges") or ""
        assert "news" not in exchanges, "a broadcast's exchange holds no tasks"
        assert "celery" in json.loads(exchanges)


def test_queues_are_found_by_themselves_and_one_that_nobody_consumes_is_shown_as_such(
    app: App, console_for: Consoles, opsdash: Callable[..., Result]
) -> None:
    with worker(pool="solo", queues=["emails"], env=app.env) as running:
        console = console_for()
        adopted(console)
        assert console.queue_names() == ("emails",), "workers report without the default queue, and no broadcast"
        app.send(2, queue="reports")
        app.send(1, queue="emails")
        app.records.wait_for(1)
        stats = {queue["name"]: queue for queue in json.loads(opsdash("queues", "--json").out)}
        assert stats["emails"]["consumed"] is True
        app.send(1)  # to the default queue, which its producer binds to the exchange that is always looked at
        stats = {queue["name"]: queue for queue in json.loads(opsdash("queues", "--json").out)}
        assert (stats["celery"]["consumed"], stats["celery"]["waiting"]) == (False, 1)
        assert (stats["reports"]["consumed"], stats["reports"]["waiting"]) == (False, 2)
        assert "no consumer" in opsdash("queues").out
        assert "Traceback" not in running.log
