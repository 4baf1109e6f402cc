"""Answers the commands of the worker's container, and who may speak to it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.services import until

from opsdash.worker import alive, drain, local_client
from opsdash.worker.local_server import LocalServer

NAME = "celery@pod"


class Told:
    """Stands in for a worker behind a door."""

    def __init__(self) -> None:
        self.drained: list[bool] = []
        self.facts: dict[str, Any] = {"hostname": NAME, "pausing": "ready", "drained": True, "connected": True}
        self.instance = secrets.token_hex(8)
        self.door = LocalServer(self.instance, lambda: self.facts, self.drained.append)

    @property
    def place(self) -> local_client.Place:
        (place,) = (place for place in local_client.places() if place.name.endswith(self.instance))
        return place


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    made = Told()
    monkeypatch.setattr(local_client, "places", _only(made.instance))
    yield made
    made.door.close()


def _only(*instances: str) -> Callable[[], list[local_client.Place]]:
    """Other tests' workers run on this machine, too."""
    places = local_client.places
    return lambda: [place for place in places() if place.name.rpartition("/")[2] in instances]


def test_a_worker_is_seen_to_start_before_it_answers(told: Told, capsys: pytest.CaptureFixture[str]):
    assert not told.place.listening
    assert alive.main([]) == 0
    assert "starts, and is not connected to its broker yet" in capsys.readouterr().out
    told.door.open()
    assert told.place.listening
    assert local_client.send_command(told.place, "status") == told.facts
    told.door.close()
    assert until(lambda: not local_client.places(), timeout_s=5)


def test_a_worker_that_never_reaches_its_broker_is_not_waited_for(
    told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(drain, "START_S", 0.3)
    assert drain.main(["--timeout", "1h"]) == 5
    assert "is not connected to its broker yet" in capsys.readouterr().err


def test_a_drain_that_nobody_follows_ends_by_itself(told: Told):
    told.door.open()
    local_client.send_command(told.place, "drain 0.3")
    assert told.drained == [True]
    assert until(lambda: told.drained == [True, False], timeout_s=5)
    local_client.send_command(told.place, "drain nan")
    assert until(lambda: told.drained == [True, False, True, False], timeout_s=5)


def test_a_drain_that_was_a_mistake_is_taken_back_at_once(told: Told, capsys: pytest.CaptureFixture[str]):
    told.door.open()
    assert drain.main([]) == 0
    assert drain.main(["--release"]) == 0
    assert told.drained == [True, False]
    assert f"{NAME} takes tasks again." in capsys.readouterr().out


def test_whatever_is_said_to_a_door_it_goes_on_answering(told: Told):
    told.door.open()
    for words in (b"\xff\n", b"drain\n", b"drain soon\n", b"a b c d\n", b"x" * 100_000, b""):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"\0{told.place.name}")
            connection.sendall(words)
    told.facts = {"not": {1, 2}}
    with pytest.raises(local_client.Silent):
        local_client.send_command(told.place, "status")
    told.facts = {"hostname": NAME}
    assert local_client.send_command(told.place, "status") == told.facts
    assert set(told.drained) <= {True, False}


def test_another_users_worker_is_not_spoken_to(
    told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    told.door.open()
    monkeypatch.setattr(local_client.os, "geteuid", lambda: os.getuid() + 12_345)
    assert drain.main([]) == 5
    assert f"runs as user {os.getuid()}" in capsys.readouterr().err
    assert told.drained == []


def test_a_command_without_a_worker_that_has_the_plugin_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(local_client, "SOCKETS", os.devnull)
    assert drain.main([]) == 5
    assert "start it with -I opsdash.worker.auto" in capsys.readouterr().err
    assert alive.main([]) == 5


def test_of_several_workers_one_has_to_be_named(
    told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.undo()
    other = Told()
    other.facts = other.facts | {"hostname": "other@pod"}
    monkeypatch.setattr(local_client, "places", _only(told.instance, other.instance))
    told.door.open()
    other.door.open()
    assert drain.main([]) == 2
    assert "several workers run here" in capsys.readouterr().err
    assert drain.main(["--name", "nobody@pod"]) == 2
    assert told.drained == other.drained == []
    assert drain.main(["--name", NAME]) == 0
    assert (told.drained, other.drained) == ([True], [])
    assert drain.main(["--all"]) == 0
    assert (told.drained, other.drained) == ([True, True], [True])
    other.door.close()


@pytest.mark.parametrize("arguments", [["--timeout", "soon"], ["--timeout", "0"], ["--timeout", "2d"], ["--names"]])
def test_wrong_usage_of_drain_changes_nothing(told: Told, arguments: list[str]):
    told.door.open()
    with pytest.raises(SystemExit) as ended:
        drain.main(arguments)
    assert ended.value.code == 2
    assert told.drained == []


def test_a_worker_that_cannot_be_held_is_not_waited_for(told: Told, capsys: pytest.CaptureFixture[str]):
    told.facts = told.facts | {"pausing": "this version of Celery has no hub", "drained": False}
    told.door.open()
    assert drain.main(["--timeout", "1h"]) == 5
    assert "can't be drained: this version of Celery has no hub" in capsys.readouterr().err


def test_what_a_worker_still_holds_is_told_when_the_time_is_over(told: Told, capsys: pytest.CaptureFixture[str]):
    told.facts = told.facts | {"drained": False, "active": 2, "scheduled": 1}
    told.door.open()
    assert drain.main(["--timeout", "1s"]) == 5
    assert f"{NAME} is not drained after 1s: has 2 running, 1 scheduled" in capsys.readouterr().err


def test_a_probe_is_not_more_impatient_than_an_outage_of_the_broker_allows(told: Told):
    told.door.open()
    assert alive.main(["--within", "5s"]) == 2
    told.facts = told.facts | {"tick_s": 0.0, "turned_s": 0.0, "failed_s": None}
    assert alive.main(["--within", "30s"]) == 0


@pytest.mark.parametrize(
    ("facts", "lives"),
    [
        ({}, True),
        ({"tick_s": 61.0}, False),
        ({"tick_s": 61.0, "failed_s": 59.0}, True),
        ({"tick_s": 61.0, "failed_s": 61.0}, False),
        ({"tick_s": 61.0, "connected": False}, False),
        ({"tick_s": 61.0, "stopping": True}, True),
        ({"tick_s": 61.0, "pool": "solo", "active": 1}, True),
        ({"tick_s": 61.0, "pool": "prefork", "active": 1}, False),
        ({"turned_s": 61.0}, False),
        ({"turned_s": 61.0, "failed_s": 30.0}, True),
        ({"tick_s": "x"}, False),
        ({"turned_s": None}, False),
    ],
)
def test_a_worker_lives_while_nothing_but_its_broker_keeps_it(facts: dict[str, Any], lives: bool):
    plain = {"tick_s": 1.0, "turned_s": 1.0, "failed_s": None, "pool": "prefork", "active": 0, "connected": True}
    assert alive.verdict(plain | facts, 60)[0] is lives


def test_a_child_does_not_keep_its_parents_door_open():
    script = (
        "import os, sys, time\n"
        "from opsdash.worker import local_client as local\n"
        "from opsdash.worker.local_server import LocalServer\n"
        "door = LocalServer('0123456789abcdef', dict, print)\n"
        "door.open()\n"
        "if os.fork():\n"
        "    os.kill(os.getpid(), 9)\n"
        "while [p for p in local.places() if p.pid == os.getppid()]: time.sleep(0.01)\n"
        "print(len([p for p in local.places() if p.name.endswith('0123456789abcdef')]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout == "0\n", ended.stderr
