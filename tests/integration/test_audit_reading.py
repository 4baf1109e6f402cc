"""Reading the audit log: filters, pages that never skip or repeat, exports, and an index for page one."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from support.errors import fails
from support.services import Postgres

import opsdash
from opsdash.errors import Invalid
from opsdash.model import Actor, Figure, Preview, Role, Status
from opsdash.services.audit import exports, query
from opsdash.services.audit.query import Filter
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import audit_log

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def fill(console: Console, rows: Iterable[dict[str, Any]]) -> None:
    made = [
        {
            "id": uuid4(),
            "request_id": uuid4(),
            "timestamp": NOON,
            "user": "maria",
            "operation": "clear_queue",
            "status": "success",
            "details": {},
            "finished_at": NOON,
            **row,
        }
        for row in rows
    ]
    with console.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), made)


@pytest.fixture
def filled(console: Console) -> Console:
    fill(
        console,
        [
            {"user": "maria", "details": {"message": "Cleared 12 tasks from Emails."}},
            {"user": "eve", "status": "refused", "timestamp": NOON + timedelta(hours=1)},
            {"operation": "pause_processing", "details": {"params": {"reason": "100% _sure_"}}},
            {"timestamp": NOON - timedelta(days=1), "details": {"message": "é"}},
        ],
    )
    return console


SHOWN = [
    (Filter(), 4),
    (Filter(user="eve"), 1),
    (Filter(user="eve", status="success"), 0),
    (Filter(operation="pause_processing"), 1),
    (Filter(status="refused"), 1),
    (Filter(since=NOON), 3),
    (Filter(until=NOON), 1),
    (Filter(since=NOON, until=NOON + timedelta(hours=1)), 2),
    (Filter(text="cleared 12 TASKS"), 1),
    (Filter(text="100% _sure"), 1),
    (Filter(text="1%_"), 0),
    (Filter(text="é"), 1),
    (Filter(text="'; DROP TABLE audit_log; --"), 0),
]


@pytest.mark.long
def test_a_filter_shows_what_it_says(filled: Console) -> None:
    got = [(chosen, len(filled.audit.page(chosen).entries), filled.audit.total(chosen)) for chosen, _ in SHOWN]
    assert got == [(chosen, number, None if chosen.text else number) for chosen, number in SHOWN]


def test_pages_show_every_entry_once_even_when_many_began_in_the_same_instant(console: Console) -> None:
    fill(console, [{"timestamp": NOON + timedelta(seconds=number // 10)} for number in range(47)])
    seen: list[UUID] = []
    after = None
    while True:
        page = console.audit.page(limit=10, after=after)
        seen += [entry.id for entry in page.entries]
        fill(console, [{"timestamp": NOON + timedelta(days=1)}])  # what comes meanwhile is on no later page
        after = page.after
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 47


@pytest.mark.parametrize(
    "after",
    [
        "",
        "~",
        "yesterday~1",
        "2026-01-01T00:00:00~not-an-id",
        "2026-01-01T00:00:00~12345678-1234-5678-1234-567812345678",
    ],
)
def test_a_page_that_can_not_follow_is_refused_in_a_sentence(console_for: Callable[..., Console], after: str) -> None:
    with fails(Invalid, field="after"):
        console_for().audit.page(after=after)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_has_one_to_ten_thousand_entries(console_for: Callable[..., Console], limit: int) -> None:
    with fails(Invalid, field="limit"):
        console_for().audit.page(limit=limit)


def test_exports_hold_every_entry_and_no_formula(filled: Console) -> None:
    fill(filled, [{"user": "=1+1", "details": {"message": "@SUM(A1)"}}])
    read = list(csv.DictReader(io.StringIO("".join(filled.audit.export()), newline="")))
    assert len(read) == 5
    assert "'=1+1" in {row["user"] for row in read}
    lines = [json.loads(line) for line in filled.audit.export(form="jsonl")]
    assert len(lines) == 5
    assert {Status(line["status"]) for line in lines} == {Status.SUCCESS, Status.REFUSED}
    assert len(list(filled.audit.export(Filter(user="eve")))) == 2


def test_the_flat_export_has_one_column_per_fact_and_no_json_and_no_formula(filled: Console) -> None:
    details = {"message": "@SUM(A1)", "affected": 3, "params": {"queue": "emails", "reason": "=cmd()"}, "took_s": 0.5}
    fill(filled, [{"user": "=1+1", "operation": "clear_queue", "details": details}])
    read = list(csv.DictReader(io.StringIO("".join(filled.audit.export(form="flat")), newline="")))
    (row,) = [row for row in read if row["User"] == "'=1+1"]
    assert (row["Operation"], row["Target"], row["Reason"], row["Affected"]) == (
        "Clear Queue",
        "emails",
        "'=cmd()",
        "3",
    )
    assert (row["Result"], row["Took (s)"]) == ("'@SUM(A1)", "0.5")
    assert not [cell for row in read for cell in row.values() if "{" in cell]


@pytest.mark.parametrize("name", ["a\0b", "a\udcffb"], ids=["NUL", "half a pair"])
def test_a_name_that_no_database_takes_is_audited_found_and_exported_in_escapes(console: Console, name: str) -> None:
    seen = Preview(title="", warning="", lines=(), figures=(Figure(name="by_task", value={"evil \ud800\0": 3}),))
    actor = Actor(name=name, role=Role.ADMIN, client=name)
    console.run(opsdash.PauseProcessing(), actor=actor, confirm="YES", reviewed=seen)
    (entry,) = console.audit.page(Filter(user=name)).entries
    assert entry.status is Status.SUCCESS
    assert entry.user in {r"a\x00b", r"a\udcffb"}
    assert console.audit.page(Filter(user=name, operation=name)).entries == ()
    for form in ("csv", "jsonl"):
        assert "evil " in "".join(console.audit.export(form=form)).encode().decode()
    assert console.audit.verify().ok


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search ends after 20 entries, and looks at six of them at a time at most."""
    for name, number in (("SEARCHED", 20), ("FIRST_STRETCH", 3), ("LONGEST_STRETCH", 6)):
        monkeypatch.setattr(query, name, number)


