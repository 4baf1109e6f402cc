"""``opsdash doctor`` beside servers and settings in a bad state: each is named, with what to do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from click.testing import CliRunner
from support.deployment import Deployment
from support.services import Postgres, Valkey
from support.workers import eventually, worker

import opsdash
from opsdash.cli import cli
from opsdash.config import passwords as users_module
from opsdash.config.passwords import Users
from opsdash.operations import ClearQueue, PauseProcessing
from opsdash.services import doctor
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import audit_log
from opsdash.services.doctor import Finding, diagnose

Lines = Callable[..., list[Finding]]


@pytest.fixture
def lines(console_for: Callable[..., Console]) -> Lines:
    """The findings of one check, of a console with these settings."""

    def look(check: str, console: Console | None = None, *, full: bool = False, **settings: Any) -> list[Finding]:
        found = list(diagnose(console or console_for(**settings), full=full))
        return [finding for finding in found if finding.check == check]

    return look


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.level}: {finding.message} → {finding.todo}" for finding in findings)


def report(valkey: Valkey, hostname: str, **figures: object) -> None:
    """A worker's pushed health."""
    with redis.Redis.from_url(valkey.url) as client:
        now = time.time()
        client.hset(f"opsdash:worker:{hostname}", mapping={"time": now, "loop_tick": now, "clock": now, **figures})
        client.zadd("opsdash:workers", {hostname: now})


