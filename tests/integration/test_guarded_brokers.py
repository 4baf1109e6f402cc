"""TLS, clients' certificates, passwords of masters and of sentinels: console, worker and drain on real servers."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from support.sample_app import make_app
from support.sentinels import MASTER, Guard, Watched, watched
from support.services import Missing, folder, provide
from support.tls import Certificates, TlsServer, certificates, tls_program
from support.workers import Records, eventually, worker

from opsdash.errors import Unavailable
from opsdash.operations import ClearQueue, PauseProcessing, RestoreQueue, ResumeProcessing
from opsdash.services.console import Console
from opsdash.services.doctor import diagnose
from opsdash.worker import drain

PASSWORD, SENTINEL_PASSWORD = "hunter2-of-the-master", "s3cr3t-of-the-sentinels"
NUMBERS = count()
TLS = pytest.param(True, id="TLS")
PLAIN = pytest.param(False, id="plain", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def made() -> Iterator[Certificates]:
    def make() -> Certificates:
        tls_program()
        return certificates(home)

    with folder() as home:
        yield provide("tls", make)


@pytest.fixture
def app_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a module with a Celery app, for ``OPSDASH_CELERY_APP``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(url: str, **conf: Any) -> str:
        name = f"guarded_app_{next(NUMBERS)}"
        lines = ["from celery import Celery", f"app = Celery('x', broker={url!r}, set_as_current=False)"]
        (tmp_path / f"{name}.py").write_text(
            "\n".join([*lines, *(f"app.conf.{key} = {value!r}" for key, value in conf.items())])
        )
        return f"{name}:app"

    return write


@contextlib.contextmanager
def server(made: Certificates, **options: Any) -> Iterator[TlsServer]:
    with folder() as home:
        running = TlsServer(home, made, **options)
        try:
            running.start()
        except RuntimeError:
            provide("tls", _lacks_tls)
        yield running
        running.kill()


def _lacks_tls() -> None:
    raise Missing("a redis-server or valkey-server that is built with TLS")


class Stage:
    """A worker's way to a guarded broker, and a plain one for what its tasks write down."""

    def __init__(self, records_url: str, url: str, **conf: Any) -> None:
        self.records = Records(records_url)
        options = dict(conf.get("broker_transport_options", {}))
        master = options.pop("master_name", "")
        self.app: Celery = make_app(url, master_name=master, **options)
        self.app.conf.update(broker_use_ssl=conf.get("broker_use_ssl"), broker_pool_limit=0)
        self.env = {
            "OPSDASH_REDIS_URL": url,
            "SAMPLE_RECORDS_URL": records_url,
            "SAMPLE_MASTER": master,
            "SAMPLE_OPTIONS": json.dumps(options),
            "SAMPLE_TLS": json.dumps(conf["broker_use_ssl"]) if "broker_use_ssl" in conf else "",
        }
        self.ids: list[str] = []

    def send(self, number: int) -> None:
        with self.app.connection_for_write() as connection:
            for n in range(number):
                self.ids.append(self.app.send_task("sample.short", [n], connection=connection).id)

    def close(self) -> None:
        self.records.close()
        self.app.close()


def paused(console: Console) -> bool:
    with contextlib.suppress(Unavailable):
        return [worker.paused for worker in console.get_worker_stats() if worker.reports] == [True]
    return False


def story(console: Console, stage: Stage, name: str) -> None:
    """All that an operator does, with one worker that runs."""
    stage.send(3)
    stage.records.wait_for(3)
    assert console.run(PauseProcessing(), actor="maria", confirm="YES").affected == 1
    eventually(lambda: paused(console), what="the pause is confirmed")
    stage.send(5)
    assert stage.records.stay(0.5) == 0
    assert console.snapshot().redis_error == ""
    assert console.get_queue_length("celery") == 5
    cleared = console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES")
    assert (cleared.affected, console.get_queue_length("celery")) == (5, 0)
    restored = console.run(RestoreQueue(trash_id=cleared.details["trash_id"]), actor="maria", confirm="YES")
    assert restored.affected == 5
    assert console.unmanaged.look() == (), "workers are asked by Celery's remote control"
    assert [one for one in diagnose(console) if one.level.value == "error"] == []
    console.run(ResumeProcessing(), actor="maria", confirm="YES")
    stage.records.wait_for(8)
    assert stage.records.times_run() == dict.fromkeys(stage.ids, 1)
    assert drain.main(["--name", name]) == 0
    stage.send(1)
    assert stage.records.stay(0.5) == 0
    assert console.get_queue_length("celery") == 1


