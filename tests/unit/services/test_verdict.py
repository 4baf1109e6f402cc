from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsdash.model import OtherWorker, PauseInfo, Snapshot, UnmanagedLook, WorkerStats
from opsdash.model.verdict import LASTING, Kind, Reason, State, Verdict
from opsdash.model.worker import Connection
from opsdash.services.pause import verdict_text
from opsdash.services.pause.verdict import Pace, verdict, verdicts
from opsdash.services.pause.verdict_text import as_plain, describe, describe_reason, notes, remedies
from opsdash.services.workers.unmanaged import UNPROVEN

NOW = datetime.now(UTC)


def worker(hostname: str, **fields: Any) -> WorkerStats:
    given = {"state": "online", "queues": ("celery", "emails"), "paused": True, "unacked": 0, **fields}
    return WorkerStats(hostname=hostname, heartbeat_at=NOW, **given)


def paused(*workers: WorkerStats, queue: str | None = None, **fields: Any) -> Snapshot:
    info = PauseInfo(queue=queue, epoch=7)
    return Snapshot(
        taken_at=NOW,
        pause=info if queue is None else None,
        paused_queues={queue: info} if queue else {},
        epoch=7,
        workers=workers,
        **fields,
    )


def found(snapshot: Snapshot, queue: str | None = None) -> Verdict:
    made = verdict(snapshot, queue)
    assert made is not None
    assert made.safe == ("safe to deploy" in describe(made)) or queue is not None
    assert made.safe == (made.state is State.HELD)
    return made


def kinds(made: Verdict) -> list[str]:
    return [reason.kind.value for reason in made.reasons]


def test_without_a_pause_there_is_no_verdict():
    assert verdict(Snapshot(taken_at=NOW, workers=(worker("a"),))) is None
    assert verdict(paused(worker("a"), queue="emails"), "celery") is None
    assert verdicts(Snapshot(taken_at=NOW)) == {"verdict": None, "queue_verdicts": {}}


def test_it_names_who_still_works_and_who_has_not_confirmed():
    made = found(paused(worker("a"), worker("b", active=4, reserved=2, oldest_s=98.4), worker("c", paused=False)))
    assert (made.workers, made.stopped, made.running, made.held, made.state) == (3, 1, 4, 2, State.DRAINING)
    assert describe(made) == "1 of 3 workers stopped; c has not confirmed yet; b finishes 4 tasks, oldest 1m 38s."


def test_once_nothing_runs_it_is_safe_to_deploy():
    made = found(paused(worker("a"), worker("b"), worker("gone", state="offline", silent_s=900.0)))
    assert (made.safe, made.final) == (True, False)
    assert describe(made) == "Both workers have stopped; safe to deploy."
    assert describe(found(paused(worker("a")))) == "The one worker has stopped; safe to deploy."


def test_a_worker_that_cannot_pause_is_named_and_no_time_cures_it():
    made = found(paused(worker("a"), worker("b", pausing="the plug-in failed", paused=False)))
    assert (made.state, made.final) == (State.NOT_HELD, True)
    assert "b can't pause: the plug-in failed" in describe(made)


def test_a_stalled_worker_that_confirmed_nothing_keeps_it_unsafe():
    assert kinds(found(paused(worker("a", state="stalled", paused=False)))) == ["not_confirmed"]


def test_without_any_worker_nothing_is_known_to_have_stopped():
    made = found(paused())
    assert (made.state, made.final) == (State.UNKNOWN, True)
    assert describe(made) == "No worker reports to opsdash, so no worker is known to have stopped."


def test_what_a_worker_confirmed_before_the_last_resume_confirms_nothing():
    assert kinds(found(paused(worker("a", epoch=5)))) == ["not_confirmed"]
    assert found(paused(worker("a", epoch=7))).safe
    assert found(paused(worker("a", epoch=9))).safe
    began_anew = replace(paused(worker("a", epoch=1)), epoch=1)
    assert found(began_anew).safe, "somebody has deleted the counter: the flag alone decides"


