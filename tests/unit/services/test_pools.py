"""What workers answer of their pools, whatever it is; and their words when they refuse."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.errors import Refused, Unavailable, Uncertain
from opsdash.operations import chosen_workers
from opsdash.services.workers import pools, remote_control, time_limits
from opsdash.services.workers.pools import Chosen, Left, Pool, Pools
from opsdash.services.workers.remote_control import Answers
from opsdash.services.workers.time_limits import Limits

PREFORK = {"pid": 7, "uptime": 60, "pool": {"implementation": "celery.concurrency.prefork:TaskPool"}}


def read(answer: Any) -> Pool:
    """A worker's answer to ``stats``, as a pool."""
    remote: Any = SimpleNamespace(
        ask=lambda _question, _hosts: {"a@h": answer}, unmanaged=SimpleNamespace(known=lambda: ())
    )
    (pool,) = Pools(remote).read(["a@h", "silent@h"])
    return pool


def test_a_worker_with_the_plug_in_tells_its_size_and_one_without_counts_its_processes() -> None:
    ours = {"opsdash": {"concurrency": 5, "active": 2, "pool_restarts": True}}
    pool = read(PREFORK | ours)
    assert (pool.kind, pool.size, pool.active, pool.restarts, pool.fixed) == ("prefork", 5, 2, True, "")
    stock = read({"pool": {**PREFORK["pool"], "processes": [1, 2, 3], "max-concurrency": 8}})
    assert (stock.size, stock.has_plugin, stock.active) == (3, False, None)
    assert read({"pool": {"implementation": "celery.concurrency.thread:TaskPool"}}).kind == "threads"
    scaled = read(PREFORK | ours | {"autoscaler": {"max": 8, "min": 2}})
    assert scaled.fixed == "it autoscales between 2 and 8: opsdash autoscale changes that"


@pytest.mark.parametrize("nonsense", [None, 7, "x", [], {"pool": 3}, {"pool": {"processes": "many"}, "opsdash": []}])
def test_an_answer_that_is_none_is_a_pool_of_which_nothing_is_known(nonsense: Any) -> None:
    pool = read(nonsense)
    assert (pool.size, pool.restarts, pool.autoscale) == (None, None, None)
    assert pool.fixed == "it does not say how large its pool is"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"error": "ValueError('Autoscale not enabled')"}, "Autoscale not enabled"),
        ({"error": 'ValueError("Can\'t shrink pool.")'}, "Can't shrink pool."),
        ({"error": "unknown task"}, "unknown task"),
        (
            {"error": "AttributeError(\"'TaskPool' object has no attribute 'grow'\")"},
            "'TaskPool' object has no attribute 'grow'",
        ),
        ({}, "{}"),
        ({"error": 7}, "7"),
    ],
)
def test_a_worker_that_refuses_is_quoted(said: dict[str, Any], words: str) -> None:
    assert remote_control._why(said) == words


def test_who_did_it_who_refused_and_who_was_silent_are_counted_apart() -> None:
    chosen = Chosen(pools=(Pool(hostname="a"), Pool(hostname="b"), Pool(hostname="c")), silent=("d",))
    answers = Answers(confirmed=("a",), failed={"b": "no"}, silent=("c",))
    effect = chosen_workers.effect(answers, chosen, {"e": "it can't"}, {"a": "done"})
    assert (effect.affected, effect.ok) == (1, False)
    assert effect.message == (
        "a: done. b refused: no. e: it can't. No answer from c: they may still do it. No command sent to d: no answer."
    )
    assert effect.details["failed"] == {"b": "no"}
    with pytest.raises(Refused, match="b refused: no"):
        chosen_workers.effect(Answers(confirmed=(), failed={"b": "no"}, silent=()), chosen, {}, {})
    with pytest.raises(Uncertain, match="did not answer the command"):
        chosen_workers.effect(Answers(confirmed=(), failed={}, silent=("c",)), chosen, {}, {})


def resize(told: Answers, size_after: int | Unavailable) -> tuple[Answers, dict[str, int | None]]:
    """What comes of two workers whose pools of two are to have five slots."""

    def ask(_question: str, hosts: Any) -> dict[str, Any]:
        if isinstance(size_after, Unavailable):
            raise size_after
        ours = {"opsdash": {"concurrency": size_after, "active": 0, "pool_restarts": False}}
        return dict.fromkeys(hosts, PREFORK | ours)

    nobody = Answers(confirmed=(), failed={}, silent=())
    remote: Any = SimpleNamespace(
        ask=ask,
        tell=lambda _command, arguments: told if arguments else nobody,
        unmanaged=SimpleNamespace(known=lambda: ()),
    )
    two = [Pool(hostname=name, kind="prefork", size=2, restarts=True) for name in "ab"]
    return Pools(remote).resize(two, 5)


def test_a_pool_whose_new_size_can_not_be_read_was_resized_where_its_worker_has_confirmed() -> None:
    answers, after = resize(Answers(confirmed=("a", "b"), failed={}, silent=()), Unavailable("Redis is gone."))
    assert (answers.confirmed, after) == (("a", "b"), {"a": None, "b": None})


