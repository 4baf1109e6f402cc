"""``/metrics`` as Prometheus reads it, and the dashboard and alerts that stand on it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import promql_parser
import pytest
import redis
import sqlalchemy as sa
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.reports import LAYOUT
from support.served import Client, serving
from support.services import Valkey, until
from support.workers import producer

from opsdash.api import metrics
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.model import ObjectiveStatus, QueuePace, QueueStats, Snapshot, WorkerStats
from opsdash.model.time_in_queue import BUCKETS, TimeInQueue, bucket_of
from opsdash.operation import registry
from opsdash.operations import PauseProcessing
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_log
from opsdash.services.workers.reports import ReportedTimes

DEPLOY = Path(__file__).parents[2] / "apps" / "deploy"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def scrape(api: Client, console: Console) -> Callable[[], Samples]:
    """Reads ``/metrics`` as Prometheus does, once the poller has looked."""

    def read() -> Samples:
        before = console.poller.latest
        api.get("/metrics")  # from the first scrape on the console follows the poller
        assert until(lambda: console.poller.latest is not before and console.poller.latest is not None)
        answer = api.get("/metrics")
        assert answer.status == 200
        return dict_of(answer.text)

    return read


def dict_of(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def report(valkey: Valkey, hostname: str, **figures: object) -> None:
    """A worker's pushed health."""
    with redis.Redis.from_url(valkey.url) as client:
        now = time.time()
        report = {"time": now, "loop_tick": now, "active": 1, "layout": LAYOUT, **figures}
        client.hset(f"opsdash:worker:{hostname}", mapping=report)
        client.zadd("opsdash:workers", {hostname: now})


def test_a_scrape_tells_queues_pauses_workers_and_the_audit_log(scrape, api: Client, valkey: Valkey):
    with producer(valkey.url) as celery:
        for priority in (0, 0, 6):
            celery.send_task("sample.short", priority=priority)
    report(valkey, "w1@host", concurrency=4, reserved=2, failed=7, load="0.75")
    api.run("pause_processing", confirm="YES", params={"queue": "emails"})
    seen = scrape()
    assert value(seen, "opsdash_queue_waiting", queue="celery", priority="0") == 2
    assert value(seen, "opsdash_queue_waiting", queue="celery", priority="6") == 1
    assert value(seen, "opsdash_queue_waiting", queue="emails", priority="0") == 0
    assert value(seen, "opsdash_paused") == 0
    assert value(seen, "opsdash_queue_paused", queue="emails") == 1
    assert value(seen, "opsdash_worker_up", worker="w1@host") == 1
    assert value(seen, "opsdash_tasks_held", state="reserved") == 2
    assert value(seen, "opsdash_worker_failed_total", worker="w1@host") == 7
    assert value(seen, "opsdash_worker_load", worker="w1@host") == 0.75
    assert value(seen, "opsdash_audit_spool_length") == 0
    assert value(seen, "opsdash_up", service="redis") == 1
    assert value(seen, "opsdash_snapshot_age_seconds") < 5


def test_an_operation_is_counted_whichever_way_it_was_asked_for(scrape, api: Client, console: Console):
    name = "opsdash_operations_total"
    first = scrape()
    assert value(first, name, operation="pause_processing", status="success") == 0  # so that the first one is seen
    api.run("pause_processing", confirm="no")
    console.run(PauseProcessing(), actor="maria", confirm="YES")
    assert until(lambda: value(scrape(), name, operation="pause_processing", status="success") == 1)
    seen = scrape()
    assert value(seen, name, operation="pause_processing", status="refused") == 1
    assert value(seen, "opsdash_operation_duration_seconds_count", operation="pause_processing") == 1


def test_an_entry_that_was_changed_shows_as_a_broken_chain(scrape, console: Console, api: Client, monkeypatch):
    monkeypatch.setattr("opsdash.services.monitoring.metrics.CHAIN_S", 0.0)
    api.run("pause_processing", confirm="YES")
    assert until(lambda: scrape().get(("opsdash_audit_chain_ok", ())) == 1)
    with console.engine.begin() as connection:
        connection.execute(sa.update(audit_log).values(user="somebody else"))
    assert until(lambda: scrape()["opsdash_audit_chain_ok", ()] == 0)


