"""What the doctor finds in each state of servers and settings, how bad it is, and what to do, word for word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from support.desk import Desk
from support.messages import fetched, message

import opsdash
from opsdash.config.passwords import Users
from opsdash.config.settings import Settings
from opsdash.errors import Unavailable
from opsdash.model import Role
from opsdash.services.audit import chain_head
from opsdash.services.audit.outbox import Outbox
from opsdash.services.database import migrations
from opsdash.services.doctor import address, auth, broker, database, rights, workers
from opsdash.services.doctor.finding import Examined, Finding, skew
from opsdash.services.queues.trash import TrashEntry

USED = {"used_memory": 100_000_000, "maxmemory_policy": "noeviction"}


def told(desk: Desk, findings: Iterable[Finding]) -> None:
    """One line each, and below it what to do."""
    for one in findings:
        away = " (does not answer)" if one.unreachable else ""
        desk.said.append(f"  {one.level} {one.check}{away}: {one.message}")
        desk.said += [f"    → {one.todo}"] if one.todo else []


def examined(desk: Desk, **settings: Any) -> Examined:
    """The desk's console, or one with other settings."""
    given = Settings.from_env({}, **settings) if settings else desk.console.settings
    return Examined(SimpleNamespace(settings=given) if settings else desk.console)


def of_server(desk: Desk, check: Callable[[Examined], Iterable[Finding]], *states: Mapping[str, Any]) -> None:
    """What a check says of servers that describe themselves so."""
    for info in states:
        patient = examined(desk)
        vars(patient)["info"] = info
        told(desk, check(patient))


def test_a_server_is_known_by_what_it_says_of_itself(desk: Desk) -> None:
    of_server(
        desk,
        broker.version,
        {"redis_version": "6.2.0"},
        {"redis_version": "6.1.99"},
        {"redis_version": "5.9.1"},
        {"redis_version": "8.0"},
        {"redis_version": "7.2.4", "valkey_version": "8.1.0"},
        {"redis_version": "5.0", "server_name": "valkey"},
        {},
    )
    desk.note("memory")
    of_server(
        desk,
        broker.memory,
        USED,
        {**USED, "maxmemory": 111_000_000},
        {**USED, "maxmemory": 112_000_000},
        {"used_memory": 5, "maxmemory_policy": "allkeys-lru"},
        {"used_memory": 5, "maxmemory_policy": "allkeys-lru", "maxmemory": 10},
        {},
    )
    desk.note("persistence")
    of_server(
        desk,
        broker.persistence,
        {"aof_enabled": 1},
        {"aof_enabled": 1, "aof_last_write_status": "err"},
        {"aof_enabled": 0},
        {"rdb_last_bgsave_status": "err"},
        {"rdb_last_bgsave_status": "ok"},
    )
    desk.note("role")
    replica = {"role": "slave", "master_host": "db1", "master_port": 6_380}
    of_server(desk, address.role, {}, {"cluster_enabled": 1}, replica, {"role": "slave"}, {"role": "master"})