def test_a_task_that_is_still_to_be_put_back_may_have_begun():
    made = found(paused(worker("a", reserved=1)))
    assert (kinds(made), made.state) == (["not_put_back"], State.DRAINING)
    assert "a has 1 task to put back" in describe(made)


@pytest.mark.parametrize("state", ["silent", "offline"])
@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({"active": 1}, "ran 1 task"),
        ({"reserved": 3}, "had 3 tasks"),
        ({"active": 2, "reserved": 1}, "ran 2 tasks and had 1 more"),
        ({"unacked": 2}, "had 2 tasks"),
    ],
)
def test_a_worker_that_went_silent_with_tasks_is_never_safe(state: str, last: dict[str, int], said: str):
    gone = worker("gone", state=state, silent_s=25.2, pid=77, **last)
    made = found(paused(worker("a"), gone))
    assert (kinds(made), made.state, made.final) == (["silent"], State.UNKNOWN, False)
    assert describe(made) == f"The one worker has stopped; not known to be safe. gone is silent for 25s, {said}."


def test_a_silent_worker_that_was_paused_and_held_nothing_keeps_nothing_from_being_safe():
    assert found(paused(worker("a"), worker("gone", state="silent", silent_s=12.0))).safe
    emails = worker("gone", state="silent", paused=False, paused_queues=("emails",))
    assert found(paused(worker("a"), emails, queue="emails"), "emails").safe
    assert not found(paused(worker("a"), emails)).safe


@pytest.mark.parametrize("queue", [None, "emails"])
def test_a_silent_worker_that_was_not_paused_may_have_begun_a_task_since_its_last_report(queue: str | None):
    gone = worker("gone", state="silent", silent_s=25.2, paused=False)
    made = found(paused(worker("a"), gone, queue=queue), queue)
    assert (kinds(made), made.state) == (["silent"], State.UNKNOWN)
    assert "gone is silent for 25s, and was not paused in its last report." in describe(made)


def test_a_silent_worker_of_other_queues_says_nothing_about_this_one():
    gone = worker("gone", state="silent", active=1, queues=("reports",))
    on_it = worker("a", paused=False, paused_queues=("emails",))
    assert found(paused(on_it, gone, queue="emails"), "emails").safe
    assert not found(paused(on_it, replace(gone, queues=("emails",)), queue="emails"), "emails").safe


def test_two_processes_under_one_name_are_named_by_their_process_ids():
    made = found(paused(worker("w", pid=12), worker("w", pid=34, record="w #ab")))
    assert (kinds(made), made.workers, made.state) == (["same_name"], 2, State.UNKNOWN)
    assert "2 processes report as w: 12, 34." in describe(made)


def test_one_of_two_namesakes_that_has_not_stopped_counts_by_itself():
    made = found(paused(worker("w", record="w"), worker("w", record="w #ab", active=1)))
    assert (made.workers, made.stopped, made.running) == (2, 1, 1)


def test_workers_that_did_not_answer_are_counted_and_told_by_the_names_they_may_have():
    made = found(paused(worker("a"), look=UnmanagedLook(unanswered=1, candidates=("frozen@x",))))
    assert (kinds(made), made.state, made.final) == (["no_answer"], State.UNKNOWN, False)
    assert "1 more hears remote control and did not answer, perhaps frozen@x" in describe(made)


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (UnmanagedLook(off=("a",)), "can't be asked: remote control is off on a."),
        (UnmanagedLook(off=("a", "b", "c")), "can't be asked: remote control is off on a and 2 more."),
        (UnmanagedLook(error=UNPROVEN), "a question with another one could stop them."),
    ],
)
def test_where_workers_cannot_be_asked_it_says_why_and_is_not_safe(look: UnmanagedLook, said: str):
    made = found(paused(worker("a"), look=look))
    assert (kinds(made), made.state, made.final) == (["cannot_ask"], State.UNKNOWN, True)
    assert said in describe(made)


def test_before_anybody_was_asked_since_the_pause_began_it_is_not_known():
    made = found(paused(worker("a"), look=None))
    assert (kinds(made), made.final) == (["not_asked"], False)