@pytest.mark.usefixtures("short")
def test_a_search_for_a_text_says_how_far_it_looked_and_its_next_page_goes_on_there(console: Console) -> None:
    fill(console, [{"timestamp": NOON - timedelta(minutes=at // 4), "details": {"n": f"<{at}>"}} for at in range(50)])
    sought, pages = Filter(text="<49>"), [query.Page(entries=(), after=None)]
    while not pages[1:] or pages[-1].after:
        pages.append(console.audit.page(sought, after=pages[-1].after))
    assert [(len(page.entries), page.searched, page.of) for page in pages[1:]] == [
        (0, 20, 50),
        (0, 20, 50),
        (1, None, None),
    ]
    assert len(list(console.audit.export(sought, form="jsonl"))) == 1, "an export goes on to the end"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("limit", [1, 2, 7, 50])
def test_a_search_finds_every_entry_once_wherever_its_pages_and_stretches_end(console: Console, limit: int) -> None:
    rows = [
        {"timestamp": NOON + timedelta(minutes=at // 5), "details": {"n": "odd" if at % 3 else "even"}}
        for at in range(70)
    ]
    fill(console, [{**row, "user": "maria" if at % 2 else "eve"} for at, row in enumerate(rows)])
    chosen, seen, after = Filter(text="ODD", user="eve"), list[UUID](), None
    while True:
        page = console.audit.page(chosen, limit=limit, after=after)
        seen += [entry.id for entry in page.entries]
        after = page.after
        if after is None:
            break
    expected = [
        entry.id for entry in console.audit.page(Filter(user="eve"), limit=100).entries if entry.details["n"] == "odd"
    ]
    assert seen == expected
    assert [json.loads(line)["id"] for line in console.audit.export(chosen, form="jsonl")] == list(map(str, expected))


def test_a_search_that_takes_long_ends_and_goes_on_when_it_is_asked_again(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(console, [{"timestamp": NOON - timedelta(minutes=at)} for at in range(30)])
    monkeypatch.setattr(query, "FIRST_STRETCH", 10)
    monkeypatch.setattr(query, "SEARCH_S", -1.0)
    page = console.audit.page(Filter(text="nothing"))
    assert (page.searched, page.of) == (10, 30)
    assert console.audit.page(Filter(text="nothing"), after=page.after).searched == 10


def test_what_is_too_many_is_not_counted(filled: Console) -> None:
    assert filled.audit.total(most=4) == 4
    assert filled.audit.total(most=3) is None


PAGES_OF_THE_TABLE = 500
"""At least: thirty thousand rows of more than 130 bytes in pages of 8 kB."""
LAST_WEEK = NOON - timedelta(days=7)
FILTERS = [
    (Filter(), "ix_audit_log_timestamp"),
    (Filter(user="rare"), "ix_audit_log_user"),
    (Filter(user="maria"), "ix_audit_log_"),
    (Filter(status="refused"), "ix_audit_log_status"),
    (Filter(operation="prune_audit_log"), "ix_audit_log_operation"),
    (Filter(operation="sync_tenant_configs"), "ix_audit_log_operation_timestamp"),
    (Filter(operation="clear_queue", user="rare"), "ix_audit_log_user"),
    (Filter(status="refused", user="maria"), "ix_audit_log_status"),
    (Filter(since=LAST_WEEK, until=LAST_WEEK + timedelta(hours=1)), "ix_audit_log_timestamp"),
]


@pytest.fixture(scope="module")
def long_log(_postgres_server: Postgres, _postgres_template: str) -> Iterator[sa.Engine]:
    """Thirty thousand entries, one a minute, of which few are rare."""
    _postgres_server.restore()
    url = _postgres_server.create(_postgres_template)
    engine = database.connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text(MANY))
        connection.execute(sa.text("ANALYZE audit_log"))
    yield engine
    engine.dispose()
    _postgres_server.restore()
    _postgres_server.drop(url)


@pytest.mark.parametrize("page", ["page one", "a page deep in it"])
@pytest.mark.parametrize(("chosen", "index"), FILTERS, ids=str)
def test_a_page_of_a_long_log_is_read_by_an_index(long_log: sa.Engine, chosen: Filter, index: str, page: str) -> None:
    queries: list[tuple[str, Any]] = []
    after = f"{(LAST_WEEK + timedelta(minutes=30)).isoformat()}~{UUID(int=7)}" if page != "page one" else None

    def look(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        queries.append((statement, parameters))

    sa.event.listen(long_log, "before_cursor_execute", look)
    query.page(long_log, chosen, after=after)
    sa.event.remove(long_log, "before_cursor_execute", look)
    (statement, parameters) = queries[-1]
    with long_log.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        plan = "\n".join(line for (line,) in rows)
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize(
    "chosen",
    [
        Filter(user="ann", operation="sync_tenant_configs"),
        Filter(user="ann", operation="sync_tenant_configs", status="success"),
        Filter(user="ann", status="refused"),
        Filter(operation="prune_audit_log", status="refused"),
    ],
    ids=str,
)
def test_filters_that_never_meet_are_read_off_an_index_and_not_out_of_the_table(
    long_log: sa.Engine, chosen: Filter
) -> None:
    queries: list[tuple[str, Any]] = []

    def look(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        queries.append((statement, parameters))

    sa.event.listen(long_log, "before_cursor_execute", look)
    assert query.page(long_log, chosen).entries == ()
    sa.event.remove(long_log, "before_cursor_execute", look)
    (statement, parameters) = queries[-1]
    with long_log.connect() as connection:
        plan = [line for (line,) in connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)]
    read = next(int(found[1]) for line in plan if (found := re.search(r"Buffers: shared hit=(\d+)", line)))
    assert read < PAGES_OF_THE_TABLE / 3, "\n".join(plan)


@pytest.mark.long
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_an_export_of_a_long_log_streams_and_is_never_in_memory_as_a_whole(long_log: sa.Engine, form: str) -> None:
    tracemalloc.start()
    size = sum(map(len, exports.EXPORTS[form](long_log, Filter(since=NOON - timedelta(days=2)))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 400_000
    assert peak < 1_000_000


MANY = """
INSERT INTO audit_log (id, timestamp, "user", operation, details, status, request_id, finished_at)
SELECT gen_random_uuid(), timestamptz '2026-11-23 12:00+00' - n * interval '1 minute',
       CASE WHEN n % 5000 = 0 THEN 'rare' WHEN n % 4 = 1 THEN 'ann' ELSE 'maria' END,
       CASE WHEN n % 6000 = 0 THEN 'prune_audit_log' WHEN n % 20 = 0 THEN 'sync_tenant_configs' ELSE 'clear_queue' END,
       '{}', CASE WHEN n % 7000 = 0 THEN 'refused' ELSE 'success' END, gen_random_uuid(), now()
FROM generate_series(1, 30000) n
"""
