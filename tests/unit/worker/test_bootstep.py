"""What a worker's start, its connections and its end do to the plug-in's parts, and what a fault of one of them leaves.

The parts themselves write down what is asked of them; they have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from opsdash.model.hold import Hold
from opsdash.worker import bootstep, control
from opsdash.worker.bootstep import DRAIN_AGAIN_S, PauseStep
from opsdash.worker.gate import READY, PauseState
from opsdash.worker.hold_rules import HoldRules
from opsdash.worker.message_origin import Origin

FAILED = "the plug-in failed at start; the worker's log says why"


class Lost(Exception):  # noqa: N818 - it plays one of kombu's
    """Stands for a broken broker connection."""


class Part:
    """Anything that is made and called by the bootstep; ``asked`` has every call on any of them, in order."""

    asked: list[str]

    def __init__(self, name: str, asked: list[str], **has: Any) -> None:
        self.name, self.asked, self.calls = name, asked, list[tuple[str, tuple[Any, ...]]]()
        vars(self).update(has)

    def __getattr__(self, call: str) -> Callable[..., Any]:
        def record(*args: Any, **_options: Any) -> None:
            self.asked.append(f"{self.name}.{call}")
            self.calls.append((call, args))

        return record


class Worker:
    """A worker of Celery's as far as the bootstep sees it."""

    def __init__(self, patch: pytest.MonkeyPatch, pool: str = "prefork", transport: str = "redis") -> None:
        self.asked: list[str] = []
        self.soon: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.missing, self.refused, self.green = "", "", pool == "gevent"
        self.queues, self.made = ["celery", "emails"], dict[str, Any]()
        self.active_queues: list[str] = []

        def makes(name: str, **has: Any) -> Callable[..., Any]:
            def make(*args: Any, **options: Any) -> Part:
                self.made[name] = Part(name, self.asked, args=args, options=options, **has)
                return self.made[name]

            return make

        made = {
            "Failures": makes("failures", keeps=True, begin=lambda *about: self._begin(about)),
            "Health": makes("health", identity=SimpleNamespace(instance="i-1")),
            "RateLimits": makes("rates"),
            "ConcurrencyLimits": makes("limits", used=dict),
            "LocalServer": makes("server"),
            "FlagWatch": makes("watch", read_now=lambda: self.asked.append("watch.read_now") or True),
            "Recall": makes("recall", pass_again="pass again"),
            "Waker": makes("waker", usable=True),
            "Link": makes("link"),
        }
        for name, make in made.items():
            patch.setattr(bootstep, name, make)
        patch.setattr(bootstep.message_origin, "Fetches", makes("fetches"))
        patch.setattr(
            bootstep.requeue, "refused", lambda channel: self.refused if channel == "channel" else "another channel"
        )
        patch.setattr(
            bootstep.requeue, "replace_restore", lambda channel: self.asked.append(f"replace restore of {channel}")
        )
        patch.setattr(control, "recalls", {})
        self.guard: Any = None
        private = {
            "guard": lambda _consumer: self.guard,
            "missing": lambda _consumer: self.missing,
            "is_green": lambda _pool: self.green,
            "pool_name": lambda _pool: pool,
            "pool_facts": lambda _consumer: {"concurrency": 4},
            "consumed_queues": lambda _consumer: self.queues,
            "replace_queue_cycle": lambda channel, fetchable: self.asked.append(f"{fetchable.__name__} of {channel}"),
            "update_queue_cycle": lambda channel: self.asked.append(f"update queue cycle of {channel}"),
            "unstarted": lambda aside: ["unstarted", aside.__name__],
        }
        for name, instead in private.items():
            patch.setattr(bootstep.celery_private, name, instead)
        kind = SimpleNamespace(driver_type=transport, driver_name=transport)
        app = SimpleNamespace(connection_for_read=lambda: SimpleNamespace(transport=kind))
        self.consumer = _Hashable(
            app=app,
            hostname="a@h",
            connection_errors=(Lost,),
            pool=object(),
            call_soon=lambda call, *args: self.soon.append((call, args)),
            task_consumer=SimpleNamespace(channel="channel"),
            blueprint=SimpleNamespace(),
        )

    def _begin(self, about: tuple[Any, ...]) -> None:
        self.asked.append("failures.begin")
        self.made["failures"].begun = about

    def step(self) -> PauseStep:
        """The bootstep."""
        return PauseStep(self.consumer)

    def started(self) -> PauseStep:
        """The bootstep, after its first connection."""
        step = self.step()
        step.start(self.consumer)
        return step

    def turn(self) -> None:
        """The event loop does what it was asked to."""
        while self.soon:
            call, args = self.soon.pop(0)
            call(*args)