def test_a_connection_that_waits_for_tasks_and_that_nobody_names_is_a_worker_that_is_not_held():
    look = UnmanagedLook(connections=(Connection(address="10.0.0.5:4242", blocked=True),))
    made = found(paused(worker("a"), look=look))
    assert (kinds(made), made.state, made.final) == (["takes_tasks"], State.NOT_HELD, True)
    assert "10.0.0.5:4242 takes tasks" in describe(made)
    on_it = worker("a", paused=False, paused_queues=("emails",))
    single = found(paused(on_it, queue="emails", look=look), "emails")
    assert (kinds(single), single.state) == (["may_take_tasks"], State.UNKNOWN)


def test_a_connection_that_has_fetched_and_waits_for_nothing_may_be_a_worker_or_a_tool():
    look = UnmanagedLook(connections=(Connection(address="10.0.0.5:4242", blocked=False),))
    made = found(paused(worker("a"), look=look))
    assert (kinds(made), made.state) == (["may_take_tasks"], State.UNKNOWN)
    assert "it may be a worker at its limit, or a tool such as Flower" in describe(made)


def test_the_connections_of_workers_that_do_not_name_them_are_theirs():
    resting = Connection(address="10.0.0.5:4242", blocked=False)
    assert found(paused(worker("a"), look=UnmanagedLook(connections=(resting,), unnamed=1))).safe
    two = UnmanagedLook(connections=(resting, resting), unnamed=1)
    assert kinds(found(paused(worker("a"), look=two))) == ["may_take_tasks"]
    waiting = replace(resting, blocked=True)
    assert found(paused(worker("a"), look=UnmanagedLook(connections=(waiting,), unnamed=1))).safe, "its last fetch"
    both = UnmanagedLook(connections=(waiting, resting), unnamed=1)
    assert kinds(found(paused(worker("a"), look=both))) == ["takes_tasks"]
    told_to_stop = OtherWorker(hostname="told")
    assert found(paused(worker("a"), look=UnmanagedLook(connections=(resting,)), others=(told_to_stop,))).safe


def test_where_redis_does_not_tell_its_connections_it_is_not_known():
    made = found(paused(worker("a"), look=UnmanagedLook(connections_error="NOPERM no right")))
    assert (kinds(made), made.final) == (["connections"], True)
    assert "NOPERM no right" in describe(made)


def test_more_unacknowledged_messages_than_the_workers_tell_of_are_somebodys():
    made = found(paused(worker("a", unacked=2, scheduled=2), unacked=5, unacked_oldest_s=90.0))
    assert (kinds(made), made.reasons[0].number) == (["unacked"], 3)
    since = f"{datetime.now(UTC) - timedelta(seconds=90):%H:%M}"
    assert f"3 messages are unacknowledged, and no worker reports them, the oldest since {since}" in describe(made)
    assert found(paused(worker("a", unacked=2), unacked=2)).safe
    assert found(paused(worker("a", unacked=None), unacked=2)).safe, "an older plug-in does not tell"


def test_messages_of_open_queues_that_are_younger_than_the_reports_are_nobodys_fault():
    on_it = worker("a", paused=False, paused_queues=("emails",), unacked=1, running_by_queue={"celery": 1}, active=1)
    assert found(paused(on_it, queue="emails", unacked=4, unacked_old=1), "emails").safe
    assert kinds(found(paused(on_it, queue="emails", unacked=4, unacked_old=2), "emails")) == ["unacked"]


def test_a_paused_queue_that_loses_tasks_is_not_held():
    made = found(paused(worker("a"), shrinking={"emails": 4}))
    assert (kinds(made), made.state) == (["queue_shrinks"], State.NOT_HELD)
    assert "Queue emails is paused but has lost 4 tasks." in describe(made)


def test_figures_that_are_old_make_nothing_safe():
    assert kinds(found(replace(paused(worker("a")), redis_error="Redis did not answer."))) == ["stale"]


def test_scheduled_tasks_are_a_note_and_not_a_reason():
    made = found(paused(worker("a", scheduled=2, unacked=2), unacked=2))
    assert made.safe
    assert notes(made) == ["2 scheduled tasks are in workers, and are put back when due."]


