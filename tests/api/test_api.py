"""The JSON API as a program meets it: who may, what comes back, and what an error says."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import quote

import pytest
import redis
from support.deployment import Deployment, deploy
from support.messages import message
from support.served import Client, serving
from support.services import Valkey, until
from support.tenants import add

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.operation import registry
from opsdash.services.audit import query as audit_reading
from opsdash.services.console import Console

TOKENS = {role: f"token-of-the-{role}-0123456789" for role in ("viewer", "operator", "admin")}
EDGES_OF_TIME = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "-0001-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "3000-01-01T00:00:00Z",
]
YES = {"confirm": "YES"}
OLDER_THAN_NOTHING = {"queue": "celery", "older_than_s": -(2**53 - 1)}


@pytest.fixture
def fill(valkey: Valkey) -> Callable[[int], None]:
    """Puts messages into the queue celery."""
    with deploy(valkey) as deployment:
        sent: Deployment = deployment
        yield sent.send


def test_a_program_pauses_looks_and_resumes_and_the_audit_log_names_it(api: Client, console: Console):
    paused = api.run("pause_processing", params={"reason": "deploy", "duration_s": 600}, confirm="YES")
    assert (paused.status, paused.json["ok"], paused.json["affected"]) == (200, True, 1)
    assert console.is_processing_paused()
    status = api.get("/api/v1/status").json
    assert (status["processing"], status["pause"]["by"]) == ("PAUSED", "operator-bot")
    assert api.run("resume_processing", confirm="YES").json["status"] == "success"
    assert api.get("/api/v1/status").json["processing"] == "RUNNING"
    newest = api.get("/api/v1/audit?operation=pause_processing").json["entries"][0]
    assert newest["user"] == "operator-bot"
    assert newest["details"]["surface"] == "api"
    assert newest["details"]["client"] == "127.0.0.1"
    assert newest["id"] == paused.json["audit_id"]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(api: Client, console: Console, fill):
    fill(3)
    preview = api.run("clear_queue", query="?dry_run=1", params={"queue": "celery"}, token=TOKENS["viewer"])
    assert preview.status == 200
    removed = {"kind": "will", "text": "3 pending tasks of queue celery will be removed."}
    removed |= {"repeats": ["waiting"], "choice": ""}
    assert removed in preview.json["lines"]
    assert console.get_queue_length("celery") == 3
    assert console.get_recent_operations() == ()


def test_without_the_word_yes_nothing_is_done_and_the_attempt_is_audited(api: Client, console: Console, fill):
    fill(2)
    for confirm in ("", "yes", "YES "):
        answer = api.run("clear_queue", params={"queue": "celery"}, confirm=confirm)
        assert answer.status == 409
        assert answer.problem == "refused: Clear Queue was not confirmed with YES. Nothing was changed."
    assert console.get_queue_length("celery") == 2
    assert [entry.status for entry in console.get_recent_operations()] == ["refused"] * 3


def test_a_role_that_is_too_low_is_refused_by_the_service_and_audited(api: Client, console: Console):
    answer = api.run("pause_processing", confirm="YES", token=TOKENS["viewer"])
    assert answer.status == 403
    assert answer.problem.startswith("forbidden: viewer-bot has the role viewer; Pause Processing needs operator.")
    assert not console.is_processing_paused()
    assert console.get_recent_operations()[0].status == "refused"


@pytest.mark.parametrize("token", ["", "a-token-that-nobody-has", "é" * 20])
def test_without_a_known_token_every_door_is_closed(api: Client, token: str):
    for path in ("/api/v1/status", "/api/v1/audit", "/api/v1/events", "/api/v1/openapi.json", "/metrics"):
        answer = api.get(path, token="", headers={"Authorization": f"Bearer {token}".encode("latin-1", "ignore")})
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="opsdash"')
    assert api.run("pause_processing", confirm="YES", token=token.encode().decode("latin-1")).status == 401


def test_a_console_without_tokens_says_how_to_open_the_api(settings_for: Callable[..., Settings]):
    console = assemble(settings_for())
    with serving(console) as client:
        answer = client.get("/api/v1/status", token="whatever-there-is-0123")
    console.close()
    assert answer.status == 401
    assert "set OPSDASH_API_TOKENS=name:role:token" in answer.problem


def test_a_page_of_another_site_is_refused_even_with_a_token(api: Client, console: Console):
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = api.call("POST", "/api/v1/operations/pause_processing", {"confirm": "YES"}, headers=headers)
    assert (answer.status, console.is_processing_paused()) == (403, False)
    assert answer.problem.startswith("cross-site: Another site asked for this.")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/api/v1/nothing", None, 404, "not-found"),
        ("GET", "/api", None, 404, "not-found"),
        ("POST", "/api/v1/operations/format_disk", {}, 404, "not-found"),
        ("DELETE", "/api/v1/status", None, 405, "method"),
        ("GET", "/api/v1/operations/clear_queue", None, 405, "method"),
        ("GET", "/api/v1/status?deep=1", None, 422, "invalid"),
        ("GET", "/api/v1/workers/nobody@host", None, 404, "no-worker"),
        ("GET", "/api/v1/workers/%ff", None, 400, "request"),
        ("POST", "/api/v1/workers/w1@host", {}, 405, "method"),
        ("GET", "/api/v1/audit?limit=0", None, 422, "invalid"),
        ("GET", "/api/v1/audit?limit=1&limit=2", None, 422, "invalid"),
        ("GET", "/api/v1/audit?user=%00", None, 422, "invalid"),
        ("GET", "/api/v1/audit?user=%ff", None, 400, "request"),
        ("GET", "/api/v1/audit?since=yesterday", None, 422, "invalid"),
        ("GET", "/api/v1/audit?until=0.5", None, 422, "invalid"),
        ("GET", "/api/v1/audit?until=null", None, 422, "invalid"),
        ("GET", "/api/v1/audit?after=nonsense", None, 404, "no-page"),
        ("GET", "/api/v1/audit?operation=clear", None, 422, "invalid"),
        *(
            ("GET", f"/api/v1/audit?{name}={edge}{page}", None, 422, "invalid")
            for name, page in (("since", ""), ("until", ""), ("after", f"~{uuid.UUID(int=1)}"))
            for edge in EDGES_OF_TIME
        ),
        ("POST", "/api/v1/operations/clear_tasks", {"params": OLDER_THAN_NOTHING, **YES}, 409, "refused"),
        ("POST", "/api/v1/operations/clear_queue", b"{", 400, "json"),
        ("POST", "/api/v1/operations/clear_queue", b"", 400, "json"),
        ("POST", "/api/v1/operations/clear_queue", b"[" * 100_000, 400, "json"),
        ("POST", "/api/v1/operations/clear_queue", b"[]", 422, "invalid"),
        ("POST", "/api/v1/operations/clear_queue", {"params": []}, 422, "invalid"),
        ("POST", "/api/v1/operations/prune_audit_log", {"params": {"older_than_s": "9"}}, 422, "invalid"),
        ("POST", "/api/v1/operations/clear_queue", {"confirm": "YES"}, 422, "invalid"),
        ("POST", "/api/v1/operations/clear_queue", {"params": {"queue": "celery", "force": True}}, 422, "invalid"),
        ("POST", "/api/v1/operations/clear_queue", {"params": {"queue": "\0"}}, 422, "invalid"),
        ("POST", "/api/v1/operations/clear_queue", {"params": {"queue": "nobody's"}, "confirm": "YES"}, 409, "refused"),
        ("POST", "/api/v1/operations/pause_processing", {"params": {"duration_s": 2**53}}, 422, "invalid"),
        ("POST", "/api/v1/operations/pause_processing?dry_run=perhaps", {}, 422, "invalid"),
        ("POST", "/api/v1/operations/pause_processing", {"request_id": "mine"}, 422, "invalid"),
    ],
)
def test_every_mistake_is_a_problem_document(api: Client, method: str, path: str, body, status: int, kind: str):
    answer = api.call(method, path, body)
    assert (answer.status, answer.problem.partition(":")[0]) == (status, kind)
    assert "Traceback" not in answer.text
    if status == 405:
        assert answer.headers["Allow"] == ("POST" if "/operations/" in path else "GET")


def test_a_body_that_is_no_json_is_named_by_its_type(api: Client):
    answer = api.call(
        "POST", "/api/v1/operations/pause_processing", b"confirm=YES", headers={"Content-Type": "text/plain"}
    )
    assert (answer.status, answer.problem) == (415, "media-type: Expected Content-Type: application/json.")


def test_a_body_of_more_than_a_megabyte_is_refused_and_not_kept(api: Client):
    answer = api.call("POST", "/api/v1/operations/pause_processing", b" " * 1_000_001)
    assert (answer.status, answer.problem) == (413, "too-large: A body has at most 1,000,000 bytes.")
    headers = {"Expect": "100-continue", "Content-Length": "1000001"}  # as curl does: told before it sends
    assert api.call("POST", "/api/v1/operations/pause_processing", headers=headers).status == 413
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)) as connection:
        connection.putrequest("POST", "/ops/api/v1/operations/pause_processing")
        for name, value in {"Authorization": f"Bearer {api.token}", "Transfer-Encoding": "chunked"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        for _ in range(17):  # no length was announced: it is counted
            connection.send(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        connection.send(b"0\r\n\r\n")
        assert connection.getresponse().status == 413


def test_the_same_request_is_done_once_however_often_it_is_sent(api: Client, console: Console, fill):
    fill(4)
    request = str(uuid.uuid4())
    first = api.run("clear_queue", params={"queue": "celery"}, confirm="YES", request_id=request)
    fill(5)
    again = api.run("clear_queue", params={"queue": "celery"}, confirm="YES", request_id=request)
    assert (first.json["affected"], again.json["affected"]) == (4, 4)
    assert first.json["audit_id"] == again.json["audit_id"]
    assert console.get_queue_length("celery") == 5
    other = api.run("clear_queue", params={"queue": "emails"}, confirm="YES", request_id=request)
    assert (other.status, other.problem.partition(":")[0]) == (409, "duplicate")


def test_an_answer_that_has_not_changed_is_not_sent_again(api: Client, console: Console, fill):
    console.unmanaged.look()
    for path in ("/api/v1/status", "/api/v1/queues", "/api/v1/workers", "/api/v1/audit", "/api/v1/operations"):
        first = api.get(path)
        console.poller.refresh()  # read again, at another moment, with another round trip: the state is the same
        assert api.get(path, headers={"If-None-Match": first.headers["Etag"]}).status == 304, path
    tag = api.get("/api/v1/queues").headers["Etag"]
    fill(1)
    console.poller.refresh()
    changed = api.get("/api/v1/queues", headers={"If-None-Match": tag})
    assert (changed.status, changed.json["queues"][0]["waiting"]) == (200, 1)


def test_a_worker_is_told_with_what_it_runs_and_its_load_alone_is_no_change(
    api: Client, console: Console, valkey: Valkey
):
    with redis.Redis.from_url(valkey.url) as client:
        now = time.time()
        figures = {"time": now, "loop_tick": now, "active": 3, "failed": 2, "load": "0.5"}
        running = json.dumps([["id-1", "orders.send", "emails", 61], ["id-2", "\x1b[2J", "\ud800", None]])
        client.hset("opsdash:worker:celery@w 1/a", mapping={**figures, "running": running})
        client.zadd("opsdash:workers", {"celery@w 1/a": now})
        console.unmanaged.look()
        tag = api.get("/api/v1/workers").headers["Etag"]
        client.hset("opsdash:worker:celery@w 1/a", "load", "0.9")
        console.poller.refresh()
        assert api.get("/api/v1/workers", headers={"If-None-Match": tag}).status == 304
    worker = api.get("/api/v1/workers/celery@w%201%2Fa").json
    assert (worker["worker"]["failed"], worker["worker"]["load"], worker["redis_error"]) == (2, 0.9, "")
    assert [(task["task_id"], task["queue"]) for task in worker["running"]] == [("id-1", "emails"), ("id-2", "\\ud800")]
    assert datetime.fromisoformat(worker["running"][0]["started_at"]).timestamp() == pytest.approx(now - 61, abs=2)
    assert (worker["running"][1]["started_at"], worker["more"]) == (None, 1)


def test_a_pause_does_not_change_while_only_its_time_runs(api: Client, console: Console):
    api.run("pause_processing", confirm="YES")
    console.unmanaged.look()  # who else could run something has been asked since the pause
    console.poller.refresh()
    tag = api.get("/api/v1/status").headers["Etag"]
    console.poller.refresh()
    assert api.get("/api/v1/status", headers={"If-None-Match": tag}).status == 304
    api.run("pause_processing", confirm="YES", params={"reason": "longer"})
    assert api.get("/api/v1/status", headers={"If-None-Match": tag}).status == 200


@pytest.mark.long
def test_operations_for_which_there_is_nothing_come_last_and_say_how_there_would_be(api: Client, console: Console):
    def listed() -> list[dict]:
        return api.get("/api/v1/operations").json["operations"]

    assert until(lambda: not listed()[-1]["used"])
    assert listed()[-1]["name"] == "sync_tenant_configs"
    assert "OPSDASH_TENANT_SOURCE" in listed()[-1]["turn_on"]
    assert all(one["used"] for one in listed()[:-1])
    add(console, "acme")
    assert until(lambda: all(one["used"] for one in listed()))


def test_the_audit_log_is_read_in_pages_that_skip_nothing(api: Client, console: Console):
    for _ in range(5):
        api.run("pause_processing", confirm="no")
    seen, after = [], ""
    while True:
        page = api.get(f"/api/v1/audit?limit=2{after}").json
        seen += [entry["id"] for entry in page["entries"]]
        if page["after"] is None:
            break
        after = "&after=" + page["after"].replace("+", "%2B")
    assert seen == [str(entry.id) for entry in console.get_recent_operations()]
    assert api.get("/api/v1/audit?status=success").json["entries"] == []
    assert len(api.get("/api/v1/audit?user=operator-bot&text=confirmed").json["entries"]) == 5


def test_every_operation_is_listed_with_the_schema_of_its_request(api: Client):
    listed = {one["name"]: one for one in api.get("/api/v1/operations").json["operations"]}
    assert listed.keys() == registry().keys()
    params = listed["clear_queue"]["request"]["$defs"]["ClearQueueParams"]
    assert params["required"] == ["queue"]
    assert listed["prune_audit_log"]["minimum_role"] == "admin"


@pytest.mark.long
def test_a_slow_read_does_not_hold_up_the_others(api: Client, console: Console, valkey: Valkey):
    valkey.freeze()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(api.run, "pause_processing", confirm="YES")
        asked = 0
        while not waiting.done():  # until Redis's time is up
            assert api.get("/healthz").text == "ok"
            asked += 1
    valkey.thaw()
    assert waiting.result().status == 503
    assert asked > 5, "on the event loop each would have waited for Redis's two seconds"


class Stream:
    """A client of ``/api/v1/events``."""

    def __init__(self, api: Client, token: str = "", client: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
        sent = {"Authorization": f"Bearer {token or api.token}", "X-Forwarded-For": client}
        self._connection.request("GET", f"{api.prefix}/api/v1/events", headers=sent)
        self._answer = self._connection.getresponse()
        assert self._answer.getheader("Content-Type") == "text/event-stream"

    def next(self) -> dict:
        """The data of the next event."""
        while not (line := self._answer.readline()).startswith(b"data: "):
            assert line, "the stream ended"
        return json.loads(line[6:])

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def test_events_tell_every_change_and_end_with_their_client(api: Client, console: Console, valkey: Valkey):
    before = len(console.poller._subscribers)
    stream = Stream(api)
    assert stream.next()["processing"] == "RUNNING"
    assert len(console.poller._subscribers) == before + 1
    with redis.Redis.from_url(valkey.url) as client:
        client.set("system:pause_processing", "true", ex=60)
    states = iter(stream.next, None)
    assert next(state for state in states if state["processing"] == "PAUSED")["pause"]["by"] == ""
    stream.close()
    assert until(lambda: len(console.poller._subscribers) == before), "the subscription outlived its client"


def test_a_stream_without_news_still_shows_that_it_lives(api: Client, console: Console, monkeypatch):
    monkeypatch.setattr("opsdash.api.events.HEARTBEAT_S", 0.05)
    console.poller.refresh()
    console.poller.interval_s = 60  # the poller reads once and then waits
    stream = Stream(api)
    stream.next()
    assert until(lambda: stream._answer.readline().startswith(b": alive"), timeout_s=5)
    stream.close()


@pytest.fixture
def few_streams(console: Console) -> Iterator[Client]:
    """The API with ten streams, at most five of them for one token or address."""
    made = assemble(dataclasses.replace(console.settings, max_streams=10, max_streams_each=5))
    with serving(made, token=TOKENS["viewer"]) as client:
        yield client
    made.close()


def opened(api: Client, role: str, client: str = "127.0.0.1") -> Stream:
    stream = Stream(api, token=TOKENS[role], client=client)
    stream.next()
    return stream


def test_a_viewer_can_not_take_the_streams_of_an_admin(few_streams: Client):
    with contextlib.ExitStack() as streams:
        for _ in range(5):
            streams.callback(opened(few_streams, "viewer").close)
        refused = few_streams.get("/api/v1/events")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "30")
        assert refused.problem.startswith("too-many: This token or address has 5 streams open already")
        for _ in range(3):
            streams.callback(opened(few_streams, "operator").close)
        refused = few_streams.get("/api/v1/events", token=TOKENS["operator"])
        assert (refused.status, refused.problem.partition(":")[0]) == (503, "busy")
        for _ in range(2):
            streams.callback(opened(few_streams, "admin").close)
        assert few_streams.get("/api/v1/events", token=TOKENS["admin"]).status == 503


def test_a_stream_that_ended_gives_its_place_back(few_streams: Client):
    for _ in range(3):
        streams = [opened(few_streams, "viewer") for _ in range(5)]
        for stream in streams:
            stream.close()
        assert until(lambda: len(free(few_streams)) == 5), "a place was kept"


def free(api: Client) -> list[Stream]:
    """The streams that a viewer could open now, closed again."""
    streams: list[Stream] = []
    with contextlib.suppress(AssertionError):  # refused
        while len(streams) < 5:
            streams.append(opened(api, "viewer"))
    for stream in streams:
        stream.close()
    return streams


def test_one_token_has_one_share_of_the_streams_wherever_it_is_used(few_streams: Client):
    with contextlib.ExitStack() as streams:
        for number in range(5):
            streams.callback(opened(few_streams, "viewer", client=f"203.0.113.{number}").close)
        assert few_streams.get("/api/v1/events", headers={"X-Forwarded-For": "203.0.113.9"}).status == 429


def test_the_address_of_a_client_behind_the_trusted_proxy_is_the_one_the_proxy_saw(api: Client, console: Console):
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    answer = api.call("POST", "/api/v1/operations/pause_processing", {"confirm": "YES"}, headers=forwarded)
    assert answer.status == 200
    assert console.get_recent_operations(1)[0].details["client"] == "203.0.113.7"


def test_nothing_waits_for_a_thread_that_is_not_there(api: Client):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.get("/api/v1/status").status, range(40)))
    assert set(answers) == {200}
    assert threading.active_count() < 60


def test_in_production_the_phrase_that_is_missing_is_named_and_then_taken(settings_for, fill):
    tokens = Settings.from_env({"OPSDASH_API_TOKENS": f"bot:operator:{TOKENS['operator']}"}).api_tokens
    console = assemble(settings_for(environment="production", api_tokens=tokens))
    with serving(console, token=TOKENS["operator"]) as api:
        fill(1)
        preview = api.run("clear_queue", query="?dry_run=1", params={"queue": "celery"}).json
        answer = api.run("clear_queue", params={"queue": "celery"}, confirm="YES")
        assert (answer.status, answer.json["expected"]) == (409, preview["phrase"])
        assert console.get_queue_length("celery") == 1
        done = api.run("clear_queue", params={"queue": "celery"}, confirm="YES", phrase=answer.json["expected"])
        assert done.json["affected"] == 1
    console.close()


def test_what_needs_a_second_person_is_done_with_the_token_of_one(settings_for, fill):
    tokens = ",".join(f"{name}:operator:{TOKENS['operator']}-{name}" for name in ("ann", "bob"))
    known = Settings.from_env({"OPSDASH_API_TOKENS": tokens, "OPSDASH_APPROVAL": "clear_queue"})
    console = assemble(settings_for(api_tokens=known.api_tokens, approval=known.approval, operators=("ann", "bob")))
    with serving(console) as api:
        fill(2)
        ann, bob = (f"{TOKENS['operator']}-{name}" for name in ("ann", "bob"))
        asked = api.run("clear_queue", params={"queue": "celery"}, confirm="YES", token=ann)
        assert (asked.status, asked.problem.partition(":")[0]) == (409, "needs-approval")
        approval = {"approval_id": asked.json["approval_id"]}
        assert api.run("approve", params=approval, confirm="YES", token=ann).status == 409
        assert console.get_queue_length("celery") == 2
        done = api.run("approve", params=approval, confirm="YES", token=bob)
        assert (done.status, console.get_queue_length("celery")) == (200, 0), done.text
    console.close()


def test_a_search_in_the_log_says_how_much_of_it_was_searched(
    api: Client, console: Console, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(5):
        console.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
    whole = api.get("/api/v1/audit?text=no+such+text").json
    assert (whole["searched"], whole["searched_of"], whole["after"]) == (None, None, None)
    monkeypatch.setattr(audit_reading, "SEARCHED", 2)
    part = api.get("/api/v1/audit?text=no+such+text").json
    assert (part["entries"], part["searched"], part["searched_of"]) == ([], 2, 5)
    further = api.get(f"/api/v1/audit?text=no+such+text&after={quote(part['after'])}").json
    assert (further["searched"], further["searched_of"]) == (2, 5)


@pytest.mark.long
def test_a_verdict_carries_the_age_of_its_figures_and_is_unknown_while_redis_is_away(
    api: Client, console: Console, valkey: Valkey
):
    console.pause.pause(None, by="maria", reason="", ttl_s=600)
    assert until(lambda: (fresh := api.get("/api/v1/status").json["verdict"]) and fresh["age_s"] < 5)
    valkey.kill()
    assert until(lambda: api.get("/api/v1/status").json["redis_error"])
    old = api.get("/api/v1/status").json["verdict"]
    assert (old["state"], old["safe"], old["reasons"][-1]["kind"]) == ("unknown", False, "stale")
    assert old["age_s"] > 0
    assert old["message"].startswith("The figures are ")


def test_a_program_finds_a_task_and_gets_the_operation_that_fits(api: Client, console: Console, fill):
    fill(3)
    wanted = message("wanted/1", "shop.mail", ["Order 4711", {"password": "hunter2-planted"}])
    console.broker.client.lpush(console.broker.lists("celery")[0], message("wanted-1"), wanted)
    found = api.get("/api/v1/tasks/wanted-1", token=TOKENS["viewer"])
    assert found.status == 200
    assert (found.json["id"], found.json["state"], found.json["queue"]) == ("wanted-1", "waiting", "celery")
    assert (found.json["position"], found.json["waiting"], found.json["complete"]) == (4, 5, False)
    looked = {one["what"]: one for one in found.json["looked_at"]}
    assert (looked["queues"]["messages"], looked["queues"]["complete"]) == (5, True)
    assert "separator is not known" in looked["workers"]["problem"]
    href, params = found.json["act"]["href"], found.json["act"]["params"]
    assert (href, params["task_id"]) == ("/api/v1/operations/remove_task", "wanted-1")
    removed = api.run("remove_task", params={"task_id": "wanted-1"}, confirm="YES")
    assert removed.json["undo"]["operation"] == "restore_queue"
    cleared = api.get("/api/v1/tasks/wanted-1").json
    assert (cleared["state"], cleared["act"]["operation"]) == ("cleared", "restore_queue")
    nowhere = api.get("/api/v1/tasks/nowhere-1").json
    assert (nowhere["state"], nowhere["act"], nowhere["places"]) == ("not_found", None, [])
    for wrong in ("a%20b", "%2A", "x" * 300):
        assert api.get(f"/api/v1/tasks/{wrong}").status in (400, 404)
    assert api.run("remove_task", params={"task_id": "nowhere-1"}, confirm="YES").status == 409


def test_a_program_searches_tasks_page_by_page(api: Client, console: Console):
    texts = [message(f"t-{n}", "shop.mail", [f"Order {n}", {"password": "hunter2-planted"}]) for n in range(30)]
    console.broker.client.lpush(console.broker.lists("celery")[0], *texts)
    found, after = [], ""
    for _ in range(20):
        page = api.get(f"/api/v1/tasks?name=shop.*&limit=7&state=waiting&after={after}").json
        found += [one["id"] for one in page["tasks"]]
        if not (after := page["after"]):
            break
    assert found == [f"t-{n}" for n in reversed(range(30))]
    (one,) = api.get("/api/v1/tasks?text=order%2017").json["tasks"]
    assert (one["id"], one["position"], one["waiting"]) == ("t-17", 18, 30)
    assert "hunter2" not in json.dumps(one)
    assert api.get("/api/v1/tasks?text=hunter2").json["tasks"] == []
    for wrong in ("state=gone", "limit=0", "limit=x", "nosuch=1"):
        assert api.get(f"/api/v1/tasks?{wrong}").status == 422, wrong
    assert api.get("/api/v1/tasks?after=x").problem.startswith("no-page: ")
    assert api.get("/api/v1/tasks?queue=nosuch").problem.startswith("no-queue: ")


def test_a_program_reads_a_workflow_and_cancels_what_is_left(api: Client, console: Console):
    key = console.broker.lists("celery")[0]
    child = message("kid-1", "shop.mail", [{"password": "hunter2-planted"}], root_id="top-1", parent_id="top-1")
    console.broker.client.lpush(key, child, message("kid-2", root_id="top-1", parent_id="kid-1"), message("other-1"))
    found = api.get("/api/v1/workflows/kid-2", token=TOKENS["viewer"])
    assert found.status == 200
    assert [(one["id"], one["depth"], one["state"]) for one in found.json["tasks"]] == [
        ("top-1", 0, "unknown"),
        ("kid-1", 1, "waiting"),
        ("kid-2", 2, "waiting"),
    ]
    assert (found.json["root"], found.json["gaps"], found.json["counts"]["waiting"]) == ("top-1", ["top-1"], 2)
    assert "hunter2" not in repr(found.json)
    href, params = found.json["act"]["href"], found.json["act"]["params"]
    assert (href, params["root"]) == ("/api/v1/operations/cancel_workflow", "top-1")
    done = api.run("cancel_workflow", params={"root": "top-1"}, confirm="YES")
    assert (done.status, done.json["affected"], done.json["undo"]["operation"]) == (200, 2, "restore_queue")
    assert console.get_queue_length("celery") == 1
    assert api.get("/api/v1/workflows/kid-1").json["act"] is None
    nowhere = api.get("/api/v1/workflows/nowhere-1").json
    assert (nowhere["root"], nowhere["tasks"], nowhere["act"]) == ("", [], None)
    for wrong in ("a%20b", "%2A", "x" * 300):
        assert api.get(f"/api/v1/workflows/{wrong}").status in (400, 404)
    assert api.run("cancel_workflow", params={"root": "nowhere-1"}, confirm="YES").status == 409