def test_while_redis_is_away_its_figures_are_a_gap_and_not_zero(scrape, api: Client, valkey: Valkey, console: Console):
    report(valkey, "w1@host")
    before = scrape()
    valkey.kill()
    assert until(lambda: scrape()["opsdash_up", (("service", "redis"),)] == 0)
    gone = {name for name, _ in before} - {name for name, _ in scrape()}
    assert {
        "opsdash_worker_up", "opsdash_workers", "opsdash_worker_slots", "opsdash_tasks_held", "opsdash_queue_waiting",
        "opsdash_paused", "opsdash_unacked", "opsdash_redis_seconds", "opsdash_audit_spool_length",
    } <= gone  # fmt: skip


def test_what_can_not_be_read_of_a_queue_or_worker_has_no_series(meter: metrics.Meter):
    now = datetime.now(UTC)
    queues = (QueueStats(name="odd", waiting=0, error="not a list"), QueueStats(name="empty", waiting=0))
    worker = WorkerStats(hostname="w1", state="online", heartbeat_at=now, failed=None)
    seen = samples_of(meter, Snapshot(taken_at=now, queues=queues, workers=(worker,), redis_age_s=0.0))
    assert {dict(labels)["queue"] for name, labels in seen if name == "opsdash_queue_waiting"} == {"empty"}
    assert not [labels for name, labels in seen if name == "opsdash_worker_failed_total"]


def test_a_scrape_needs_a_token_and_a_viewers_will_do(api: Client):
    assert api.get("/metrics", token="").status == 401
    assert api.get("/metrics", token="token-of-the-viewer-0123456789").status == 200


def test_a_scrape_asks_redis_nothing(scrape, api: Client, console: Console, valkey: Valkey):
    scrape()
    console.poller.interval_s = 60
    time.sleep(0.5)  # the poller's last step under the short interval
    with redis.Redis.from_url(valkey.url) as client:
        before = client.info("stats")["total_commands_processed"]
        for _ in range(5):
            assert api.get("/metrics").status == 200
        assert client.info("stats")["total_commands_processed"] - before == 1  # this question itself


def test_scrapers_that_speak_openmetrics_are_answered_in_it(api: Client):
    answer = api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_scrape_finds_its_text_ready_and_renders_nothing(scrape, api: Client, console: Console, monkeypatch):
    scrape()
    scrape()  # the format is known, and the poller has rendered it
    console.poller.interval_s = 60
    time.sleep(0.5)  # the poller's last step under the short interval
    monkeypatch.setattr(metrics.Meter, "collect", lambda self: pytest.fail("a scrape renders nothing"))
    ages = [value(dict_of(api.get("/metrics").text), "opsdash_snapshot_age_seconds") for _ in range(3)]
    assert 0 < ages[0] < ages[1] < ages[2]  # but the age is of now


def test_however_many_formats_are_asked_for_few_are_rendered_ahead(meter: metrics.Meter):
    for minor in range(20):
        meter.text(f"application/openmetrics-text; version=1.{minor}.0")
    assert len(meter._formats) == metrics.MAX_FORMATS


@pytest.fixture
def meter(settings_for: Callable[..., Settings]) -> Iterator[metrics.Meter]:
    made = assemble(settings_for())
    yield metrics.Meter(made)
    made.close()


def samples_of(meter: metrics.Meter, snapshot: Snapshot) -> Samples:
    meter._console.poller.latest = snapshot
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in meter.registry.collect()
        for sample in family.samples
    }


