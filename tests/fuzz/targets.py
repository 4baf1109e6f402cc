"""Everything that opsdash parses from outside, and what it promises of any input.

What needs a server is tried elsewhere: any value under any key by tests/property/test_foreign_values.py, failed tasks
and messages of a queue by test_foreign_failures.py and test_peek.py, redaction by test_redaction.py, whole requests
by tests/api/test_openapi.py.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import dataclasses
import io
import ipaddress
import json
import shlex
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import click
import msgspec
from fuzz.target import JSON, JSON_TEXT, RAW, TEXT, Target, record
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, RequestStartLine

from opsdash.api import handler, requests
from opsdash.api.problems import ProblemError
from opsdash.cli.operations import operation_command
from opsdash.cli.plain import clean
from opsdash.config import addresses, broker_url, parsers, passwords, roles
from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import (
    AuditEntry,
    Role,
    Status,
    hold,
    notification,
    rate_limit,
    signatures,
    time_in_queue,
    times,
    to_plain,
    untrusted,
    usernames,
)
from opsdash.model.peer import PeerReading
from opsdash.operation import CONFIRMATION, Operation, command_line, recorded, registry
from opsdash.runs import runbook, state
from opsdash.services.audit import exports, frame, query, stored_rows
from opsdash.services.broker import layout_reports, messages
from opsdash.services.failures import store
from opsdash.services.peers.answers import reading_of
from opsdash.services.queues import peek
from opsdash.services.queues.search_cursor import Cursor
from opsdash.services.tenants import redaction as tenants
from opsdash.services.workers import reports
from opsdash.text import parse_duration, parse_rate, shell_word, typed_duration, visible
from opsdash.web.request_filter import RequestFilter
from opsdash.web.static_files import takes_gzip

NOW_S = 1_790_000_000.0
SECRET = b"a-key-for-tests-and-nothing-else"


def as_json(value: Any) -> str:
    """As every surface shows it: JSON, in UTF-8."""
    text = json.dumps(to_plain(value), ensure_ascii=False, allow_nan=False)
    text.encode()
    return text


# From the broker: whoever reaches Redis


def message(raw: bytes) -> None:
    """A message of a queue says what it says, or that it can't be read."""
    found = messages.envelope(raw)
    assert len(messages.task_name(found)) <= messages.LONGEST_NAME
    messages.delivery_tag(found)
    messages.age_s(raw)
    if found is not None:
        messages.sent_at(found), messages.expires_at(found), messages.argument_text(found)
        hold.tenant_by(messages.headers_of(found), "tenant_id", lambda: hold.kwargs_of(messages.decoded(found)))
        embed = messages.decoded(found)
        signatures.unsent_of(embed[2] if isinstance(embed, list) and len(embed) > 2 else embed)
    assert len(as_json(peek.describe(raw, position=1, priority=0))) < 20_000 + len(raw)


def value_of_redis(text: str) -> None:
    """What is kept as JSON in a key or field: ours, or none."""
    for found in (
        rate_limit.from_entry("task", text),
        state.from_json(text),
        time_in_queue.reported(text),
        hold._hold("a" * 12, text),
        layout_reports.facts(text),
        layout_reports.exchanges(text),
        signatures.unsent_as_told(untrusted.parsed(text)),
    ):
        as_json(found)
    run = state.from_json(text)
    if run is not None:
        assert state.from_json(state.to_json(run)) == run


def worker_report(raw: dict[str, Any]) -> None:
    """A worker's report: what can't be read is named, the rest is figures."""
    found = reports._stats("w@x", NOW_S, raw, NOW_S)
    as_json(found)
    assert found.state in {"online", "silent", "offline", "stalled"}
    assert {*found.unread} <= raw.keys()


def failed_task(raw: dict[str, Any]) -> None:
    """An entry and a group of failed tasks."""
    as_json([store._failure("1" * 12, raw), store._group("f" * 16, raw, raw.get("count"))])


def notification_record(raw: dict[str, Any]) -> None:
    """One of opsdash's own from its outbox, or none: the kinds of errors that its reader expects."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        notification.from_record(raw)


# From databases


def tenant_row(row: dict[str, Any]) -> None:
    """A row of the host's table is a configuration or a complaint without a value of it."""
    try:
        text = tenants.public_config(row, SECRET)
    except ValueError:
        return
    found = json.loads(text)
    assert found["tenant_id"] == tenants.id_of(row)
    if isinstance(key := row.get("api_key"), str) and len(key) > 20:
        assert key not in text
    assert tenants.changes(text, text) == []