def test_a_worker_that_answers_late_and_has_the_new_size_is_no_silent_one() -> None:
    answers, after = resize(Answers(confirmed=("a",), failed={}, silent=("b",)), 5)
    assert (answers.confirmed, answers.silent, after) == (("a", "b"), (), {"a": 5, "b": 5})


def test_a_worker_that_confirms_and_stays_as_it_was_has_not_done_it() -> None:
    answers, _ = resize(Answers(confirmed=("a", "b"), failed={}, silent=()), 2)
    assert (answers.confirmed, answers.failed["a"]) == ((), "it confirmed, and has 2 slots")


Rounds = list[dict[str, bool]]
"""Who reports, at one look after the other, and whether it says that it takes no more tasks."""


@pytest.fixture
def shut_down(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Left]:
    """Shuts workers down that report and answer as the test says; its clock runs a second with each question."""

    def run(reports: Rounds, answering: list[set[str]], servers: Sequence[str] = ("one", "one")) -> Left:
        rounds, answers, server, now_s = iter(reports), iter(answering), iter(servers), itertools.count()
        last: list[dict[str, bool]] = []

        def look(_: Pools) -> list[Any]:
            last.append(next(rounds, last[-1] if last else {}))
            return [
                SimpleNamespace(hostname=host, instance=host, draining=draining, active=1)
                for host, draining in last[-1].items()
            ]

        monkeypatch.setattr(Pools, "_reports", look)
        monkeypatch.setattr(Pools, "_server", lambda _: next(server))
        monkeypatch.setattr(Pools, "_restarted", lambda *_: False)
        monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=lambda: next(now_s), sleep=lambda _s: None))

        def ask(_question: str, hosts: Collection[str]) -> dict[str, Any]:
            return dict.fromkeys(next(answers, set()) & set(hosts), "pong")

        remote: Any = SimpleNamespace(ask=ask, tell=lambda *_, **__: None)
        return Pools(remote).shut_down([Pool(hostname=host) for host in "ab"])

    return run


def test_a_worker_that_says_it_takes_no_more_tasks_ends_when_they_have_ended(shut_down: Callable[..., Left]) -> None:
    left = shut_down([{"a": False, "b": False}, {"a": False}, {"a": True}], [])
    assert (left.finishing, left.gone, left.there, left.unsure) == ({"a": 1}, ("b",), (), ())


def test_a_worker_whose_connection_was_cut_is_asked_again_when_it_is_back(shut_down: Callable[..., Left]) -> None:
    left = shut_down([{"a": False, "b": False}, {"a": False, "b": True}], [set(), set(), {"a"}])
    assert (left.there, left.finishing) == (("a",), {"b": 1})


def test_of_a_worker_that_neither_answers_nor_says_that_it_ends_nothing_is_claimed(
    shut_down: Callable[..., Left],
) -> None:
    left = shut_down([{"a": False, "b": True}, {"a": False, "b": True}], [])
    assert (left.unsure, left.there, left.finishing, left.gone) == (("a", "b"), (), {}, ()), "b was drained before"


def test_after_a_restart_of_redis_nobody_counts_as_ended_who_has_only_lost_its_report(
    shut_down: Callable[..., Left],
) -> None:
    with pytest.raises(Uncertain, match="Redis was restarted meanwhile: it is not known who of 2 workers ends"):
        shut_down([{"a": False, "b": False}, {}], [], ("one", "two"))


def test_of_many_workers_a_few_are_named_and_the_others_counted() -> None:
    found = chosen_workers.lines("will", [f"w{number}" for number in range(200)])
    assert [line.text for line in found[-2:]] == ["w7", "And 192 more workers."]
    assert chosen_workers.shown(f"w{number}" for number in range(7)) == "w0, w1, w2, w3, w4 and 2 more"


def test_limits_that_the_command_can_not_name_have_no_undo() -> None:
    assert Limits(soft_s=30, hard_s=60.0).arguments() == {"soft_s": 30, "hard_s": 60}
    assert Limits().arguments() == {"remove": True}
    assert Limits(soft_s=0.5).arguments() is None


def test_the_limits_of_a_task_are_read_from_what_workers_list() -> None:
    pools = [Pool(hostname=name, kind=kind, restarts=True) for name, kind in (("a", "prefork"), ("b", "threads"))]
    pools += [Pool(hostname="c", kind="prefork"), Pool(hostname="d", kind="prefork", restarts=False)]
    told = {"a": ["t [soft_time_limit=30 time_limit=60]", "t2"], "b": ["t"], "c": ["t"], "d": 7}
    remote: Any = SimpleNamespace(ask=lambda *_: told)
    limits, unable = time_limits.read(remote, pools, "t")
    assert limits == {"a": Limits(soft_s=30, hard_s=60)}
    assert {host: why[:12] for host, why in unable.items()} == {
        "b": "a pool of th",
        "c": "it has no pl",
        "d": "it does not ",
    }