class _Hashable(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


def close(step: PauseStep, **state: Any) -> PauseState:
    """Something is paused or held."""
    with step.gate.lock:
        step.gate.set(PauseState(epoch=1, known=frozenset({"celery", "emails"}), **state))
    return step.gate.state


def test_a_worker_of_another_broker_works_as_if_the_plug_in_were_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch, transport="amqp")
    step = worker.step()
    assert not step.enabled
    assert not hasattr(worker.consumer, "on_task_request")
    step.shutdown(worker.consumer)
    assert worker.asked == []


def test_the_parts_are_made_for_this_worker_and_each_task_passes_the_gate(worker: Worker) -> None:
    step = worker.step()
    assert step.enabled
    assert worker.consumer.on_task_request == step.gate.on_task_request
    made = worker.made
    assert made["failures"].args == (worker.consumer,)
    assert made["health"].args == (worker.consumer, step.gate)
    assert made["rates"].args == (worker.consumer, "a@h", step._soon)
    assert made["limits"].args == (worker.consumer, step.gate, "i-1", step._soon)
    assert made["server"].args == ("i-1", step._facts, step._drain)
    assert (made["health"].rates, made["health"].limited) == (made["rates"], made["limits"].used)
    assert step.gate.connection_errors == (Lost,)
    assert worker.asked == ["failures.begin"]
    assert made["failures"].begun == (step.gate, made["health"].identity)


def test_at_its_start_flags_are_read_before_the_first_fetch_and_followed_afterwards(worker: Worker) -> None:
    step = worker.started()
    watch, made = worker.made["watch"], worker.made
    assert watch.args == (made["link"], step.gate, made["health"])
    options = watch.options
    assert options["queues"]() == ["celery", "emails"]
    assert (options["on_change"], options["request_tick"], options["follow"]) == (
        step._request_apply,
        step._request_tick,
        step._follow,
    )
    assert options["release_holds"] is bootstep.hold_release.release_ended
    assert options["reconcile_expiries"].args == (worker.consumer,)
    assert step.gate.channel == "channel"
    assert made["fetches"].args == ("channel",)
    assert control.recalls[worker.consumer] is made["recall"]
    order = [
        "failures.begin",
        "limits.reconnected",
        "replace restore of channel",
        "_fetchable of channel",
        "watch.read_now",
        "update queue cycle of channel",
        "limits.apply",
        "watch.start",
        "health.tick",
        "server.open",
    ]
    assert worker.asked == order
    assert (step._connected, step.gate.pausing, step.gate.applied) == (True, READY, step.gate.state)


def test_a_new_connection_has_a_new_watch_and_the_same_recall(worker: Worker) -> None:
    step = worker.started()
    recall, watch = worker.made["recall"], worker.made["watch"]
    step.stop(worker.consumer)
    assert not step._connected
    worker.asked.clear()
    step.start(worker.consumer)
    assert worker.asked[0] == "watch.stop"
    assert (worker.made["recall"], step._connected) == (recall, True)
    assert worker.made["watch"] is not watch