def test_who_signs_in_and_who_has_a_role(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "users"
    key = {"secret_key": "k" * 32}
    behind = {"auth": "header", **key, "user_header": "X-User"}

    def page(**settings: Any) -> None:
        told(desk, auth.page(examined(desk, **settings)))

    page(redis_url="redis://a")
    page(auth="dev")
    page(auth="header", secret_key="")
    page(auth="basic", secret_key="", users_file=str(file))
    page(**behind)
    basic = {"auth": "basic", **key, "users_file": str(file)}
    page(**basic)
    file.write_text("nonsense")
    page(**basic)
    file.unlink()
    for name in ("ann", "bob", "eve", "may", "tom", "zoe"):
        Users(str(file)).put(name, "a long pass word")
        if name in ("ann", "zoe"):
            page(**basic)
    desk.note("oauth")
    for name in ("PROVIDER", "KEY", "SECRET", "ENCRYPTION"):
        monkeypatch.delenv(f"PANEL_OAUTH_{name}", raising=False)
    page(auth="oauth", **key)
    monkeypatch.setenv("PANEL_OAUTH_PROVIDER", "GitHub")
    monkeypatch.setenv("PANEL_OAUTH_KEY", "id")
    page(auth="oauth", **key)
    monkeypatch.setenv("PANEL_OAUTH_SECRET", "hush")
    page(auth="oauth", **key, operators=("*",), viewers=("*",))
    monkeypatch.setenv("PANEL_OAUTH_ENCRYPTION", "yes")
    page(auth="oauth", **key, operators=("ann",))
    monkeypatch.setenv("PANEL_OAUTH_PROVIDER", "okta")
    page(auth="oauth", **key, operators=("*",))
    desk.note("roles")

    def roles(**settings: Any) -> None:
        told(desk, auth.roles(examined(desk, **settings)))

    roles(redis_url="redis://a")
    roles(auth="dev")
    roles(auth="header", **key)
    roles(auth="header", **key, admins=("*",))
    roles(auth="header", **key, admins=("ann",), operators=("bob", "eve"), viewers=("*",))
    empty = tmp_path / "roles"
    empty.write_text("viewers:\n")
    roles(auth="header", **key, roles_file=str(empty))
    empty.write_text("viewers: ann bob\nadmins: ann\n")
    roles(auth="header", **key, roles_file=str(empty), admins=("ann",))
    roles(**basic, admins=("nobody",))
    roles(**basic, admins=("ann", "bob", "eve", "may", "tom", "zoe"))
    roles(**basic, admins=("ann",))
    Users(str(file)).put("una", "a long pass word")
    roles(**basic, admins=("ann",))
    roles(**{**basic, "users_file": str(tmp_path / "roles")}, admins=("ann",))
    desk.note("api")
    tokens = [SimpleNamespace(name="deploy", role=Role.OPERATOR), SimpleNamespace(name="see", role=Role.VIEWER)]
    with_tokens = SimpleNamespace(api_tokens=tokens)
    told(desk, auth.api(examined(desk, redis_url="redis://a")))
    told(desk, auth.api(Examined(SimpleNamespace(settings=with_tokens))))
    desk.said = [line.replace(str(tmp_path), "FOLDER") for line in desk.said]


def test_what_is_paused_and_what_trash_takes(desk: Desk) -> None:
    told(desk, broker.flags(examined(desk)))
    desk.services.pause.pause(None, by="maria", reason="fire", ttl_s=60)
    desk.services.pause.pause("celery", by="maria", reason="", ttl_s=None)
    desk.client.set(desk.broker.keys.pause("emails"), "1")
    told(desk, broker.flags(examined(desk)))
    desk.services.pause.pause(None, by="maria", reason="", ttl_s=60)
    told(desk, broker.flags(examined(desk)))
    desk.note("trash")
    for size, used in ((None, 0), (10_000_001, 40_000_000), (10_000_001, 41_000_000), (10_000_000, 1)):
        entries = [TrashEntry(id="a", queue="celery", count=1_200, size_bytes=size)]
        patient = Examined(SimpleNamespace(trash=SimpleNamespace(list=lambda entries=entries: entries)))
        vars(patient)["info"] = {"used_memory": used}
        told(desk, broker.trash(patient))


def test_messages_that_wait_where_nobody_looks_are_found(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for()
    told(desk, broker.priorities(examined(desk)))
    desk.client.lpush("emails\x06\x165", "x")
    told(desk, broker.priorities(examined(desk)))
    desk.client.delete("emails\x06\x165")
    known = desk_for(priority_steps=(0, 5), separator=":")
    told(known, broker.priorities(examined(known)))
    for step in (3, 6, 9):
        for queue in ("celery", "emails"):
            known.client.lpush(f"{queue}:{step}", "x")
    told(known, broker.priorities(examined(known)))


def test_an_eta_beyond_the_visibility_timeout_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def visibility(options: Mapping[str, Any] | None = None) -> None:
        patient = examined(desk)
        if options is not None:
            vars(patient)["app"] = SimpleNamespace(conf=SimpleNamespace(broker_transport_options=options))
        told(desk, broker.visibility(patient))

    visibility()
    visibility({"visibility_timeout": 7_200})
    visibility({})
    eta = datetime.now(UTC) + timedelta(seconds=1_830)
    texts = [message("later", eta=eta.isoformat()), message("now"), message("odd", eta="whenever")]
    for at, text in enumerate(texts):
        desk.client.hset(desk.broker.unacked, str(at), fetched(text))
    desk.client.hset(desk.broker.unacked, "x", "[]")
    visibility()
    visibility({"visibility_timeout": 60})
    far = datetime.now(UTC) + timedelta(seconds=7_230)
    desk.client.hset(desk.broker.unacked, "far", fetched(message("far", eta=far.isoformat())))
    visibility()
    monkeypatch.setattr(broker, "LOOKED_AT", 1)
    desk.client.hset(desk.broker.unacked, mapping={f"m{at}": fetched(message(f"m{at}")) for at in range(600)})
    found = list(broker.visibility(examined(desk)))
    assert "among the first " in found[0].message
    desk.client.delete(desk.broker.unacked)
    desk.client.set(desk.broker.unacked, "foreign")
    visibility()


def test_what_workers_report_of_themselves(desk: Desk) -> None:
    told(desk, workers.plugin(examined(desk)))
    told(desk, workers.prefetch(examined(desk)))
    told(desk, workers.expiring(examined(desk)))
    fine = {"version": opsdash.__version__}
    for at in range(11):
        desk.worker(f"w{at:02}@h", **fine)
    desk.worker("old@h", version="0.0.1")
    desk.worker("odd@h", version="")
    desk.worker("cant@h", pausing="Redis refuses the script", **fine)
    desk.worker("silent@h", silent_s=60, active=1, **fine)
    desk.unmanaged("free@h")
    told(desk, workers.plugin(examined(desk)))
    desk.fleet.others = None
    told(desk, list(workers.plugin(examined(desk)))[-1:])
    desk.said = [line.replace(opsdash.__version__, "VERSION") for line in desk.said]
    desk.note("prefetch")
    desk.client.flushdb()
    for at, limit in enumerate((4, 40, 41, 0)):
        desk.worker(f"w{at}@h", prefetch=limit)
    desk.worker("none@h", disable_prefetch=1, prefetch=0)
    desk.worker("odd@h", prefetch="many")
    told(desk, workers.prefetch(examined(desk)))
    desk.note("queues that expire")
    desk.worker("a@h", expires_ms=json.dumps({"emails": 60_000, "celery": 0}))
    desk.worker("b@h", expires_ms="nonsense")
    told(desk, workers.expiring(examined(desk)))
    desk.worker("a@h", expires_ms=json.dumps({f"q{at:02}": 1_000 for at in range(12)}))
    told(desk, workers.expiring(examined(desk)))
    patient = examined(desk)
    queue = SimpleNamespace(name="news", queue_arguments={"x-expires": 5_000}, expires=None)
    other = SimpleNamespace(name="mail", queue_arguments=None, expires=7)
    never = SimpleNamespace(name="never", queue_arguments={}, expires=None)
    queues = {one.name: one for one in (queue, other, never)}
    vars(patient)["app"] = SimpleNamespace(amqp=SimpleNamespace(queues=queues))
    desk.client.delete(desk.broker.keys.workers)
    told(desk, workers.expiring(patient))


def test_names_clocks_and_remote_control_of_workers(desk: Desk) -> None:
    told(desk, workers.names(examined(desk)))
    told(desk, workers.unmanaged(examined(desk)))
    for record, pid in (("twin@h", 7), ("twin@h #8", 8)):
        desk.worker(record, pid=pid)
    told(desk, workers.names(examined(desk)))
    for at in range(11):
        desk.worker(f"off{at:02}@h", remote_control=0)
    told(desk, workers.unmanaged(examined(desk)))
    for seconds in (2.0, -2.0, 2.04, -3_600.0, 3_600.0):
        told(desk, [skew("w1@h", "Redis", seconds)])


def test_the_database_and_the_audit_log(desk_for: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    desk, newest = desk_for(secret_key="k" * 32), migrations.head()
    told(desk, database.migrated(examined(desk)))
    told(desk, database.clock(examined(desk)))
    for found, newer in ((None, False), ("0001", False), ("9999", True)):
        monkeypatch.setattr(migrations, "revision", lambda _engine, found=found: found)
        monkeypatch.setattr(migrations, "is_newer", lambda _found, newer=newer: newer)
        told(desk, database.migrated(examined(desk)))
    desk.note("the outbox")
    told(desk, database.outbox(examined(desk)))
    monkeypatch.setattr(Outbox, "count", lambda _self: 3)
    told(desk, database.outbox(examined(desk)))

    def away(_self: Outbox) -> int:
        raise Unavailable("Redis is away.")

    monkeypatch.setattr(Outbox, "count", away)
    told(desk, database.outbox(examined(desk)))
    strict = desk_for(audit="strict", secret_key="")
    told(desk, database.outbox(examined(strict)))
    desk.note("the chain")
    desk.console.run(opsdash.AddNote(text="one"), actor="maria", confirm="YES")
    told(desk, database.chain(examined(desk)))
    told(desk, database.chain(Examined(desk.console, full=True)))
    monkeypatch.setattr(chain_head, "problems", lambda *_args: (7, ["a is missing", "b is odd", "c", "d"]))
    monkeypatch.setattr(chain_head, "unkeyed_through", lambda *_args: 1_200)
    told(desk, database.chain(examined(desk)))
    told(desk, database.chain(examined(strict)))
    monkeypatch.setattr(migrations, "head", lambda: "0009")
    told(desk, database.migrated(examined(desk)))
    desk.said = [line.replace(newest, "HEAD") for line in desk.said]


def test_rights_that_a_user_of_redis_lacks(desk: Desk) -> None:
    told(desk, rights.console(examined(desk)))
    desk.client.execute_command("ACL", "SETUSER", "poor", "on", ">secret", "~celery", "+@all", "-del", "-eval")
    try:
        settings = desk.client.connection_pool.connection_kwargs
        poor = redis.Redis(**{**{n: settings[n] for n in ("host", "port")}, "username": "poor", "password": "secret"})
        needed = rights.acl.console(rights.place(examined(desk)))
        told(desk, list(rights._findings("rights", "opsdash", poor, needed))[:1])
        poor.close()
    finally:
        desk.client.execute_command("ACL", "DELUSER", "poor")