def test_however_many_queues_and_workers_there_are_the_labels_are_bounded(meter: metrics.Meter):
    now = datetime.now(UTC)
    queues = tuple(QueueStats(name=f"q{n}", waiting=2, by_priority={0: 1, 3: 1}) for n in range(700))
    workers = tuple(
        WorkerStats(hostname=f"w{n}", state="offline" if n < 500 else "online", heartbeat_at=now, failed=3)
        for n in range(1_500)
    )
    seen = samples_of(meter, Snapshot(taken_at=now, queues=queues, workers=workers, redis_age_s=0.0))
    assert sum(v for (name, _), v in seen.items() if name == "opsdash_queue_waiting") == 1_400  # none is left out
    assert value(seen, "opsdash_queue_waiting", queue="other", priority="3") == 500
    up = [dict(labels)["worker"] for name, labels in seen if name == "opsdash_worker_up"]
    assert len(up) == metrics.MAX_WORKERS + 1
    assert value(seen, "opsdash_worker_up", worker="other") == 0  # some of the others are offline
    assert value(seen, "opsdash_workers", state="offline") == 500
    assert value(seen, "opsdash_worker_failed_total", worker="w1499") == 3
    assert ("opsdash_worker_failed_total", (("worker", "w0"),)) not in seen, "its last word is no news"


def test_failures_and_load_beyond_the_bound_are_told_together(meter: metrics.Meter):
    now, beyond = datetime.now(UTC), 4
    workers = tuple(
        WorkerStats(hostname=f"w{n}", state="online", heartbeat_at=now, failed=n, load=float(n) if n != 3 else None)
        for n in range(metrics.MAX_WORKERS + beyond)
    )
    seen = samples_of(meter, Snapshot(taken_at=now, workers=workers, redis_age_s=0.0))
    last = [worker.failed for worker in workers[-beyond:]]
    assert value(seen, "opsdash_worker_failed_total", worker="other") == sum(last)
    assert value(seen, "opsdash_worker_load", worker="other") == max(last)
    for name, fewer in (("opsdash_worker_failed_total", 0), ("opsdash_worker_load", 1)):
        assert len([labels for found, labels in seen if found == name]) == metrics.MAX_WORKERS + 1 - fewer


def test_names_of_operations_are_bounded_too(meter: metrics.Meter):
    now = datetime.now(UTC)
    for number in range(200):
        meter._count(f"from_another_version_{number}", "success", 0.1)
    names = {
        dict(labels)["operation"] for name, labels in samples_of(meter, Snapshot(taken_at=now)) if "opsdash_op" in name
    }
    used = [kind for kind in registry().values() if not kind.turn_on]
    assert len(names) == len(used) + metrics.MAX_NAMES + 1


def test_a_queue_whose_age_is_not_known_has_no_series_and_an_empty_one_is_of_age_zero(meter: metrics.Meter):
    queues = (
        QueueStats(name="empty", waiting=0),
        QueueStats(name="untold", waiting=1),
        QueueStats(name="told", waiting=1, oldest_s=90.0),
    )
    seen = samples_of(meter, Snapshot(taken_at=datetime.now(UTC), queues=queues, redis_age_s=0.0))
    name = "opsdash_queue_oldest_seconds"
    assert {dict(labels)["queue"]: n for (found, labels), n in seen.items() if found == name} == {
        "empty": 0,
        "told": 90,
    }


def names_in(query: str) -> set[str]:
    """Metrics that a query names; fails where Prometheus could not parse it."""
    parsed = promql_parser.parse(re.sub(r"\$__rate_interval|\$__interval", "5m", query.replace("$job", ".*")))
    found: set[str] = set()

    def look(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)
        for part in ("lhs", "rhs", "expr", "vector_selector", "args"):
            inner = getattr(node, part, None)
            for one in inner if isinstance(inner, list) else [inner]:
                if isinstance(one, promql_parser.Expr):
                    look(one)

    look(parsed)
    assert found, query
    return found


def alert_queries() -> dict[str, str]:
    rules = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule["expr"] for rule in rules}


def dashboard_queries() -> dict[str, str]:
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]}


