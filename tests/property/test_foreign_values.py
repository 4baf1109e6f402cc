"""Whatever anybody leaves under any key that is read: no crash, no hang, no growth, and a pause works.

The values are made from a seed, so that a failure comes again. The fast suite tries some hundred; ``pytest -m slow``
10,000 for each key, or as many as ``OPSDASH_TEST_VALUES`` says.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from opsdash.errors import OpsdashError
from opsdash.model import Actor, Role, Snapshot, to_plain, untrusted
from opsdash.operations import ClearQueue, PauseProcessing, ResumeProcessing, SyncTenantConfigs
from opsdash.services.broker import layout_reports
from opsdash.services.console import Console
from opsdash.services.database import time_limit
from opsdash.services.doctor import workers as doctor_workers
from opsdash.services.monitoring import database_reads
from opsdash.services.pause.verdict import verdicts
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.workers import rate_limits, reports, running_tenants
from opsdash.web.auth.sign_out import SignedOut

MANY = int(os.environ.get("OPSDASH_TEST_VALUES", "10000"))
"""For each key, with ``pytest -m slow``."""
ROUND = 500
REQUEST = UUID(int=17)
DEEP = "[" * 5_000
NUMBERS = st.sampled_from(
    ["0", "-1", "1e5", "1e999", "nan", "inf", "-0", "0x1", "9" * 30, "9" * 5_000, str(2**63), "1_000", "\u0663", " 1"]
)
TIMES = st.sampled_from(
    [
        "2026-01-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-W01-1",
        "20260101",
        "1e18",
        "-62135596800",
        "253402300800",
    ]
)
TEXTS = st.text(max_size=30) | st.sampled_from(["\ud800", "a\0b", "\u202e", "\x1b[2J", "x" * 3_000, "<script>", ""])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | TIMES
    | st.sampled_from([10**400, -(10**400), 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | NUMBERS, inner, max_size=4),
    max_leaves=8,
)
RAW = (
    NUMBERS.map(str.encode)
    | TIMES.map(str.encode)
    | st.binary(max_size=40)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [DEEP.encode(), b"x" * 200_000, b'{"a":' * 3_000, b'{"by": "\\ud800", "at": "2026-01-01"}', b"\xff\xfe"]
    )
)
KINDS = ("string", "list", "set", "hash", "zset", "stream")
SCORES = st.sampled_from([0.0, 1.0, 1.8e9, 1e18, float("inf"), float("-inf"), -1.0])


def put(client: Any, key: str, kind: str, name: bytes, value: bytes, score: float) -> None:
    client.delete(key)
    match kind:
        case "string":
            client.set(key, value)
        case "list":
            client.rpush(key, value, name)
        case "set":
            client.sadd(key, value, name)
        case "hash":
            client.hset(key, mapping={name: value, b"other": value})
        case "zset":
            client.zadd(key, {name: score, value: score})
        case "stream":
            client.xadd(key, {name or b"x": value})


def fields(console: Console) -> dict[str, Callable[[Any, bytes, bytes, float], None]]:
    """Place → leaves a value there as its rightful owner would have put one."""
    keys, now = console.broker.keys, time.time()
    report = {"time": now, "loop_tick": now, "pid": 1, "hostname": "w@x", "queues": '["celery"]', "pool": "solo"}

    def worker(client: Any, name: bytes, value: bytes, score: float) -> None:
        client.zadd(keys.workers, {"w@x": now, b"y" + name: score})
        client.hset(keys.worker("w@x"), mapping={**report, FIELDS[len(value) % len(FIELDS)]: value})

    def trash(client: Any, name: bytes, value: bytes, score: float) -> None:
        info = {"queue": "celery", "count": "1", "by": "x", "at": "2026-01-01T00:00:00+00:00", "step:0": "1"}
        field = [*info, "until", "state", "restored_at", name][len(value) % 9]
        client.zadd(keys.trash_index, {"t1": now + 60, name: score})
        client.hset(keys.trash("t1", "info"), mapping={**info, field: value})
        client.rpush(keys.trash("t1", "0"), value)

    def message(client: Any, name: bytes, value: bytes, score: float) -> None:
        client.rpush("celery", value)
        client.rpush("celery", json.dumps({"body": value.decode(errors="ignore"), "headers": {"task": "\ud800"}}))
        client.hset("unacked", name, value)
        client.zadd("unacked_index", {name: score})

    template, identity = asked(console), "a" * 32
    places = [
        (outer, inner) for outer, told in template.items() for inner in (told if isinstance(told, dict) else [""])
    ]

    def approval(client: Any, name: bytes, value: bytes, score: float) -> None:
        """One of opsdash's own, but for one value: as another version with the same key may write it."""
        told: Any = json.loads(json.dumps(template))
        outer, inner = places[len(value) % len(places)]
        try:
            odd = json.loads(value)
        except (ValueError, RecursionError):
            odd = value.decode(errors="replace")
        if inner:
            told[outer][inner] = odd
        else:
            told[outer] = odd
        text = json.dumps(told) if len(name) % 4 else value.decode(errors="replace")
        mac = console.audit.signer.mac(f"approval:{identity}:{text}") if len(name) % 5 else name
        client.zadd(keys.approvals, {identity: now + 60 if len(name) % 3 else now - 60, name: score})
        client.hset(keys.approval(identity), mapping={"asked": text, "mac": mac, **({"taken": name} if name else {})})
        put(client, keys.approval(name.decode(errors="replace")), KINDS[len(value) % len(KINDS)], name, value, score)

    return {
        "worker": worker,
        "approval": approval,
        "trash": trash,
        "message": message,
        "story": lambda client, _name, value, _score: client.hset(
            keys.pause_info, mapping={"*": value, "celery": value}
        ),
        "epoch": lambda client, _name, value, _score: client.set(keys.pause_epoch, value),
        "cancelled": lambda client, name, value, _score: client.hset(
            keys.pause_cancelled, mapping={"*": value, name: value}
        ),
        "history": lambda client, _name, value, _score: client.xadd(keys.history("10s"), {"point": value}),
        "expires": lambda client, name, value, _score: client.hset(
            keys.expires, mapping={"celery": value, name: value}
        ),
        "declared": lambda client, _name, value, _score: client.hset(keys.expires_declared, "celery", value),
        "spool": lambda client, _name, value, _score: client.xadd(
            keys.outbox, {"kind": "whole", "entry": value, "mac": value}
        ),
        "tenants": lambda client, name, value, _score: (
            client.hset(keys.tenants, name or "t", value),
            client.hset(keys.tenants_synced, mapping={"rows": value, "at": value, "noticed": value, "newest": value}),
        ),
        "bindings": lambda client, _name, value, _score: (
            client.sadd("_kombu.binding.celery", value),
            client.sadd("_kombu.binding.celery.pidbox", value),
        ),
    }


