"""The doctor beside the wrong Redis, and beside an app and workers whose settings lose or hold tasks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from click.testing import CliRunner
from support import programs
from support.acl import user
from support.reports import report
from support.services import Valkey, folder, free_port, until

import opsdash
from opsdash.cli import cli
from opsdash.services.console import Console
from opsdash.services.doctor import Finding, diagnose
from opsdash.services.doctor.address import of_app, of_console
from opsdash.services.doctor.finding import Examined
from opsdash.text import format_duration

EXPIRIES = {"long": 7_200, "short": 6, "workers": 60}
ROOT = Path(__file__).parents[2]
NUMBERS = count()
AppWith = Callable[..., str]


@pytest.fixture
def app_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppWith:
    """Writes an app with this broker and these settings; returns its path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(url: str, **conf: Any) -> str:
        name = f"doctor_app_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(
            "from celery import Celery\nfrom kombu import Queue\n"
            f"app = Celery('x', broker={url!r}, set_as_current=False)\n"
            + "".join(f"app.conf.{key} = {value}\n" for key, value in conf.items())
        )
        return f"{name}:app"

    return write


def findings(console: Console, check: str) -> list[Finding]:
    return [finding for finding in diagnose(console) if finding.check == check]


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.level}: {finding.message} → {finding.todo}" for finding in findings)


def test_the_same_server_under_another_name_is_no_fault(
    console_for: Callable[..., Console], valkey: Valkey, app_with: AppWith
):
    for url in (valkey.url, valkey.url.replace("127.0.0.1", "localhost"), valkey.url.replace("127.0.0.1", "127.1")):
        (finding,) = findings(console_for(celery_app=app_with(url)), "app's broker")
        assert finding.level == "ok", url


def test_another_database_than_the_apps_is_named_with_what_to_set(
    console_for: Callable[..., Console], valkey: Valkey, app_with: AppWith
):
    (finding,) = findings(console_for(celery_app=app_with(valkey.url[:-1] + "3")), "app's broker")
    assert said([finding]) == (
        "error: The app uses database 3, OPSDASH_REDIS_URL names database 0: opsdash sees none of its tasks."
        " → End OPSDASH_REDIS_URL with /3."
    )


def test_another_server_than_the_apps_is_named_without_a_password(
    console_for: Callable[..., Console], valkey: Valkey, app_with: AppWith
):
    with folder() as home:
        other = Valkey(home)
        other.start()
        try:
            url = other.url.replace("redis://", "redis://:not-to-be-told@")
            with redis.Redis.from_url(other.url) as client:
                client.config_set("requirepass", "not-to-be-told")
            found = list(diagnose(console_for(celery_app=app_with(url))))
        finally:
            other.kill()
    (finding,) = [finding for finding in found if finding.check == "app's broker"]
    assert finding.level == "error"
    assert f"another server (this machine:{other.port}, database 0)" in finding.message
    assert finding.todo == "Set OPSDASH_REDIS_URL to the app's broker_url."
    assert "not-to-be-told" not in said(found)


@pytest.mark.long
def test_a_server_that_can_not_be_asked_is_an_error_where_the_port_differs_and_else_a_warning(
    console_for: Callable[..., Console], valkey: Valkey, app_with: AppWith
):
    (elsewhere,) = findings(console_for(celery_app=app_with(f"redis://127.0.0.1:{free_port()}/0")), "app's broker")
    assert elsewhere.level == "error"
    assert elsewhere.todo == "Set OPSDASH_REDIS_URL to the app's broker_url."
    url = f"redis://no-such-host.invalid:{valkey.port}/0"
    (unknown,) = findings(console_for(celery_app=app_with(url)), "app's broker")
    assert unknown.level == "warning"
    assert "it can't be checked from here whether they are the same" in unknown.message


def test_an_app_that_is_not_on_redis_is_named(console_for: Callable[..., Console], app_with: AppWith):
    (finding,) = findings(console_for(celery_app=app_with("amqp://guest:secret-word@localhost//")), "app's broker")
    assert said([finding]) == (
        "error: The app's broker is amqp, and opsdash works with Redis alone. → Name another app in OPSDASH_CELERY_APP."
    )


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", "this machine:6379, database 0"),
        ("redis://user:pass@REDIS.example", "redis.example:6379, database 0"),
        ("redis://[::1]:7000/2", "this machine:7000, database 2"),
        ("rediss://redis.example/1", "redis.example:6379, database 1, TLS"),
        ("sentinel://a:1;sentinel://:pw@b", "master main at the sentinels a:1, b:26379, database 0"),
    ],
)
def test_an_address_means_the_same_to_opsdash_and_to_celery(
    console_for: Callable[..., Console], valkey: Valkey, url: str, address: str
):
    app = Celery("x", broker=url, set_as_current=False)
    app.conf.broker_transport_options = {"master_name": "main"}
    master = "?master_name=main" if url.startswith("sentinel") else ""
    assert str(of_app(app.connection_for_write())) == address
    assert str(of_console(Examined(console_for(redis_url=url + master)))) == address