def tenant_key(pair: tuple[str, str]) -> None:
    """What lies in the tenant's key beside what belongs there."""
    old, settings = pair
    with contextlib.suppress(ValueError):
        new = tenants.public_config({"tenant_id": "t", "settings": settings}, SECRET)
        assert all(isinstance(one, str) for one in tenants.changes(old, new))


def audit_row(row: dict[str, str]) -> None:
    """A stored row: the quick reader gives the exact one's values, or refuses."""
    places = (
        "1",
        "k",
        row["id"],
        row["began"],
        row["user"],
        "pause",
        row["details"],
        "success",
        row["id"],
        row["ended"],
        "",
    )
    for quick, exact in (
        (stored_rows.quick_of_sqlite, stored_rows.of_sqlite),
        (stored_rows.quick_of_postgresql, stored_rows.of_postgresql),
    ):
        try:
            expected = exact(places)
        except (ValueError, RecursionError):  # the log says that the row is not ours
            continue
        try:
            found = quick(places)
        except Exception:  # noqa: BLE001 - whatever the quick reader trips over, the exact one is asked then
            continue
        assert [type(part) for part in found[6:7]] == [type(part) for part in expected[6:7]]
    facts = frame._facts(row["details"])
    for part in (frame._text(facts.message), frame._figure(facts.took_s), frame._count(facts.affected)):
        str(part)
    frame._written(row["details"]).encode()


def recorded_act(pair: tuple[str, Any]) -> None:
    """What the log says of an act is one of this version, or none."""
    found = recorded(*pair)
    if found is not None:
        assert recorded(found.name, found.params()) == found
        shlex.split(command_line(found))


def exported(entry: dict[str, str]) -> None:
    """An exported entry is one record: of CSV for a spreadsheet, and of JSON."""
    act = AuditEntry(
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        finished_at=None,
        user=entry["user"],
        operation=entry["operation"],
        status=Status.SUCCESS,
        details={"message": entry["message"], "reason": entry["reason"]},
        id=UUID(int=1),
        request_id=UUID(int=2),
    )
    line = exports._csv_line(exports._flat(act))
    line.encode()
    (cells,) = csv.reader(io.StringIO(line, newline=""))
    assert len(cells) == len(exports.FLAT_COLUMNS)
    assert not any(cell.startswith(exports._FORMULA_STARTS) for cell in cells)


# From clients


def http(method: str, path: str, headers: dict[str, str]) -> HTTPServerRequest:
    """A request as the server hands it on."""
    line = RequestStartLine(method, path, "HTTP/1.1")
    sent = HTTPHeaders({"Host": "localhost:5006", **headers})
    return HTTPServerRequest(start_line=line, headers=sent, connection=mock.Mock())


def explained(error: ProblemError) -> None:
    """A refusal that says why, in few words."""
    assert 400 <= error.status_code < 500
    assert len(msgspec.json.encode(error.problem)) < 20_000


def api_body(pair: tuple[str, bytes]) -> None:
    """A body is an operation or an explained refusal; the operation's command line is the same operation."""
    kind = registry()[pair[0]]
    request = handler.Handler.__new__(handler.Handler)
    request.body = bytearray(pair[1])
    request.request = http("POST", "/", {"Content-Type": "application/json"})
    try:
        sent = request.sent(requests.request_of(kind))
        operation = requests.operation_of(kind, sent)
    except ProblemError as error:
        return explained(error)
    except Invalid:
        return
    as_json(operation.params())
    typed_again(operation)


def typed_again(operation: Operation) -> None:
    """Its command line, typed into a shell, is the same operation."""
    line = command_line(operation)
    if (
        "$'" in line
    ):  # bash's way to write what can't be typed, which shlex does not know: test_shell_words.py asks bash
        return
    words = shlex.split(line)
    command = operation_command(type(operation))
    given = command.make_context("x", words[2:]).params
    for field, value in operation.params().items():
        if field in given and not isinstance(given[field], tuple) and value not in (None, ""):
            assert str(given[field]) == str(value), (field, value, given[field])


def api_query(pair: tuple[Any, dict[str, list[bytes]]]) -> None:
    """Query parameters are a question or an explained refusal."""
    kind, arguments = pair
    request = handler.Handler.__new__(handler.Handler)
    request.request = http("GET", "/", {})
    request.request.query_arguments = arguments
    try:
        asked = request.query(kind)
        for name in ("filter", "asked"):
            if make := getattr(asked, name, None):
                make()
    except ProblemError as error:
        explained(error)
    except Invalid:
        pass


