"""What must hold whatever the input: counts, order, text, secrets."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from uuid import uuid4

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.cli.plain import clean
from opsdash.model import AuditEntry, Status, to_plain
from opsdash.model.key_layout import Layout
from opsdash.services.audit.exports import CSV_COLUMNS, _csv_line
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.queues.read import Queues
from opsdash.services.tenants.sync import public_config

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
SECRET = "planted-secret-0123456789"
LENGTHS = st.dictionaries(st.sampled_from(Layout().priority_steps), st.integers(0, 20))


@given(celery=LENGTHS, emails=LENGTHS)
def test_a_clear_counts_what_it_moves_keeps_the_order_and_leaves_the_other_queue_alone(celery, emails):
    client = fakeredis.FakeRedis(decode_responses=True)
    broker = Broker(client, Layouts.fixed(client, Layout()), "test", ("celery", "emails"))
    for queue, lengths in (("celery", celery), ("emails", emails)):
        for step, number in lengths.items():
            for message in range(number):
                broker.client.rpush(broker.lists(queue)[step], f"{queue} {step} {message}")
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60)
    assert cleared.total == sum(celery.values())
    assert cleared.by_priority == {step: n for step, n in celery.items() if n}
    for step, number in celery.items():
        kept = broker.client.lrange(broker.keys.trash(cleared.trash_id or "", str(step)), 0, -1)
        assert kept == [f"celery {step} {message}" for message in range(number)]
    waiting = {stats.name: stats.waiting for stats in Queues(broker).read(["celery", "emails"])}
    assert waiting == {"celery": 0, "emails": sum(emails.values())}


@pytest.mark.long
@given(user=TEXT, details=st.dictionaries(TEXT, JSON, max_size=4))
def test_an_exported_line_is_one_record_that_no_spreadsheet_takes_for_a_formula(user, details):
    entry = AuditEntry(
        id=uuid4(),
        timestamp=datetime.now(UTC),
        user=user,
        operation="clear_queue",
        status=Status.SUCCESS,
        details=details,
        request_id=uuid4(),
    )
    plain = to_plain(entry) | {"details": json.dumps(details)}
    (cells,) = csv.reader(io.StringIO(_csv_line(plain[column] for column in CSV_COLUMNS), newline=""))
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    read = dict(zip(CSV_COLUMNS, cells, strict=True))
    assert read["user"].removeprefix("'") == user.removeprefix("'")
    assert json.loads(read["details"]) == details


@given(
    settings=st.dictionaries(TEXT, JSON, max_size=5),
    path=st.lists(st.sampled_from(["smtp", "hooks", "db"]), max_size=3),
    name=st.sampled_from(["password", "api_key", "apiKey", "client_secret", "AUTH_TOKEN", "db_pwd", "private_key"]),
)
def test_a_planted_secret_never_reaches_redis_however_deep_it_lies(settings, path, name):
    planted: object = {name: SECRET}
    for step in path:
        planted = {step: [planted]}
    row = {
        "tenant_id": "acme",
        "name": "Acme",
        "enabled": True,
        "settings": json.dumps({**settings, "planted": planted}),
        "api_key": SECRET,
        "updated_at": None,
    }
    assert SECRET not in public_config(row, b"key")


@given(st.text(max_size=200))
def test_no_text_drives_a_terminal_or_breaks_a_line(text):
    assert clean(text).isprintable()