def asked(console: Console) -> dict[str, Any]:
    """What a request for approval is in Redis."""
    actor, operation = Actor(name="maria", role=Role.OPERATOR), ClearQueue(queue="celery")
    entry = console.audit.begin(operation, actor, None)
    made = console.pending_approvals.add(operation, actor, entry, console.preview(operation))
    kept = console.broker.client.hget(console.broker.keys.approval(made.id), "asked")
    return json.loads(kept)


FIELDS = tuple(
    dict.fromkeys(
        [
            *reports.FIELDS,
            *(reports.RUNNING, reports.ARGUMENTS, reports.WORKFLOW),
            *layout_reports.FIELDS,
            *doctor_workers.REPORT,
            *(rate_limits.REPORTED, running_tenants.FIELD),
            "clock",
        ]
    )
)
"""Of a worker's report: all that a console reads, wherever it does."""
PLACES = (
    *("worker", "trash", "message", "story", "epoch", "cancelled", "history", "expires", "declared", "spool"),
    *("tenants", "bindings", "approval"),
)
KEYS = {
    "pause_info": "opsdash:pause",
    "pause_epoch": "opsdash:pause:epoch",
    "pause_cancelled": "opsdash:pause:cancelled",
    "expires": "opsdash:expires",
    "declared": "opsdash:expires:declared",
    "quiet": "opsdash:quiet",
    "workers": "opsdash:workers",
    "trash": "opsdash:trash",
    "history": "opsdash:history:10s",
    "spool": "opsdash:audit:spool",
    "aside": "opsdash:audit:spool:aside",
    "restores": "opsdash:restores",
    "approvals": "opsdash:approvals",
    "tenants": "opsdash:tenants",
    "tenants_synced": "opsdash:tenants:synced",
    "unacked": "unacked",
    "unacked_index": "unacked_index",
    "queue": "celery",
    "priority": "celery\x06\x163",
    "binding": "_kombu.binding.celery",
    "mailboxes": "_kombu.binding.celery.pidbox",
    "deadlines": "_kombu.binding_deadlines",
    "flag": "system:pause_processing",
    "flag of a queue": "system:pause_processing:celery",
    "writer": "opsdash:history:writer",
    "busy": "opsdash:busy:celery",
    "tenants busy": "opsdash:tenants:busy",
    "tenant": "tenant_config:t",
    "request": f"opsdash:request:{REQUEST}",
    "signed_out": "opsdash:signed_out",
}


def signed_out(console: Console) -> None:
    SignedOut(console.broker, b"key").sync()