def position(text: str) -> None:
    """Where a page ended: a place that is written the same again, or refused."""
    with contextlib.suppress(Invalid):
        found = Cursor.of(text)
        assert Cursor.of(found.text) == found
    with contextlib.suppress(Invalid):
        place = query._place(text)
        assert query._place(query._written(place)) == place


def bearer(text: str) -> None:
    """Any ``Authorization`` is the one token's, or refused."""
    settings = Settings(api_tokens=(parsers.ApiToken(name="a", role=Role.VIEWER, token="t" * 20),))
    try:
        handler.authenticate(settings, text, "127.0.0.1")
    except ProblemError as error:
        explained(error)
    else:
        assert text.split() == [text.split()[0], "t" * 20]


def forwarded(pair: tuple[str, str]) -> None:
    """The client's address is an address, or the other end of the connection."""
    hops, peer = pair
    found = addresses.client_address({"X-Forwarded-For": hops}, peer, ("127.0.0.0/8", "10.0.0.0/8"))
    if found != peer:
        ipaddress.ip_address(found)
        assert addresses.is_within(peer, ("127.0.0.0/8", "10.0.0.0/8"))
    addresses.neighbourhood(found)


def request_line(given: dict[str, Any]) -> None:
    """A request is let through or refused in one of the known ways."""
    settings = Settings(auth=given["auth"], page_opens_per_minute=1_000)
    try:
        asked = http(given["method"], given["path"], given["headers"])
    except HTTPInputError:  # Tornado has refused it already
        return
    asked.remote_ip = "127.0.0.1"
    refusal = RequestFilter(settings, prefix="", origins=["localhost:5006"]).objection(asked)
    assert refusal is None or refusal.status in {400, 403, 404, 429}
    takes_gzip(given["headers"].get("Accept-Encoding", ""))


# From people and files


def names_variable(complaint: str, name: str, text: str) -> None:
    """One line that begins with the variable; of an address, which may hold a password, it repeats nothing."""
    assert complaint.startswith(name), complaint
    if name in {"OPSDASH_REDIS_URL", "OPSDASH_NOTIFY_URLS"} and len(text) > 60:
        assert text not in complaint


def setting(pair: tuple[str, str]) -> None:
    """A variable is a value or one line about it."""
    name, text = pair
    try:
        Settings.from_env({name: text})
    except Invalid as error:
        names_variable(str(error), name, text)


def broker(text: str) -> None:
    """An address of a broker has one spelling, and its label no password."""
    try:
        found = broker_url.read(text)
    except ValueError:
        return
    assert broker_url.read(found.url) == found
    if found.password and len(found.password) > 8:
        assert found.password not in found.label
    found.redis_options, found.kombu_url, found.place, found.transport_options  # noqa: B018 - they are made when read


def typed_text(text: str) -> None:
    """Times, durations, rates, names: what is understood is written the same again."""
    with contextlib.suppress(ValueError):
        assert times.EARLIEST <= times.typed(text) < times.LATEST
    with contextlib.suppress(ValueError):
        seconds = parse_duration(text)
        assert parse_duration(typed_duration(seconds)) == seconds
    with contextlib.suppress(ValueError):
        assert 0 < parse_rate(text) <= 1e6
    assert usernames.folded(usernames.folded(text)) == usernames.folded(text)
    assert usernames.same(text, text)
    assert clean(text).isprintable()
    visible(text)
    if "\0" not in text and text.isprintable():
        assert shlex.split(shell_word(text)) == [text]


def command_words(pair: tuple[str, list[str]]) -> None:
    """Arguments of a command are understood or explained."""
    name, words = pair
    kind = registry()[name]
    with contextlib.suppress(click.ClickException, click.exceptions.Exit):
        given = operation_command(kind).make_context(name, list(words)).params
        fields = {field.name for field in dataclasses.fields(kind)}
        with contextlib.suppress(Invalid):
            kind(**{field: value for field, value in given.items() if field in fields and not isinstance(value, tuple)})


def runbooks(text: str) -> None:
    """A team's runbooks are runbooks or a complaint."""
    with contextlib.suppress(Invalid):
        for found in runbook.parse(text, "x.toml").values():
            found.values  # noqa: B018 - made when it is read


def team_file(raw: bytes) -> None:
    """Files of roles and passwords."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f")
        path.write_bytes(raw)
        path.chmod(0o600)
        with contextlib.suppress(ValueError):
            roles.read(str(path))
        with contextlib.suppress(Invalid):
            passwords.Users(path).read()


def peers_answer(pair: tuple[Any, Any]) -> None:
    """Another console's answer is a reading."""
    as_json(reading_of(PeerReading(name="x", url="https://x"), *pair))