def test_a_healthy_deployment_has_no_error(console_for, valkey: Valkey, monkeypatch, tmp_path: Path):
    (tmp_path / "healthy_app.py").write_text(
        f"from support.sample_app import make_app\napp = make_app({valkey.url!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    report(valkey, "w1@host", version=opsdash.__version__, pool="prefork")
    valkey_client = redis.Redis.from_url(valkey.url)
    valkey_client.config_set("appendonly", "yes")
    try:
        found = list(diagnose(console_for(celery_app="healthy_app:app", secret_key="k" * 32)))
    finally:
        valkey_client.config_set("appendonly", "no")
        valkey_client.close()
    assert [finding for finding in found if finding.level != "ok"] == []
    assert {finding.check for finding in found} == {
        "broker", "role", "app's broker", "rights", "worker rights",
        "version", "memory", "persistence", "layout", "priorities", "visibility timeout", "trash", "pause flags",
        "workers", "clocks", "database", "tables", "audit spool", "audit chain", "notifications", "page", "roles",
        "api",
    }  # fmt: skip
    docs = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert [f.check for f in found if not re.search(rf"^\| {f.check}\b", docs, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("settings", "level", "says"),
    [
        ({"maxmemory": "100mb", "maxmemory-policy": "noeviction"}, "ok", "maxmemory 104.9 MB, policy noeviction"),
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "error", "Redis deletes queues and pause flags"),
        ({"maxmemory": "0", "maxmemory-policy": "volatile-ttl"}, "warning", "would delete queues and pause flags"),
    ],
)
def test_a_server_that_evicts_is_named(lines: Lines, valkey: Valkey, settings: dict[str, str], level: str, says: str):
    with redis.Redis.from_url(valkey.url) as client:
        before = client.config_get("maxmemory*")
        for name, value in settings.items():
            client.config_set(name, value)
        try:
            (finding,) = lines("memory")
        finally:
            for name in settings:
                client.config_set(name, before[name])
    assert (finding.level, says in finding.message) == (level, True), said([finding])
    assert level == "ok" or finding.todo == "Set maxmemory-policy noeviction."


def test_a_server_that_a_crash_empties_is_named(lines: Lines):
    (finding,) = lines("persistence")
    assert said([finding]) == (
        "warning: No append-only file: a crash of Redis loses tasks, pauses and trash."
        " → Set appendonly yes, with appendfsync everysec."
    )


def test_a_database_that_is_not_migrated_is_named(lines: Lines, empty_database_url: str):
    engine = database.connect(empty_database_url)
    with engine.connect():  # makes a SQLite file, where it is one
        pass
    engine.dispose()
    (finding,) = lines("tables", database_url=empty_database_url)
    assert finding.level == "error"
    assert finding.todo == "Run: opsdash db upgrade"


def test_a_flag_set_by_hand_is_told_from_one_that_has_a_story(lines: Lines, console: Console, valkey: Valkey):
    console.run(PauseProcessing(queue="emails", reason="deploy"), actor="maria", confirm="YES")
    with redis.Redis.from_url(valkey.url) as client:
        client.set("system:pause_processing", "true")
    everything, emails = lines("pause flags", console)
    assert "warning: All processing is paused without an end, set outside opsdash" in said([everything])
    assert everything.todo == "opsdash resume-processing"
    assert emails.level == "ok"
    assert "Queue emails is paused by maria until" in emails.message
    assert emails.message.endswith(": deploy.")


def test_each_worker_that_can_not_pause_or_is_of_another_version_is_named(lines: Lines, valkey: Valkey):
    report(valkey, "old@host", version="0.0.1", pool="prefork")
    report(valkey, "torn@host", version=opsdash.__version__, pausing="channel.qos is missing")
    report(valkey, "stuck@host", version=opsdash.__version__, loop_tick=time.time() - 60)
    report(valkey, "silent@host", version=opsdash.__version__, time=time.time() - 60, active=2)
    report(valkey, "gone@host", version=opsdash.__version__, time=time.time() - 600)
    found = said(lines("workers"))
    assert f"warning: old@host (prefork) runs the plug-in 0.0.1, this console is {opsdash.__version__}." in found
    assert "error: torn@host () can't pause: channel.qos is missing." in found
    assert "error: stuck@host (): its event loop is blocked." in found
    assert "warning: silent@host () is silent for 1m " in found
    assert "without a shutdown notice; it ran 2 tasks." in found
    assert "warning: Ended without a shutdown notice, or cut off: gone@host." in found


def test_no_worker_at_all_is_an_error(lines: Lines):
    assert said(lines("workers")) == "error: No active workers detected. → Check the Celery deployment."


def test_a_worker_whose_clock_is_wrong_is_named(lines: Lines, valkey: Valkey):
    report(valkey, "good@host", version=opsdash.__version__)
    report(valkey, "fast@host", version=opsdash.__version__, clock=time.time() + 120)
    report(valkey, "older@host", version="0.0.1", time=time.time() + 300, clock="")
    found = lines("clocks")
    about = [(finding.level, finding.message.removeprefix("The clock of ").partition(" is ")[0]) for finding in found]
    assert about == [("ok", "this console"), ("warning", "fast@host"), ("warning", "older@host")]
    assert "fast@host is 120.0 s ahead of Redis's" in said(found)


@pytest.mark.slow
def test_a_real_worker_reports_its_own_clock(lines: Lines, deployment: Deployment):
    with worker(pool="threads", env=deployment.env) as running:
        eventually(lambda: deployment.health(running.hostname), what="the first report")
        assert "ok: 1 worker within 2 s of Redis's clock." in said(lines("clocks"))
        assert "1 worker with the plug-in" in said(lines("workers"))


def test_the_clock_of_the_database_is_compared(lines: Lines, postgres_url: str):
    assert "ok: The clock of the database is 0.0 s from this console's." in said(
        lines("clocks", database_url=postgres_url)
    )


def test_an_outbox_that_is_not_empty_is_named(lines: Lines, console_for, postgres: Postgres, postgres_url: str):
    console = console_for(database_url=postgres_url)
    postgres.kill()
    console.run(PauseProcessing(), actor="maria", confirm="YES")
    postgres.restore()
    (finding,) = lines("audit spool", console)
    assert said([finding]).startswith("warning: 2 steps of the audit log wait in Redis.")


def test_an_entry_that_was_changed_is_named_among_the_newest_and_in_full(lines: Lines, console: Console):
    for _ in range(3):
        console.run(PauseProcessing(), actor="maria", confirm="YES")
    assert lines("audit chain", console)[0].message == "Whole: the newest 3 entries; --full checks all."
    assert lines("audit chain", console, full=True)[0].message == "Whole: all 3 entries."
    with console.engine.begin() as connection:
        connection.execute(sa.update(audit_log).where(audit_log.c.seq == 2).values(user="nobody"))
    assert "NOT whole: entry 2 was changed" in said(lines("audit chain", console))
    assert "NOT whole: Changed: entry 2" in said(lines("audit chain", console, full=True))


def test_an_entry_that_was_removed_is_named(lines: Lines, console: Console):
    for _ in range(4):
        console.run(PauseProcessing(), actor="maria", confirm="YES")
    with console.engine.begin() as connection:
        connection.execute(sa.delete(audit_log).where(audit_log.c.seq == 2))
    assert "an entry before 3 was removed" in said(lines("audit chain", console))
    with console.engine.begin() as connection:
        connection.execute(sa.delete(audit_log).where(audit_log.c.seq == 4))
    assert "the head is not the newest entry's" in said(lines("audit chain", console))


def test_messages_that_opsdash_does_not_look_at_are_named(lines: Lines, valkey: Valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.lpush("celery\x06\x165", "a message of an application with steps of its own")
    (finding,) = lines("priorities")
    assert (finding.level, "celery at 5" in finding.message) == ("error", True)
    assert "OPSDASH_CELERY_APP" in finding.todo


def test_an_eta_beyond_the_visibility_timeout_is_named(lines: Lines, valkey: Valkey):
    def hold(number: int, seconds: int) -> None:
        eta = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        entry = json.dumps([{"headers": {"eta": eta}, "body": ""}, "", "celery"])
        with redis.Redis.from_url(valkey.url) as client:
            client.hset("unacked", f"tag-{number}", entry)

    hold(1, 600)
    assert lines("visibility timeout")[0].level == "ok"
    hold(2, 7_200)
    (finding,) = lines("visibility timeout")
    assert finding.level == "error"
    assert "is delivered again and runs twice" in finding.message
    assert "among 2 messages that workers hold" in finding.message


def test_the_size_of_the_trash_is_told(lines: Lines, console: Console, valkey: Valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.lpush("celery", *["x" * 1_000] * 50)
    console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES")
    assert lines("trash", console)[0].message.startswith("50 tasks of 1 clear can be restored, about 5")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"auth": None}, "warning: Closed: OPSDASH_AUTH is not set."),
        (
            {"auth": "header", "admins": ("maria",)},
            "ok: Signed sessions; the proxy's X-Auth-Request-User says who it is.",
        ),
    ],
)
def test_who_may_open_the_page_is_told(lines: Lines, settings: dict[str, Any], says: str):
    assert says in said(lines("page", **settings))


