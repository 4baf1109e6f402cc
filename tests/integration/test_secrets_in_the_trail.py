"""Whatever people type and others write: no secret in the trail, none in an error, and text that all take."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support.errors import fails

import opsdash
from opsdash.cli import cli
from opsdash.config.settings import Settings
from opsdash.errors import NeedsApproval, OpsdashError
from opsdash.model import Actor, Role, Status, to_plain
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import audit_log

SECRET = "hunter2planted"
MARIA, BOB = (Actor(name=name, role=Role.OPERATOR, surface="page") for name in ("maria", "bob"))
CLEAR = opsdash.ClearTasks(
    queue="emails", containing=f"password={SECRET}", reason=f"leaked https://u:{SECRET}@host today"
)


def message(argument: str) -> str:
    headers = {"task": "t", "id": uuid4().hex}
    return json.dumps(
        {"headers": headers, "content-type": "application/json", "body": json.dumps([[argument], {}, {}])}
    )


def test_what_is_typed_is_audited_without_its_secrets(console_for: Callable[..., Console], database_url: str) -> None:
    console = console_for(database_url=database_url, queues=("emails",))
    console.broker.client.rpush("emails", message(f"password={SECRET}"), message("other"))
    assert console.run(CLEAR, actor=MARIA, confirm="YES").affected == 1
    console.run(opsdash.PauseProcessing(reason=f"api_key: {SECRET}"), actor=MARIA, confirm="YES")
    with pytest.raises(OpsdashError):
        console.run(CLEAR, actor=MARIA, confirm=f"{SECRET}")
    with console.engine.connect() as connection:
        stored = str(connection.execute(sa.select(audit_log)).all())
    shown = [stored, *console.audit.export(form="jsonl"), *console.audit.export(), str(to_plain(console.snapshot()))]
    assert [text for text in shown if SECRET in text] == []
    assert "leaked https://(hidden)@host today" in stored
    assert console.audit.verify().ok


def test_what_was_asked_for_is_done_as_it_was_asked_and_shown_without_its_secrets(
    console_for: Callable[..., Console],
) -> None:
    console = console_for(queues=("emails",), approval=("clear_tasks",))
    console.broker.client.rpush("emails", message(f"password={SECRET}"), message("other"))
    with pytest.raises(NeedsApproval) as raised:
        console.run(CLEAR, actor=MARIA, confirm="YES")
    (waits,) = console.approvals()
    assert SECRET not in str(waits)
    approve = opsdash.ApproveOperation(approval_id=raised.value.approval_id)
    assert SECRET not in str(console.preview(approve).values())
    assert console.run(approve, actor=BOB, confirm="YES").affected == 1, "the one that has the text, and no other"
    assert SECRET not in str(console.get_recent_operations())


HALF = "half \ud800 of it, and \0"


def test_text_that_no_screen_takes_is_made_safe_where_it_is_written_and_where_it_is_read(
    console_for: Callable[..., Console], database_url: str
) -> None:
    console = console_for(database_url=database_url)
    entry = console.audit.begin(opsdash.PauseProcessing(), MARIA, figures={HALF: [HALF]})
    console.audit.finish(entry, Status.SUCCESS, {"message": HALF})
    # And one that another version wrote as it came.
    now = datetime.now(UTC)
    row = {"id": uuid4(), "timestamp": now, "user": "x", "operation": "pause_processing", "request_id": uuid4()}
    with console.engine.begin() as connection:
        details = {"message": "half \ud800", "\ud800": ["\udfff"]}
        connection.execute(sa.insert(audit_log).values(row | {"status": "in_progress", "details": details}))
        for odd in ([1], "text", 7, None):
            values = {"id": uuid4(), "request_id": uuid4(), "status": "in_progress", "details": odd}
            connection.execute(sa.insert(audit_log).values(row | values))
    for text in (str(console.snapshot()), str(to_plain(console.get_recent_operations()))):
        text.encode()
    "".join([*console.audit.export(form="jsonl"), *console.audit.export()]).encode()
    assert sum("not a JSON object" in one.description for one in console.get_recent_operations()) == 4
    assert console.audit.verify().problems == []


ADDRESSES = {
    "redis_url": [
        "redis://u:{}#ss@h", "redis://u:{}/ss@h:6379/0", "redis://u:12?{}@h", "redis://u:pa#{}@h", "redis://u:x@h:{}/0",
        "redis://h:1/{}", "redis://u:{}[@h", "redis://:{}", "x:{}@h://y", "{}", "sentinel://:{}/x@h:1/0?master_name=m",
        "redis://u:{}?a@h:6379/0", "redis://h:6379/0?socket_timeout={}",
    ],
    "database_url": [
        "postgresql://u:p@{}@h.invalid/db", "postgresql://u:{}/x@h.invalid/db", "postgresql://u:{}#x@h.invalid/db",
        "postgresql://u:{}@h.invalid:port/db", "postgresql://h.invalid/db?password={}&foo=1", "mysql://u:{}@h/db", "{}",
        "postgresql://u:x?{}@h.invalid/db", "postgresql://u:{}@h.invalid", "sqlite://u:{}@h/x",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("setting", "url"), [(name, url) for name, urls in ADDRESSES.items() for url in urls])
def test_no_part_of_a_password_in_an_address_is_repeated(
    monkeypatch: pytest.MonkeyPatch, valkey_url: str, setting: str, url: str
) -> None:
    monkeypatch.setenv("OPSDASH_REDIS_URL", valkey_url)
    monkeypatch.setenv(f"OPSDASH_{setting.upper()}", url.format(SECRET))
    for command in (["status"], ["doctor"], ["audit"], ["pause-processing", "--confirm", "YES"]):
        ended = CliRunner().invoke(cli, command)
        assert SECRET not in ended.output
        assert SECRET not in str(ended.exception)


def test_a_password_with_a_sign_in_it_is_not_taken_for_a_host() -> None:
    with fails(OpsdashError, setting="OPSDASH_REDIS_URL"):
        Settings.from_env({"OPSDASH_REDIS_URL": "redis://u:12?34@h"})
    with fails(OpsdashError, setting="OPSDASH_DATABASE_URL"):
        database.connect("postgresql://u:p@ss@h/db")
    for fine in (
        "redis://u:p%3Fa@h",
        "redis://h:6379/0?client_name=me@x",
        "unix:///run/redis@1.sock",
        "redis://u:p@ss@h",
    ):
        Settings.from_env({"OPSDASH_REDIS_URL": fine})