DIGITS = st.floats(0, 2e9).map(str) | st.integers(0, 2**70).map(str)
WORDS = DIGITS | JSON_TEXT
MESSAGE = record(
    body=st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode())
    | JSON.map(json.dumps).map(lambda text: base64.b64encode(text.encode()).decode()),
    headers=record(task=TEXT, id=TEXT, timestamp=DIGITS, tenant_id=TEXT, expires=TEXT, eta=TEXT),
    properties=record(body_encoding=st.just("base64"), delivery_tag=TEXT, timestamp=DIGITS),
    **{"content-type": st.just("application/json")},
).map(json.dumps)
RUN = record(
    id=TEXT,
    runbook=TEXT,
    by=TEXT,
    at=st.just("2026-01-01T00:00:00+00:00"),
    status=st.sampled_from(["running", "done", "failed"]),
    kind=st.sampled_from(["tenant", "task", "limit"]),
    name=TEXT,
    most=st.integers(),
    per_s=st.floats(),
    until=st.floats(),
    steps=st.lists(
        record(name=TEXT, kind=st.sampled_from(["command", "operation"]), status=st.just("done")), max_size=3
    ),
).map(json.dumps)
NAMES = st.sampled_from(sorted(registry()))
MOMENT = st.datetimes().map(datetime.isoformat) | TEXT
UUIDS = st.uuids().map(str) | st.uuids().map(lambda one: one.hex) | TEXT


def bodies(name: str) -> st.SearchStrategy[bytes]:
    """Bodies for an operation: with its own parameters, or whatever."""
    fields = {field.name: LEAF for field in dataclasses.fields(registry()[name]) if field.init}
    whole = record(params=record(**fields), confirm=st.just(CONFIRMATION), request_id=UUIDS, phrase=TEXT)
    return whole.map(lambda value: json.dumps(value).encode()) | RAW


LEAF = TEXT | st.integers() | st.booleans() | st.sampled_from(["celery", "emails", "30s", "2/s", 60, 1])
QUERIES = (requests.AuditQuery, requests.TasksQuery, requests.FailuresQuery, requests.RunQuery, requests.NoQuery)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Host",
            "Origin",
            "Sec-Fetch-Site",
            "Sec-Fetch-Mode",
            "Upgrade",
            "Cookie",
            "X-Forwarded-For",
            "Accept-Encoding",
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
    | st.sampled_from(["localhost:5006", "http://localhost:5006", "cross-site", "same-origin", "gzip;q=nan, *;q=0"]),
)
SETTINGS = st.sampled_from(sorted(f"OPSDASH_{field.name.upper()}" for field in dataclasses.fields(Settings)))
ADDRESS = st.lists(
    st.sampled_from(["redis", "rediss", "sentinel", "unix", "valkey", "://", ":", "@", "/", "?", "#", ";", "h", "6379"])
    | st.sampled_from(["[::1]", "ssl_cert_reqs=none", "db=3", "&", "=", "%2F", "%", "hunter2-password", "mymaster"])
    | TEXT,
    max_size=12,
).map("".join)
HOPS = st.lists(st.ip_addresses().map(str) | TEXT, max_size=30).map(",".join)
QUERY = (
    "user",
    "since",
    "until",
    "text",
    "queue",
    "limit",
    "after",
    "first",
    "group",
    "state",
    "task",
    "error",
    "kind",
)
BYTES = st.text(st.characters(max_codepoint=255), max_size=60)
"""As Tornado reads the names of parameters: a character for each byte."""
VALUE = (TEXT | MOMENT).map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=9)
PATHS = st.sampled_from(
    ["/operations", "/operations/ws", "/components/opsdash.views/X/_bundle_path/x", "/api/v1/status"]
)
REQUEST = st.fixed_dictionaries(
    {
        "auth": st.sampled_from([None, "dev", "header", "basic"]),
        "method": st.sampled_from(["GET", "POST", "HEAD", "PUT"]),
        "path": PATHS | TEXT.map(lambda text: f"/{text.encode(errors='replace').decode()}"),
        "headers": HEADERS,
    }
)
FAILED = st.sampled_from(
    ["at", "last_at", "first_at", "kind", "times", "count", "queue:x", "at:1", "task", "traceback"]
)
NOTICE = st.builds(
    lambda kind, more: {"kind": kind, **more},
    st.sampled_from(sorted(notification.KINDS)) | TEXT,
    st.dictionaries(st.sampled_from(["at", "problems", "queue", "name", "since"]) | TEXT, JSON),
)
ROW = record(
    tenant_id=TEXT,
    name=TEXT,
    enabled=st.booleans(),
    settings=JSON_TEXT,
    api_key=TEXT,
    updated_at=st.datetimes() | st.datetimes(timezones=st.just(UTC)) | st.dates() | MOMENT | st.binary(max_size=5),
)
STORED = st.fixed_dictionaries({"id": UUIDS, "began": MOMENT, "ended": MOMENT, "user": TEXT, "details": JSON_TEXT})
PARAMS = st.dictionaries(TEXT | st.sampled_from(["queue", "reason", "trash_id", "expires_s"]), JSON) | JSON
EXPORTED = st.fixed_dictionaries({"user": TEXT, "operation": TEXT, "message": TEXT, "reason": TEXT})
PLACES = (
    TEXT
    | st.builds("{}~{}".format, MOMENT, UUIDS)
    | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
)
WORDS_TYPED = st.lists(
    TEXT | st.sampled_from(["--confirm", "YES", "--queue", "--", "-h", "--dry-run", "--expires", "30s", "--reason"]),
    max_size=6,
)
TOML = st.lists(
    st.sampled_from(["[x]\n", "[[x.steps]]\n", 'name = "a"\n', 'does = "pause-processing"\n', "params = {", "}", "\n"])
    | st.sampled_from(["a.b", " = ", '"', "1", "[", "]", "'", "#"])
    | TEXT,
    max_size=12,
).map("".join)
LINES = st.lists(
    st.sampled_from(["admins: ", "viewers:", "ann", ",", "\n", "#", "ann:scrypt$1$8$1$YQ==$YQ==", "$", ":"]) | TEXT,
    max_size=10,
).map(lambda parts: "".join(parts).encode(errors="surrogatepass"))
ANSWER = record(
    queues=st.lists(record(waiting=st.integers(), oldest_s=st.floats()), max_size=3),
    workers=st.lists(record(state=TEXT), max_size=3),
    redis_age_s=st.floats(),
    processing=TEXT,
    verdict=record(state=TEXT),
)