def test_every_metric_that_an_alert_or_the_dashboard_names_is_printed(
    scrape, api: Client, console: Console, valkey: Valkey, monkeypatch
):
    report(valkey, "w1@host", failed=0)
    console.unmanaged.look()
    monkeypatch.setattr("opsdash.services.monitoring.metrics.CHAIN_S", 0.0)
    api.run("pause_processing", confirm="YES")
    assert until(lambda: ("opsdash_audit_chain_ok", ()) in scrape())
    text = api.get("/metrics").text
    printed = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    printed |= {family.name for family in text_string_to_metric_families(text)}  # those without a sample yet
    for place, query in {**alert_queries(), **dashboard_queries()}.items():
        assert names_in(query) <= printed, place


def test_limits_are_in_the_status_and_have_metrics_while_there_are_some(scrape, api: Client):
    assert not [name for name, _ in scrape() if "limit" in name]
    api.run("set_rate_limit", params={"task": "shop.charge", "rate": "10/s"}, confirm="YES")
    api.run("limit_concurrency", params={"task": "shop.*", "most": 3}, confirm="YES")
    samples = scrape()
    assert value(samples, "opsdash_rate_limit_per_second", task="shop.charge") == 10
    assert value(samples, "opsdash_concurrency_limit", task="shop.*") == 3
    assert value(samples, "opsdash_concurrency_limit_running", task="shop.*") == 0
    assert value(samples, "opsdash_concurrency_limit_waiting", task="shop.*") == 0
    status = api.get("/api/v1/status").json
    assert [(one["task"], one["rate"]) for one in status["rate_limits"]] == [("shop.charge", "10/s")]
    assert [(one["hold"]["name"], one["hold"]["most"]) for one in status["concurrency_limits"]] == [("shop.*", 3)]
    assert status["holds"] == [], "a limit is no hold"


def test_every_metric_that_is_printed_is_explained_in_the_docs(scrape, api: Client, monkeypatch, console: Console):
    console.unmanaged.look()
    monkeypatch.setattr("opsdash.services.monitoring.metrics.CHAIN_S", 0.0)
    api.run("pause_processing", confirm="YES")
    api.run("hold_tasks", params={"task": "shop.charge"}, confirm="YES")
    api.run("set_rate_limit", params={"task": "shop.charge", "rate": "10/s"}, confirm="YES")
    api.run("limit_concurrency", params={"task": "shop.*", "most": 3}, confirm="YES")
    assert until(lambda: ("opsdash_audit_chain_ok", ()) in scrape())
    text = api.get("/metrics").text
    printed = set(re.findall(r"^# TYPE (opsdash\w+)", text, re.MULTILINE))
    printed = {name for name in printed if not name.endswith("_created")}
    listed = set(
        re.findall(r"^\| `(opsdash\w+)`", (DEPLOY.parents[1] / "docs" / "metrics.md").read_text(), re.MULTILINE)
    )
    assert listed == printed


def test_the_alerts_that_an_operator_was_promised_are_there_and_say_what_to_do():
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert {
        "OpsdashPausedTooLong",
        "OpsdashBacklogGrowsWhilePaused",
        "OpsdashWorkerLost",
        "OpsdashAuditSpoolNotEmpty",
        "OpsdashAuditChainBroken",
        "OpsdashAuditPushWaits",
        "OpsdashNotificationsGivenUp",
    } <= rules.keys()
    for rule in rules.values():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_the_dashboard_is_one_that_grafana_can_import():
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    assert board["title"] == "opsdash"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {"${datasource}"}