def test_a_proxy_without_a_key_or_without_roles_is_an_error(lines: Lines, postgres_url: str):
    settings = {"auth": "header", "secret_key": None, "database_url": postgres_url}
    assert "error: Behind a proxy, and sessions can't be signed" in said(lines("page", **settings))
    assert "error: No list gives a user a role" in said(lines("roles", **settings))
    assert "warning: New entries are written without a key" in said(lines("audit chain", **settings))


PROVIDER = {"PANEL_OAUTH_PROVIDER": "github", "PANEL_OAUTH_KEY": "key", "PANEL_OAUTH_SECRET": "secret"}


def every_line(lines: Lines, **settings: Any) -> str:
    return "\n".join(said(lines(check, **settings)) for check in ("page", "proxy", "provider", "roles"))


def test_users_of_a_file_are_told_as_such_and_nothing_is_said_of_a_proxy(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(users_module, "N", 32)
    file = Users(tmp_path / "users")
    basic = {"auth": "basic", "users_file": str(file.path), "operators": ("maria", "group:sre")}
    assert f"error: No user can sign in: {file.path} names no user. → Add a user: opsdash user add" in every_line(
        lines, **basic
    )
    file.put("joe", "correct horse battery")
    assert "error: No user of the users file has a role" in every_line(lines, **basic)
    file.put("maria", "correct horse battery")
    found = every_line(lines, **basic)
    assert f"ok: Signed sessions; 2 users of {file.path} may sign in" in found
    assert "warning: 1 user may sign in and then see nothing: joe." in found
    file.remove("joe")
    found = every_line(lines, **basic)
    assert "warning" not in found
    assert "proxy" not in found
    assert "X-Auth" not in found
    file.path.chmod(0o644)
    assert "error: No user can sign in: the users file can't be used." in every_line(lines, **basic)


def test_a_provider_is_told_as_such_and_what_it_lacks_is_an_error(lines: Lines, monkeypatch: pytest.MonkeyPatch):
    oauth = {"auth": "oauth", "operators": ("maria@example.org",)}
    for name in PROVIDER:
        monkeypatch.delenv(name, raising=False)
    assert "error: No user can sign in: PANEL_OAUTH_PROVIDER and PANEL_OAUTH_KEY and" in every_line(lines, **oauth)
    for name, value in PROVIDER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PANEL_OAUTH_ENCRYPTION", raising=False)
    assert "warning: The provider's tokens are in cookies" in every_line(lines, **oauth)
    monkeypatch.setenv("PANEL_OAUTH_ENCRYPTION", "x" * 32)
    found = every_line(lines, **oauth)
    assert "ok: Signed sessions; Panel's OAuth provider 'github' says who it is." in found
    assert "warning" not in found
    assert "proxy" not in found
    everybody = every_line(lines, **oauth, viewers=("*",))
    assert "warning: Every user with an account at github is viewer" in everybody
    assert "secret" not in everybody


@pytest.mark.parametrize("auth", ["header", "basic", "oauth"])
def test_without_lists_nobody_who_signs_in_has_a_role_and_that_is_an_error(lines: Lines, auth: str):
    assert "error: No list gives a user a role" in said(lines("roles", auth=auth))


@pytest.mark.parametrize("auth", [None, "dev"])
def test_without_lists_whoever_holds_the_credentials_is_admin_where_nobody_signs_in(lines: Lines, auth: str | None):
    assert said(lines("roles", auth=auth)).startswith("ok: No lists: a user whose shell has the credentials is admin")


@pytest.mark.parametrize("auth", [None, "dev", "header"])
def test_a_roles_file_that_names_nobody_is_an_error(lines: Lines, auth: str | None, tmp_path: Path):
    (tmp_path / "roles").write_text("# soon\n")
    given = {"auth": auth, "roles_file": str(tmp_path / "roles")}
    assert "error: No user has a role, on the page and on the command line" in said(lines("roles", **given))
    (tmp_path / "roles").write_text("admins: ann\n")
    assert said(lines("roles", **given)).startswith("ok: 1 admin, 0 operators, 0 viewers named.")


def test_a_check_that_breaks_is_a_line_and_not_a_traceback(console: Console, monkeypatch):
    def broken(_patient: object) -> list[Finding]:
        """Weather: is it fine."""
        raise KeyError("sun")

    monkeypatch.setattr(doctor.auth, "CHECKS", (broken,))
    found = list(diagnose(console))
    assert found[-1].check == "weather"
    assert found[-1].message == "The check itself broke: KeyError: 'sun'"


def test_while_redis_is_away_the_rest_is_still_looked_at(console: Console, valkey: Valkey):
    valkey.kill()
    found = list(diagnose(console))
    assert found[0].unreachable
    assert [f.check for f in found if f.check in {"memory", "workers"}] == []
    assert {"database", "tables", "audit chain", "page"} <= {f.check for f in found}
    (spool,) = (f for f in found if f.check == "audit spool")
    assert (spool.level, spool.message) == ("warning", "Not known: it is in Redis.")


def test_the_command_prints_each_line_or_json_and_its_exit_code_is_the_worst(settings_for, valkey: Valkey, monkeypatch):
    settings = settings_for()
    monkeypatch.setenv("OPSDASH_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("OPSDASH_AUTH", "dev")
    plain = CliRunner().invoke(cli, ["doctor"])
    assert plain.exit_code == 2  # no worker
    assert "error workers: No active workers detected." in plain.output
    assert "   → Check the Celery deployment." in plain.output
    report(valkey, "w1@host", version=opsdash.__version__, pool="prefork")
    answer = CliRunner().invoke(cli, ["doctor", "--json"])
    assert (answer.exit_code, json.loads(answer.stdout)["worst"]) == (0, "warning")
    valkey.kill()
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 4