ALL = (
    Target("message", "senders of tasks", RAW | MESSAGE.map(str.encode), message),
    Target("value-of-redis", "clients of the broker", JSON_TEXT | RUN, value_of_redis),
    Target(
        "worker-report",
        "workers, of any version",
        st.dictionaries(st.sampled_from(reports.FIELDS), WORDS | st.none()),
        worker_report,
    ),
    Target("failed-task", "workers, of any version", st.dictionaries(FAILED | TEXT, WORDS), failed_task),
    Target("notification", "clients of the broker", NOTICE, notification_record),
    Target("tenant-row", "the host's table or callable", ROW, tenant_row),
    Target("tenant-key", "clients of the broker", st.tuples(JSON_TEXT, JSON_TEXT), tenant_key),
    Target("audit-row", "whoever writes into the database", STORED, audit_row),
    Target("recorded-act", "an entry of any version", st.tuples(NAMES | JSON, PARAMS), recorded_act),
    Target("export", "names and reasons of people", EXPORTED, exported),
    Target(
        "api-body", "clients of the API", NAMES.flatmap(lambda name: st.tuples(st.just(name), bodies(name))), api_body
    ),
    Target(
        "api-query",
        "clients of the API",
        st.tuples(
            st.sampled_from(QUERIES),
            st.dictionaries(st.sampled_from(QUERY) | BYTES, st.lists(VALUE, min_size=1, max_size=2), max_size=4),
        ),
        api_query,
    ),
    Target("position", "clients of the API, links", PLACES, position),
    Target("bearer", "clients of the API", TEXT | TEXT.map("Bearer {}".format), bearer),
    Target("forwarded", "proxies and clients", st.tuples(HOPS, st.ip_addresses().map(str) | TEXT), forwarded),
    Target("request", "browsers", REQUEST, request_line),
    Target("setting", "the environment", st.tuples(SETTINGS, TEXT), setting),
    Target("broker-url", "the environment", ADDRESS, broker),
    Target("typed-text", "people", TEXT, typed_text),
    Target("command-words", "people", st.tuples(NAMES, WORDS_TYPED), command_words),
    Target("runbooks", "a team's file", TOML, runbooks),
    Target("team-file", "files of roles and passwords", RAW | LINES, team_file),
    Target("peers-answer", "consoles of other deployments", st.tuples(ANSWER | JSON, JSON), peers_answer),
)
TARGETS = {target.name: target for target in ALL}