@pytest.mark.parametrize("migrated", [True, False])
def test_readiness_names_each_part_that_is_missing(
    settings_for: Callable[..., Settings], empty_sqlite_url: str, sqlite_url: str, valkey: Valkey, migrated: bool
):
    engine = database.connect(empty_sqlite_url)
    with engine.connect():  # a file without a table
        pass
    engine.dispose()
    console = assemble(settings_for(database_url=sqlite_url if migrated else empty_sqlite_url))
    with serving(console) as client:
        ready = client.get("/readyz", token="")
        assert ready.status == (200 if migrated else 503)
        assert ready.json["redis"] == {"ok": True, "message": "answers"}
        assert ready.json["migrations"]["ok"] is migrated
        if not migrated:
            assert "run: opsdash db upgrade" in ready.json["migrations"]["message"]
        valkey.kill()
        gone = client.get("/readyz", token="")
        assert (gone.status, gone.json["redis"]["ok"], gone.json["database"]["ok"]) == (503, False, True)
        assert str(valkey.port) not in gone.text  # who asks without a token learns no address
        assert client.get("/healthz", token="").text == "ok"
    console.close()


def test_a_console_is_ready_beside_a_newer_one_that_has_upgraded_the_tables(
    settings_for: Callable[..., Settings], sqlite_url: str
):
    console = assemble(settings_for(database_url=sqlite_url))
    with console.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    with serving(console) as client:
        ready = client.get("/readyz", token="")
        assert (ready.status, ready.json["migrations"]["ok"]) == (200, True)
        assert "of a newer opsdash" in ready.json["migrations"]["message"]
    console.close()


def test_a_database_that_is_gone_is_not_ready(settings_for: Callable[..., Settings], postgres, postgres_url: str):
    console = assemble(settings_for(database_url=postgres_url))
    with serving(console) as client:
        assert client.get("/readyz").status == 200
        postgres.kill()
        gone = client.get("/readyz")
        assert (gone.status, gone.json["database"]["ok"], gone.json["redis"]["ok"]) == (503, False, True)
    console.close()


def test_a_snapshot_that_is_stale_is_read_anew_by_the_scrape(api: Client, console: Console):
    old = replace(console.snapshot(), taken_at=datetime(2020, 1, 1, tzinfo=UTC))
    console.poller.latest = old
    text = api.get("/metrics").text
    assert console.poller.latest is not old
    assert float(re.search(r"^opsdash_snapshot_age_seconds (\S+)$", text, re.MULTILINE)[1]) < 5


def test_times_in_queue_are_a_histogram_that_only_grows(meter: metrics.Meter):
    times = meter._console.history.times
    now = datetime.now(UTC)
    looked = Snapshot(taken_at=now, redis_age_s=0.0, queues=(QueueStats(name="emails", waiting=0, pace=PACE),))

    def reported(*seconds: float) -> ReportedTimes:
        counts = [0] * BUCKETS
        for one in seconds:
            counts[bucket_of(one)] += 1
        measured = TimeInQueue(tuple(counts), sum(seconds), paused=2, clock=1)
        return ReportedTimes(process="w1", uptime_s=0.0, silent_s=0.0, by_queue={"emails": measured})

    times.note([])
    times.note([reported(0.3, 4.0, 25.0, 1e6)])
    seen = samples_of(meter, looked)
    name = "opsdash_time_in_queue_seconds"
    assert [value(seen, f"{name}_bucket", queue="emails", le=le) for le in ("0.1", "0.5", "5", "30", "+Inf")] == [
        *(0, 1, 2, 3, 4)
    ]
    assert (value(seen, f"{name}_count", queue="emails"), value(seen, f"{name}_sum", queue="emails")) == (4, 1000029.3)
    apart = {why: value(seen, "opsdash_time_in_queue_apart_total", queue="emails", why=why) for why in WHY}
    assert apart == {"paused": 2, "clock": 1, "unknown": 0}
    assert value(seen, "opsdash_objective_ratio", queue="emails") == 0.9
    assert value(seen, "opsdash_objective_target_ratio", queue="emails") == 0.95
    assert value(seen, "opsdash_queue_falling_behind", queue="emails") == 1
    times.note([])  # the worker has gone
    assert value(samples_of(meter, looked), f"{name}_count", queue="emails") == 4


WHY = ("paused", "clock", "unknown")
PACE = QueuePace(
    objective=ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=3_600, share=0.9, tasks=9), falling_behind=True
)