READ_BY: dict[str, Callable[[Console], object]] = {
    "opsdash:busy:celery": lambda console: console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES"),
    "opsdash:tenants:busy": lambda console: console.run(SyncTenantConfigs(), actor="maria", confirm="YES"),
    "tenant_config:t": lambda console: console.run(SyncTenantConfigs(), actor="maria", confirm="YES"),
    f"opsdash:request:{REQUEST}": lambda console: console.run(
        ResumeProcessing(), actor="maria", confirm="YES", request_id=REQUEST
    ),
    "opsdash:signed_out": signed_out,
}
"""Keys that no snapshot reads → what does."""


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Console:
    """Patient with its database: on a busy machine that is slow now and then, whatever lies in Redis."""
    monkeypatch.setattr(time_limit, "WAIT_S", 30.0)
    monkeypatch.setattr(database_reads, "LITTLE_S", 30.0)
    return console_for(database_url=sqlite_url, queues=("celery",))


def looked_at(console: Console) -> Snapshot:
    """Every read there is; only an error that opsdash raises on purpose may come of it."""
    snapshot = console.snapshot()
    assert snapshot.redis_error == "", snapshot.redis_error
    assert snapshot.database_error == "", snapshot.database_error
    # As every surface will: JSON, in UTF-8.
    json.dumps(to_plain(snapshot), ensure_ascii=False).encode()
    json.dumps(verdicts(snapshot), ensure_ascii=False).encode()
    [one.message for one in snapshot.unread]
    console.history.read()
    console.history.record(snapshot)
    console.workers.running("w@x")
    json.dumps(to_plain(sample_tasks(console.broker, "celery").by_task), ensure_ascii=False).encode()
    for read in (lambda: console.queues.peek("celery", 5), lambda: console.trash.find("t1"), console.approvals):
        with contextlib.suppress(OpsdashError):  # said in one line
            json.dumps(to_plain(read()), ensure_ascii=False).encode()
    return snapshot


def paused_and_resumed(console: Console) -> None:
    assert console.run(PauseProcessing(reason="fire"), actor="maria", confirm="YES").affected == 1
    snapshot = console.snapshot()
    assert snapshot.pause is not None
    assert snapshot.pause.by == "maria"
    assert console.run(ResumeProcessing(), actor="maria", confirm="YES").affected == 1


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@hypothesis.settings(max_examples=1, database=None)
@given(RAW)
def warm_up(_value: bytes) -> None:
    """Where Hypothesis finds no table of characters on the disk, it makes one, in 200 MB."""


def tried(console: Console, leave: Callable[[Any, bytes, bytes, float], None], examples: int) -> None:
    """Tries so many values, by rounds: Hypothesis keeps what it has made until a round ends, some 7 KB each."""
    client = console.broker.client
    acts = max(1, examples // 40)

    def run(name: bytes, value: bytes, score: float, number: int) -> None:
        client.flushdb()
        console.discovery._looked_s = console.broker.layouts._looked_s = float("-inf")
        leave(client, name, value, score)
        started = time.monotonic()
        looked_at(console)
        if number == 1:
            paused_and_resumed(console)
        assert time.monotonic() - started < 5

    warm_up()
    before_mb = peak_mb()
    for seed in range(math.ceil(examples / ROUND)):
        values = given(name=RAW.map(lambda value: value[:60]), value=RAW, score=SCORES, number=st.integers(1, acts))
        settings = hypothesis.settings(
            max_examples=min(examples, ROUND),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        hypothesis.seed(seed)(settings(values(run)))()
        assert peak_mb() - before_mb < 100, f"round {seed}"


def examples_of(fast: int) -> Any:
    return pytest.mark.parametrize(
        "examples", [fast, pytest.param(MANY, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(7200)])]
    )


@examples_of(6)
@pytest.mark.parametrize("place", PLACES)
def test_no_value_in_a_place_of_opsdashs_own_breaks_a_read_or_a_pause(console: Console, place: str, examples: int):
    tried(console, fields(console)[place], examples)


@examples_of(4)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_no_key_of_any_type_breaks_a_read_or_a_pause(console: Console, key: str, examples: int):
    def leave(client: Any, name: bytes, value: bytes, score: float) -> None:
        put(client, key, KINDS[(len(name) + len(value)) % len(KINDS)], name, value, score)
        if read := READ_BY.get(key):
            with contextlib.suppress(OpsdashError):  # said in one line
                read(console)
            put(client, key, KINDS[(len(name) + len(value)) % len(KINDS)], name, value, score)

    tried(console, leave, examples)


@given(RAW | st.text())
def test_what_others_write_is_read_without_an_error_and_can_be_written_again(value: bytes | str):
    text = value if isinstance(value, str) else value.decode(errors="backslashreplace")
    for read in (
        untrusted.whole,
        untrusted.figure,
        untrusted.moment,
        untrusted.instant,
        untrusted.names,
        untrusted.counts,
    ):
        read(text)
        read(untrusted.parsed(text))
    found = untrusted.parsed(text)
    json.dumps([to_plain(found), untrusted.words(text)], allow_nan=False, ensure_ascii=False).encode()