def test_a_socket_is_an_address_too(console_for: Callable[..., Console]):
    app = Celery("x", broker="redis+socket:///run/redis.sock?virtual_host=4", set_as_current=False)
    console = console_for(redis_url="unix:///run/redis.sock?db=4")
    assert of_app(app.connection_for_write()) == of_console(Examined(console))


def test_a_replica_is_named_with_its_primary(console_for: Callable[..., Console], valkey: Valkey):
    assert said(findings(console_for(), "role")).startswith("ok: A primary")
    with redis.Redis.from_url(valkey.url) as client:
        client.replicaof("127.0.0.1", 1)
        try:
            (finding,) = findings(console_for(), "role")
        finally:
            client.replicaof("NO", "ONE")
    assert finding.level == "error"
    assert finding.message.startswith("A replica of 127.0.0.1:1: it takes no writes")


def test_a_cluster_is_named_since_kombu_has_no_transport_for_it(console_for: Callable[..., Console], valkey: Valkey):
    valkey.stop()
    (valkey.home / "dump.rdb").unlink(missing_ok=True)
    valkey.start_with("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    try:
        (finding,) = findings(console_for(), "role")
    finally:
        valkey.kill()
        valkey.start()
    assert "kombu has no transport for it" in said([finding])


@pytest.mark.long
@pytest.mark.parametrize("command", [["doctor"], ["status"], ["queues"], ["pause-processing", "--confirm", "YES"]])
def test_an_app_whose_settings_fail_is_one_line_that_names_the_cause(
    valkey: Valkey, sqlite_url: str, tmp_path: Path, command: list[str]
):
    (tmp_path / "broken_settings.py").write_text("import os\nKEY = os.environ['NOT_SET_HERE']\n")
    (tmp_path / "broken_app.py").write_text(
        "from celery import Celery\napp = Celery('b')\napp.config_from_object('broken_settings')\n"
    )
    env = {"OPSDASH_REDIS_URL": valkey.url, "OPSDASH_DATABASE_URL": sqlite_url, "OPSDASH_AUTH": "dev"}
    done = programs.run(
        [sys.executable, "-m", "opsdash", *command],
        env={**env, "OPSDASH_CELERY_APP": "broken_app:app", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "OPSDASH_CELERY_APP: can't load 'broken_app:app': KeyError: 'NOT_SET_HERE'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_a_queue_that_expires_is_named_whether_the_app_or_a_worker_tells(
    console_for: Callable[..., Console], valkey: Valkey, app_with: AppWith
):
    assert findings(console_for(celery_app=app_with(valkey.url)), "expiring queues") == []
    queues = "[Queue('short', expires=6.0), Queue('long', queue_arguments={'x-expires': 7_200_000}), Queue('stays')]"
    with redis.Redis.from_url(valkey.url) as client:
        report(client, "w1@test", expires_ms=json.dumps({"workers": 60_000, "none": 0, "odd": "x"}))
        report(client, "w2@test", expires_ms="nonsense")
    (finding,) = findings(console_for(celery_app=app_with(valkey.url, task_queues=queues)), "expiring queues")
    assert finding.level == "warning"
    lines = [f"{queue} after {format_duration(after_s)}" for queue, after_s in EXPIRIES.items()]
    assert f"for a while: {', '.join(lines)} (kombu" in finding.message
    assert "its expiry is suspended" in finding.message


@pytest.mark.parametrize(
    ("told", "level", "says"),
    [
        ({"prefetch": "16"}, "", ""),
        ({"prefetch": "41"}, "warning", "w1@test (4 slots) fetches up to 41 tasks"),
        ({"prefetch": "0"}, "warning", "fetches without a limit"),
        ({"prefetch": "0", "disable_prefetch": "1"}, "ok", "has worker_disable_prefetch"),
        ({"prefetch": "many"}, "", ""),
        ({}, "", ""),
    ],
)
def test_a_worker_that_fetches_far_more_than_it_runs_is_named(
    console_for: Callable[..., Console], valkey: Valkey, told: dict[str, str], level: str, says: str
):
    with redis.Redis.from_url(valkey.url) as client:
        report(client, "w1@test", **told)
    found = findings(console_for(), "prefetch")
    assert [finding.level for finding in found] == ([level] if level else [])
    assert says in said(found)


def test_two_processes_under_one_name_are_named_both(
    console_for: Callable[..., Console], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
):
    with redis.Redis.from_url(valkey.url) as client:
        report(client, "w1@test", "w2@test")
    console = console_for()
    read = console.workers.read()
    twice = (replace(read[0], pid=11), replace(read[0], pid=22), read[1])
    monkeypatch.setattr(console, "workers", SimpleNamespace(read=lambda: twice))
    assert said(findings(console, "names")) == (
        "error: 2 processes report as w1@test (pids 11, 22): a command to one may reach the other."
        " → Give each worker its own name: celery worker -n NAME@%h."
    )


def test_whatever_fetches_messages_and_is_no_known_worker_is_named(console_for: Callable[..., Console], valkey: Valkey):
    console = console_for()
    assert findings(console, "strangers") == []
    with redis.Redis.from_url(valkey.url) as client, redis.Redis.from_url(valkey.url).client() as stranger:
        report(client, "w1@test", clients="[]", remote_control="0")
        stranger.connection.send_command("BRPOP", "celery", 30)
        assert until(lambda: client.info("clients")["blocked_clients"] == 1)
        off, fetching = findings(console, "strangers")
        ours = stranger.connection._sock.getsockname()
        stranger.connection.disconnect()
    assert "Remote control is off on w1@test" in off.message
    assert (
        f"1 connection to this database fetched messages as a worker does: 127.0.0.1:{ours[1]}."
        " Known workers have none of them; a pause does not stop the rest." == fetching.message
    )


def test_the_connection_of_a_silent_worker_is_its_own_and_of_no_other(
    console_for: Callable[..., Console], valkey: Valkey
):
    console = console_for()
    with redis.Redis.from_url(valkey.url) as client, redis.Redis.from_url(valkey.url).client() as frozen:
        report(client, "w1@test", lasts_s=-30, active="1", clients=json.dumps([frozen.client_id()]))
        frozen.connection.send_command("BRPOP", "celery", 30)
        assert until(lambda: client.info("clients")["blocked_clients"] == 1)
        assert [worker.state for worker in console.workers.read()] == ["silent"]
        found = findings(console, "strangers")
        frozen.connection.disconnect()
    assert found == []


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (["+@all", "resetchannels", "&/0.celery*"], "PUBLISH to opsdash:nudge"),
        (["+@all", "&*", "-@scripting"], "EVAL (every change and most reads are scripts)"),
    ],
)
def test_the_command_ends_with_an_error_where_a_right_is_missing(
    valkey: Valkey, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, rules: list[str], says: str
):
    with redis.Redis.from_url(valkey.url) as client:
        report(client, "w1@test", version=opsdash.__version__)
    with user(valkey, "narrow", "~*", *rules) as url:
        settings = {"REDIS_URL": url, "DATABASE_URL": sqlite_url, "AUTH": "dev", "SECRET_KEY": "k" * 32}
        for name, value in settings.items():
            monkeypatch.setenv(f"OPSDASH_{name}", value)
        done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 2, done.output
    assert f"error rights: Redis user narrow lacks what opsdash needs: {says}" in done.output
    assert re.search(r"checked: \d+ errors?,", done.output)


def test_what_the_doctor_is_asked_with_is_never_more_than_a_line(
    console_for: Callable[..., Console], valkey: Valkey, app_with: AppWith
):
    with user(valkey, "narrow", "~nothing", "+ping", "+info") as url:
        found = list(diagnose(console_for(redis_url=url, celery_app=app_with(valkey.url))))
    assert not any("Traceback" in text or "broke" in text for text in said(found).splitlines())
    assert "ACL SETUSER narrow" in said(found)
    assert not any(finding.unreachable for finding in found)


def test_a_queue_whose_name_is_too_long_is_a_warning_everywhere(
    console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch
):
    console = console_for()
    broker, long = console.broker, "long-" * 2_000
    broker.client.sadd(broker.layout.binding("celery"), broker.separator.join([long, "", long]))
    (found,) = findings(console, "left out")
    assert found.level == "warning"
    assert "long-long-" in found.message
    assert "10,000 bytes" in found.message
    assert [one.what for one in console.snapshot().unread] == ["queues"]
    monkeypatch.setattr(opsdash, "connect", lambda: console)
    status = CliRunner().invoke(cli, ["status"])
    assert "long-long-" in status.stderr
    assert len(status.stderr) < 1_000