def test_behind_tls_with_a_clients_certificate_and_a_password_all_of_it_works(
    console_for: Callable[..., Console], app_with: Callable[..., str], valkey_url: str, made: Certificates
):
    name = f"guarded-{uuid.uuid4().hex[:8]}@test"
    with server(made, clients=True, password=PASSWORD) as running:
        url = f"{running.url}?{made.query}"
        with contextlib.closing(Stage(valkey_url, url)) as stage, worker(pool="threads", env=stage.env, hostname=name):
            story(console_for(redis_url=url), stage, name)
            app = app_with(running.url, broker_use_ssl=made.as_client)
            other = console_for(redis_url=running.url, celery_app=app)
            assert other.get_queue_length("celery") == 1
            assert ("ok", "app's broker") in [(one.level.value, one.check) for one in diagnose(other)]
        without = console_for(redis_url=f"{running.url}?ssl_ca_certs={made.authority}")
        assert PASSWORD not in without.snapshot().redis_error
        assert without.snapshot().redis_error


@pytest.mark.parametrize("tls", [TLS, PLAIN])
def test_by_a_guarded_sentinel_all_of_it_works_with_an_app_and_with_the_address_alone(
    console_for: Callable[..., Console],
    app_with: Callable[..., str],
    valkey_url: str,
    made: Certificates,
    tmp_path: Path,
    tls: bool,
):
    name = f"guarded-{uuid.uuid4().hex[:8]}@test"
    guard = Guard(tls=made if tls else None, password=PASSWORD, sentinel_password=SENTINEL_PASSWORD)
    with (
        watched(tmp_path, guard, alone=True) as sentinels,
        contextlib.closing(Stage(valkey_url, sentinels.kombu_url, **sentinels.conf)) as stage,
        worker(pool="threads", env=stage.env, hostname=name),
    ):
        alone = console_for(redis_url=address(sentinels, made if tls else None))
        assert alone.snapshot().redis_error == ""
        assert alone.unmanaged.look() == ()
        app = app_with(sentinels.kombu_url, **sentinels.conf)
        story(console_for(redis_url=sentinels.url, celery_app=app), stage, name)


def address(sentinels: Watched, made: Certificates | None) -> str:
    """What a console without an app is told."""
    tls = f"&sentinel_ssl=true&{made.query}" if made else ""
    return f"{sentinels.kombu_url}?master_name={MASTER}&sentinel_password={SENTINEL_PASSWORD}{tls}"


@pytest.mark.slow
@pytest.mark.parametrize("crash", [True, False], ids=["the master dies", "the master is demoted"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_pause_outlives_a_failover_of_guarded_servers(
    console_for: Callable[..., Console], valkey_url: str, made: Certificates, tmp_path: Path, crash: bool, pool: str
):
    name = f"guarded-{uuid.uuid4().hex[:8]}@test"
    guard = Guard(tls=made, password=PASSWORD, sentinel_password=SENTINEL_PASSWORD)
    with (
        watched(tmp_path, guard) as sentinels,
        contextlib.closing(Stage(valkey_url, sentinels.kombu_url, **sentinels.conf)) as stage,
        worker(pool=pool, env=stage.env, hostname=name),
    ):
        console = console_for(redis_url=address(sentinels, made))
        stage.send(10)
        stage.records.wait_for(10)
        console.run(PauseProcessing(), actor="maria", confirm="YES")
        eventually(lambda: paused(console), what="the pause is confirmed")
        stage.send(10)
        before = console.get_worker_stats()[0].heartbeat_at
        sentinels.fail_over(crash=crash)
        eventually(
            lambda: paused(console) and console.get_worker_stats()[0].heartbeat_at > before,
            timeout_s=60,
            what="the worker follows to the new master",
        )
        assert stage.records.stay(2.0) == 0
        console.run(ResumeProcessing(), actor="maria", confirm="YES")
        stage.records.wait_for(20, timeout_s=60)
        assert stage.records.times_run() == dict.fromkeys(stage.ids, 1)
        assert drain.main(["--name", name]) == 0