def test_scheduled_tasks_of_other_queues_are_not_said_to_be_held_by_a_queue_s_pause():
    on_it = worker("a", paused=False, paused_queues=("emails",), scheduled=2, unacked=2)
    assert notes(found(paused(on_it, queue="emails", unacked=2), "emails")) == [
        "2 scheduled tasks of any queue are in these workers; those of emails are put back when they are due."
    ]


def test_what_time_may_not_cure_has_something_to_do():
    gone = worker("gone@x", state="silent", active=1)
    free = OtherWorker(hostname="free", queues=("celery",))
    made = found(paused(worker("a"), gone, others=(free,), unacked=3))
    assert remedies(made) == [
        "Stop them, start them with -I opsdash.worker.auto, or pause again with the option that sends cancel_consumer.",
        "Check whether its process still runs. If it has ended: opsdash dismiss-worker gone@x",
        "They come back to their queues when the visibility timeout ends. Check whether a killed worker has"
        " left a process behind.",
    ]
    assert as_plain(made)["remedies"] == remedies(made)
    assert remedies(found(paused(worker("a")))) == []
    assert all(remedies(replace(made, reasons=(Reason(kind=kind, workers=("w",)),))) for kind in LASTING)


def test_of_several_reasons_the_worst_decides_and_all_are_told():
    free = OtherWorker(hostname="free", queues=("celery",))
    made = found(paused(worker("a", active=1), worker("g", state="silent", active=1), others=(free,)))
    assert (made.state, kinds(made), made.final) == (State.NOT_HELD, ["running", "no_plugin", "silent"], False)
    assert all(describe_reason(reason).rstrip(".") in describe(made) for reason in made.reasons)


def test_every_reason_has_its_words_and_a_state():
    for kind in Kind:
        one = replace(found(paused(look=None)).reasons[0], kind=kind)
        assert describe_reason(one).endswith(".")
        assert one.state is not State.HELD


def test_a_queues_pause_is_judged_by_the_workers_of_that_queue():
    on_it = worker("a", paused=False, paused_queues=("emails",))
    elsewhere = worker("b", queues=("celery",), paused=False, active=7)
    made = found(paused(on_it, elsewhere, queue="emails"), "emails")
    assert (made.workers, made.safe) == (1, True)


def test_a_queues_pause_is_held_although_other_queues_keep_the_worker_busy():
    busy = worker("a", paused=False, paused_queues=("emails",), active=3, running_by_queue={"celery": 3})
    made = found(paused(busy, queue="emails"), "emails")
    assert made.safe
    assert describe(made) == (
        "The one worker on emails has stopped taking from it; nothing of it runs"
        " (3 tasks of other queues still running)."
    )
    own = replace(busy, running_by_queue={"celery": 1, "emails": 2})
    assert "a finishes 2 tasks" in describe(found(paused(own, queue="emails"), "emails"))
    untold = replace(busy, running_by_queue={"celery": 1, "": 2})
    assert not found(paused(untold, queue="emails"), "emails").safe, "they may be of any queue"
    older = replace(busy, running_by_queue=None)
    assert "a finishes 3 tasks of any queue" in describe(found(paused(older, queue="emails"), "emails"))


def test_a_long_list_is_cut_and_counted():
    assert describe(found(paused(*(worker(f"w{i}", active=1) for i in range(9))))).endswith("; and 6 more.")
    silent = [worker(f"s{i}", state="silent", active=1) for i in range(9)]
    assert describe(found(paused(worker("a"), *silent))).endswith("And 6 more like these.")


def test_a_worker_without_the_plug_in_is_named_and_it_is_never_safe_while_it_may_work():
    free = OtherWorker(hostname="free", queues=("celery",))
    made = found(paused(worker("a"), others=(free,)))
    assert (made.state, made.final) == (State.NOT_HELD, True)
    assert describe(made) == "The one worker has stopped; not safe. Not managed by opsdash: free."
    assert found(paused(worker("a"), others=(OtherWorker(hostname="free"),))).safe, "it was sent cancel_consumer"
    busy = found(paused(worker("a"), others=(OtherWorker(hostname="free", active=1),)))
    assert (busy.safe, busy.final) == (False, False)


