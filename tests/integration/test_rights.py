"""A user with just the documented rights is refused nothing; whatever is taken away the doctor names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import redis
from support.acl import only, refused, user
from support.deployment import deploy
from support.services import Valkey
from support.workers import worker

from opsdash.errors import Refused
from opsdash.operations import (
    ClearQueue,
    ClearTasks,
    DeleteTrash,
    PauseProcessing,
    QuietWorker,
    RestoreQueue,
    ResumeProcessing,
    RevokeTask,
    SyncTenantConfigs,
    WakeWorker,
)
from opsdash.services import doctor
from opsdash.services.broker import acl
from opsdash.services.broker.acl import Place, Right
from opsdash.services.console import Console
from opsdash.services.doctor import Finding, diagnose
from opsdash.services.doctor.finding import Examined

QUEUES = ("celery", "emails", "reports")
NUMBERS = count()
PLACE = Place(queues=QUEUES, broadcasts=("news/celery",))


def findings(console: Console, *checks: str) -> list[Finding]:
    return [finding for finding in diagnose(console) if finding.check in checks]


@pytest.mark.long
@pytest.mark.parametrize(("pool", "prefix"), [("prefork", ""), ("threads", "blue:")])
def test_users_with_the_documented_rights_are_refused_nothing(
    console_for: Callable[..., Console], valkey: Valkey, app_as: Callable[..., str], pool: str, prefix: str
):
    place = replace(PLACE, prefix=prefix, unacked=tuple(prefix + key for key in PLACE.unacked))
    with (
        deploy(valkey, prefix) as deployment,
        user(valkey, "worker", *only(acl.worker(place)), *acl.RESULTS) as worker_url,
        user(valkey, "console", *only(acl.console(place))) as console_url,
    ):
        env = {**deployment.env, "OPSDASH_REDIS_URL": worker_url}
        env |= {"SAMPLE_RECORDS_URL": valkey.url, "SAMPLE_RESULTS": "yes"}
        with worker(pool=pool, env=env, arguments=["-E"]) as running:
            console = console_for(redis_url=console_url, celery_app=app_as(worker_url, prefix), queues=QUEUES)

            def run(operation, **more):
                console.preview(operation)
                return console.run(operation, actor="maria", confirm="YES", **more)

            deployment.send(3)
            deployment.send(2, "sample.late")
            deployment.send(4, "sample.short", countdown=300)
            deployment.send(1, "sample.step")  # keeps its result
            deployment.records.wait_for(6)
            assert run(PauseProcessing()).ok
            deployment.wait_until_confirmed(running.hostname)
            deployment.send(5)
            cleared = run(ClearQueue(queue="celery", everything=True))
            assert cleared.affected == 9
            assert run(RestoreQueue(trash_id=cleared.details["trash_id"])).affected == 9
            assert run(ClearTasks(queue="celery", task="*.nothing")).affected == 0
            deployment.send(2, queue="emails")
            assert run(DeleteTrash(trash_id=run(ClearQueue(queue="emails")).details["trash_id"])).affected == 2
            assert run(ResumeProcessing()).ok
            deployment.records.wait_for(11)
            with pytest.raises(Refused, match="There is no task some-task"):
                run(RevokeTask(task_id="some-task"))
            assert run(QuietWorker(hostname=running.hostname)).ok
            assert run(WakeWorker(hostname=running.hostname)).ok
            assert run(SyncTenantConfigs()).ok
            console.queues.peek("celery", 3)
            snapshot = console.snapshot()
            console.history.record(snapshot)
            assert [w.hostname for w in snapshot.workers] == [running.hostname]
            assert [str(f.message) for f in diagnose(console) if f.level == "error"] == []
            assert running.stop() == 0
        assert refused(valkey, "worker") == set()
        assert refused(valkey, "console") == set()


def test_the_lines_of_the_documentation_make_users_with_just_these_rights(valkey: Valkey):
    page = (Path(__file__).parents[2] / "docs" / "rights.md").read_text()
    place = Place(queues=("celery", "emails"))
    lines = re.findall(r"^<!-- tested: ACL -->\n```text\n(.*)\n```$", page, re.MULTILINE)
    with redis.Redis.from_url(valkey.url) as client:
        for line, needed in zip(lines, (acl.console(place), acl.worker(place)), strict=True):
            name = line.split()[2]
            client.execute_command(*words(line))
            made = client.acl_getuser(name)
            client.execute_command("ACL", "SETUSER", "same", "reset", "on", ">PASSWORD", *only(needed))
            assert made == client.acl_getuser("same")
            client.execute_command("ACL", "DELUSER", name, "same")


def test_each_right_of_the_console_that_is_taken_away_is_named(console_for: Callable[..., Console], valkey: Valkey):
    needed = acl.console(Place(queues=("celery",)))
    with user(valkey, "console", *only(needed)) as url:
        assert [f.level for f in findings(console_for(redis_url=url), "rights")] == ["ok"]
    for right in needed:
        with user(valkey, "console", *only(other for other in needed if other != right)) as url:
            (finding,) = doctor.rights.console(Examined(console_for(redis_url=url)))
            assert_names(finding, "console", right)


@pytest.fixture
def app_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes an app with this broker and key prefix; returns its path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(url: str, prefix: str = "") -> str:
        name = f"rights_app_{next(NUMBERS)}"
        text = f"from celery import Celery\napp = Celery('x', broker={url!r}, set_as_current=False)\n"
        text += f"app.conf.broker_transport_options = {{'global_keyprefix': {prefix!r}}}\n" if prefix else ""
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}:app"

    return write


@pytest.mark.long
def test_each_right_of_the_apps_user_that_is_taken_away_is_named(
    console_for: Callable[..., Console], valkey: Valkey, app_as: Callable[[str], str]
):
    needed = acl.worker(Place(queues=("celery",)))
    with user(valkey, "worker", *only(needed)) as url:
        assert [f.level for f in findings(console_for(celery_app=app_as(url)), "worker rights")] == ["ok"]
    for right in needed:
        with user(valkey, "worker", *only(other for other in needed if other != right)) as url:
            (finding,) = doctor.rights.workers(Examined(console_for(celery_app=app_as(url))))
            assert_names(finding, "worker", right)


def assert_names(finding: Finding, name: str, right: Right) -> None:
    assert finding.level == "error", right.grant
    assert f"ACL SETUSER {name} {acl.quoted(right.grant)}" in finding.todo, (right.grant, finding.todo)


def test_the_line_that_the_doctor_gives_is_what_redis_takes(console_for: Callable[..., Console], valkey: Valkey):
    needed = acl.console(Place(queues=("celery", "two words")))
    with user(valkey, "console", "+@all", "-eval", "-zadd") as url, redis.Redis.from_url(valkey.url) as client:
        console = console_for(redis_url=url, queues=("celery", "two words"))
        (finding,) = findings(console, "rights")
        line = finding.todo.partition(";")[0]
        client.execute_command(*words(line))
        assert [f.level for f in findings(console, "rights")] == ["ok"], needed


def words(line: str) -> list[str]:
    """As redis-cli reads a line."""
    found = re.findall(r'"(?:[^"\\]|\\.)*"|\S+', line)
    return [json.loads(word.replace("\\x", "\\u00")) if word[0] == '"' else word for word in found]


def test_a_command_that_was_renamed_is_named(console_for: Callable[..., Console], valkey: Valkey):
    valkey.stop()
    valkey.start_with("--rename-command", "EVAL", "")
    try:
        (finding,) = findings(console_for(), "rights")
    finally:
        valkey.stop()
        valkey.start()
    assert finding.level == "error"
    assert finding.message.startswith("Redis does not know EVAL (every change and most reads are scripts)")
    assert "rename-command" in finding.todo


def test_trying_the_rights_changes_nothing(console_for: Callable[..., Console], valkey: Valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.set("system:pause_processing", "true", ex=500)
        client.lpush("celery", "a task")
        client.hset("opsdash:pause", "*", "{}")
        before = {key: client.dump(key) for key in client.scan_iter()}
        assert [finding.level for finding in doctor.rights.console(Examined(console_for()))] == ["ok"]
        assert {key: client.dump(key) for key in client.scan_iter()} == before
        assert client.ttl("system:pause_processing") > 400


def test_a_refused_ping_does_not_keep_the_rest_from_being_looked_at(
    console_for: Callable[..., Console], valkey: Valkey
):
    with user(valkey, "console", "+@all", "~*", "&*", "-ping") as url:
        console = console_for(redis_url=url)
        assert [f.level for f in findings(console, "broker")] == ["warning"]
        assert "ACL SETUSER console +ping" in findings(console, "rights")[0].todo
        assert findings(console, "workers")


@pytest.mark.long
def test_a_wrong_password_of_the_app_is_told_without_it(
    console_for: Callable[..., Console], valkey: Valkey, app_as: Callable[[str], str]
):
    with user(valkey, "worker", "+@all", "~*", "&*") as url:
        console = console_for(celery_app=app_as(url.replace(":pw@", ":secret-guess@")))
        text = "\n".join(f"{f.check} {f.message} {f.todo}" for f in diagnose(console))
    assert "secret-guess" not in text
    assert "Redis refuses the user or password in the app's broker_url." in text