def test_it_says_once_that_it_can_be_paused(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(bootstep.logger, "info", lambda text, *args: said.append(text % args))
    step = worker.started()
    step.start(worker.consumer)
    (text,) = said
    assert text.endswith("is active: this worker can be paused (pool prefork, queues celery, emails)")
    worker.queues = []
    worker.started()
    assert said[1].endswith("queues none)")


@pytest.mark.parametrize(
    ("has", "pausing"),
    [
        ({"missing": "channel.sep"}, "this version of Celery has no channel.sep"),
        ({"refused": "NOPERM"}, "Redis refuses the script that gives tasks back: NOPERM"),
    ],
)
def test_a_worker_that_can_not_be_paused_works_on_and_says_why(worker: Worker, has: Any, pausing: str) -> None:
    vars(worker).update(has)
    step = worker.started()
    assert step.gate.pausing == pausing
    assert step._recall is None
    assert worker.asked[-3:] == ["watch.start", "health.tick", "server.open"], "it reports nevertheless"
    worker.asked.clear()
    step.start(worker.consumer)
    assert "_fetchable of channel" not in worker.asked
    assert step._fetchable(["celery"]) == ["celery"]


def test_a_fault_at_the_start_or_in_the_guard_leaves_a_worker_that_works(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(bootstep.message_origin, "Fetches", broken)
    step = worker.started()
    assert (step.gate.pausing, step._connected) == (FAILED, True)
    monkeypatch.setattr(bootstep.celery_private, "guard", broken)
    other = worker.step()
    assert other.gate.pausing == FAILED
    assert worker.consumer.on_task_request == other.gate.on_task_request


def test_children_of_prefork_are_shown_what_is_paused_and_give_back_what_they_did_not_start(worker: Worker) -> None:
    shown: list[tuple[bool, frozenset[str]]] = []
    shared = SimpleNamespace(show=lambda everything, queues: shown.append((everything, queues)))
    heard: list[Any] = []
    worker.guard = Part("guard", worker.asked, shared=shared, exempt="exempt", listen=heard.append)
    step = worker.started()
    assert step.gate.exempt == "exempt"
    close(step, queues=frozenset({"emails"}))
    close(step, everything=True)
    assert shown[-2:] == [(False, frozenset({"emails"})), (True, frozenset())]
    (listener,) = heard
    listener("request")
    assert worker.soon == [(step.gate.take_back, ("request",))]
    worker.soon.clear()
    worker.made["recall"].args[2]("request")
    assert worker.soon == [(step.gate.put_back, ("request",))]
    assert worker.made["recall"].args[:2] == (worker.consumer, step.gate)


def test_queues_that_are_paused_are_not_fetched_and_new_ones_only_once_their_flag_is_known(worker: Worker) -> None:
    step = worker.started()
    worker.asked.clear()
    close(step, queues=frozenset({"emails"}))
    assert step._fetchable(["celery", "emails"]) == ["celery"]
    assert worker.asked == []
    assert step._fetchable(["celery", "new"]) == ["celery", "new"]
    assert worker.asked == ["watch.read_now"]
    assert worker.soon == [(step._apply, ())]
    worker.made["watch"].read_now = lambda: False
    worker.soon.clear()
    step._fetchable(["new"])
    assert worker.soon == [], "nothing has changed"
    close(step, everything=True)
    assert step._fetchable(["celery"]) == []


def test_a_pause_is_applied_in_the_event_loop_and_what_is_held_goes_back(worker: Worker) -> None:
    step = worker.started()
    worker.asked.clear()
    state = close(step, everything=True)
    step._request_apply()
    assert (worker.asked, step.gate.applied is state) == ([], False)
    worker.turn()
    assert worker.asked == ["update queue cycle of channel", "recall.run", "limits.apply"]
    assert (step.gate.applied, step._drain_applied) == (state, False)
    assert worker.made["limits"].calls[-1] == ("apply", (state.rules, worker.made["recall"].pass_again))
    worker.asked.clear()
    close(step)
    step._apply()
    assert worker.asked == ["update queue cycle of channel", "limits.apply"]


def test_a_worker_that_is_drained_puts_back_what_waits_for_its_time_too(worker: Worker) -> None:
    step = worker.started()
    worker.asked.clear()
    step._drain(True)
    worker.turn()
    assert worker.asked == ["update queue cycle of channel", "recall.run", "limits.apply", "recall.run_scheduled"]
    assert step._drain_applied
    step._drain(False)
    worker.turn()
    assert not step._drain_applied


def test_a_drain_is_applied_again_after_a_while_and_no_sooner(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(bootstep.time, "monotonic", lambda: now)
    step = worker.started()
    step._drain(True)
    assert len(worker.soon) == 1
    now += DRAIN_AGAIN_S - 0.01
    step._drain(True)
    assert len(worker.soon) == 1
    now += 0.01
    step._drain(True)
    assert len(worker.soon) == 2
    step._drain(False)
    assert len(worker.soon) == 3
    now += 10
    step._drain(False)
    assert len(worker.soon) == 3


def test_the_guard_takes_back_what_holds_concern_and_nothing_without_them(worker: Worker) -> None:
    taken: list[Any] = []
    worker.guard = Part("guard", worker.asked, exempt=None, recall=taken.append, shared=Part("shared", worker.asked))
    step = worker.started()
    assert taken == [()]
    held = SimpleNamespace(kind="task", name="shop.*", queue="", id="h", key="")
    close(step, rules=HoldRules((held,)))
    step._apply()
    assert taken[-1] == ["unstarted", "sets_aside"]


def test_a_pool_of_green_threads_applies_at_once_and_again_where_the_connection_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker(monkeypatch, pool="gevent")
    step = worker.started()
    assert "waker.listen_in_green_loop" in worker.asked
    worker.asked.clear()
    state = close(step, everything=True)
    step._request_apply()
    assert (step.gate.applied, worker.soon) == (state, [])
    assert worker.asked == ["update queue cycle of channel", "waker.listen", "recall.run", "limits.apply", "waker.wake"]
    listened = [args for call, args in worker.made["waker"].calls if call == "listen"]
    close(step)
    step._apply()
    close(step, rules=HoldRules((Hold(id="c", kind="limit", name="shop.*", most=2),)))
    step._apply()
    again = [args for call, args in worker.made["waker"].calls if call == "listen"]
    assert (listened[-1], again[-2:]) == ((True,), [(False,), (True,)]), "while something may have to be taken back"
    state = step.gate.applied

    def broken() -> None:
        raise Lost

    worker.made["recall"].run = broken
    close(step, queues=frozenset({"emails"}))
    worker.asked.clear()
    step._request_apply()
    assert worker.soon == [(step._apply, ())]
    assert (step.gate.applied, step.gate.pausing) == (state, READY)
    assert worker.asked[-1] == "waker.wake"


def test_a_solo_worker_counts_a_pause_as_applied_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(monkeypatch, pool="solo")
    step = worker.started()
    state = close(step, everything=True)
    step._request_apply()
    assert step.gate.applied is state
    assert worker.soon == [(step._apply, ())]


def test_a_lost_connection_is_celerys_and_any_other_fault_opens_the_gate(worker: Worker) -> None:
    step = worker.started()
    before = step.gate.applied
    close(step, everything=True)

    def broken(fault: Exception) -> Callable[[], None]:
        def run() -> None:
            raise fault

        return run

    worker.made["recall"].run = broken(Lost())
    with pytest.raises(Lost):
        step._apply()
    assert (step.gate.pausing, step.gate.applied) == (READY, before)
    worker.made["recall"].run = broken(ValueError())
    worker.asked.clear()
    step._apply()
    assert step.gate.pausing == "applying a pause failed; the worker's log says why"
    assert worker.asked == ["update queue cycle of channel", "update queue cycle of channel"], (
        "what was paused is fetched again"
    )
    assert step.gate.applied is before or not step.gate.applied.closed
    worker.asked.clear()
    step._apply()
    assert worker.asked == [], "it has given up"


def test_before_the_first_connection_there_is_nothing_to_apply(worker: Worker) -> None:
    step = worker.step()
    worker.asked.clear()
    close(step, everything=True)
    step._apply()
    assert worker.asked == []


def test_a_stuck_loop_is_asked_once_to_note_that_it_turns(worker: Worker) -> None:
    step = worker.started()
    worker.asked.clear()
    for _ in range(3):
        step._request_tick()
    assert worker.soon == [(step._tick, ())]
    worker.turn()
    assert worker.asked == ["health.tick"]
    step._request_tick()
    assert len(worker.soon) == 1


def test_other_threads_wake_the_loop_they_hand_something_to(worker: Worker) -> None:
    step = worker.started()
    worker.asked.clear()
    step.register_with_event_loop(worker.consumer, "hub")
    assert worker.asked == ["waker.listen_in_hub"]
    step._request_tick()
    assert worker.asked == ["waker.listen_in_hub", "waker.wake"]
    waker = worker.made["waker"]
    assert step._usable_waker() is waker
    waker.usable = False
    assert step._usable_waker() is not waker


def test_at_its_end_it_is_off_the_list_and_its_slots_are_free(worker: Worker) -> None:
    step = worker.started()
    worker.asked.clear()
    step.shutdown(worker.consumer)
    assert worker.asked == ["watch.retire", "limits.close", "link.close", "failures.close", "server.close"]
    assert worker.made["link"].args == (worker.consumer.app,)

    def away(_link: Any) -> None:
        raise redis.ConnectionError

    worker.made["limits"].close = away
    worker.asked.clear()
    step.shutdown(worker.consumer)
    assert worker.asked == ["watch.retire", "link.close", "failures.close", "server.close"]


def test_limits_are_followed_with_the_listeners_connection(worker: Worker) -> None:
    step = worker.started()
    worker.made["limits"].follow = lambda link: (link, 2.0)[1]
    worker.asked.clear()
    assert step._follow("link") == 2.0
    assert worker.asked == ["rates.follow"]


def test_inspect_shows_what_is_applied(worker: Worker) -> None:
    step = worker.started()
    close(step, everything=True, queues=frozenset({"emails", "celery"}))
    step._apply()
    assert step.info(worker.consumer) == {
        "opsdash": {
            "pausing": "ready",
            "paused": True,
            "paused_queues": ["celery", "emails"],
            "draining": False,
            "epoch": 1,
            "concurrency": 4,
            "holds": [],
        }
    }


def test_what_can_not_be_read_is_kept_as_a_failure_where_failures_are_kept(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(bootstep, "unreadable", lambda *told: made.append(told))
    step = worker.started()
    place, error = Origin("celery", "celery", b"{"), ValueError("no JSON")
    worker.asked.clear()
    assert worker.made["fetches"].on_unreadable(place, error, None) is True
    assert (made, worker.asked) == ([(place, error, None)], ["health.heed"])
    worker.made["failures"].keeps = False
    assert step._keep_unreadable(place, error, None) is False
    assert len(made) == 1


def test_the_containers_commands_have_the_loop_asked_whether_it_turns(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(
        bootstep.drain_state, "facts", lambda *args, **options: told.append((args, options)) or {"a": 1}
    )
    step = worker.started()
    assert step._facts() == {"a": 1}
    ((args, options),) = told
    assert args == (worker.consumer, step.gate, worker.made["health"], worker.made["watch"])
    assert options == {"connected": True, "applied": False}
    assert worker.soon == [(step._tick, ())]