def test_a_worker_without_the_plug_in_keeps_only_the_queues_it_serves_from_being_held():
    on_it, other = worker("a", paused_queues=("emails",)), OtherWorker(hostname="free", queues=("reports",))
    assert found(paused(on_it, queue="emails", others=(other,)), "emails").safe
    both = OtherWorker(hostname="free", queues=("reports", "emails"))
    assert not found(paused(on_it, queue="emails", others=(both,)), "emails").safe


def test_only_so_many_workers_without_the_plug_in_are_named():
    others = tuple(OtherWorker(hostname=f"w{i}", queues=("celery",)) for i in range(40))
    message = describe(found(paused(worker("a"), others=others)))
    assert "and 37 more." in message
    assert len(message) < 300


def test_every_surface_is_given_the_same_words():
    snapshot = paused(worker("a", active=2))
    plain = verdicts(snapshot)["verdict"]
    assert plain["message"] == describe(found(snapshot))
    assert (plain["state"], plain["safe"], plain["reasons"][0]["kind"]) == ("draining", False, "running")
    single = verdicts(paused(worker("a", paused_queues=("emails",)), queue="emails"))
    assert single["verdict"] is None
    assert single["queue_verdicts"]["emails"]["safe"]


def test_the_estimate_follows_the_pace_since_the_pause_began():
    pace, pause = Pace(), PauseInfo(queue=None, epoch=7)
    assert pace.drained_in_s(pause, [worker("a", active=8)], 100.0) is None  # nothing has ended yet
    assert pace.drained_in_s(pause, [worker("a", active=6)], 110.0) == 30.0  # two in ten seconds, six to go
    assert pace.drained_in_s(pause, [worker("a", active=0)], 140.0) == 0.0
    assert pace.drained_in_s(replace(pause, epoch=8), [worker("a", active=4)], 150.0) is None  # another pause
    assert pace.drained_in_s(None, [worker("a", active=1)], 160.0) is None
    slow = found(replace(paused(worker("a", active=6)), drained_in_s=30.0))
    assert describe(slow).endswith("At this pace nothing runs in about 30s.")


def test_a_verdict_on_old_figures_says_first_how_old_they_are_and_is_never_safe():
    old = replace(paused(worker("a")), redis_error="Redis did not answer", redis_age_s=14.2)
    made = found(old)
    assert (made.state, made.safe, made.age_s) == (State.UNKNOWN, False, 14.2)
    assert describe(made).startswith("The figures are 14s old: Redis did not answer. The one worker has stopped")
    assert "safe to deploy" not in describe(made)
    assert as_plain(made)["age_s"] == 14.2
    assert found(replace(old, redis_error="", redis_age_s=0.1)).safe


def test_what_runs_of_other_queues_is_counted_apart():
    one = worker("a", active=5, running_by_queue={"emails": 2, "celery": 3})
    made = verdict(paused(one, queue="emails"), "emails")
    assert made is not None
    assert (made.running, made.elsewhere) == (2, 3)


def test_each_connection_that_nobody_knows_is_one_reason_with_its_address():
    look = UnmanagedLook(connections=(Connection(address="10.0.0.7:5000", blocked=True),), counted=True, epoch=7)
    made = verdict(paused(worker("a"), look=look))
    assert made is not None
    (reason,) = [one for one in made.reasons if one.kind is Kind.TAKES_TASKS]
    assert (reason.number, reason.detail) == (1, "10.0.0.7:5000")


def test_how_many_hear_remote_control_and_did_not_answer_is_said_in_a_sentence():
    says = [describe_reason(Reason(kind=Kind.NO_ANSWER, number=number)) for number in (1, 2)]
    assert says[0].startswith("1 more hears remote control and did not answer: frozen")
    assert says[1].startswith("2 more hear remote control and did not answer: frozen")


def test_of_many_builds_some_are_named_and_the_others_counted():
    many = [worker(f"w{at}", build=f"1.{at}") for at in range(verdict_text.NAMED + 2)]
    assert verdict_text.describe_builds(many).endswith("; and 2 more builds.")
    assert verdict_text.describe_builds(many[:-1]).endswith("; and 1 more build.")
