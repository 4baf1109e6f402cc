"""An audit entry as a syslog message: what a receiver that knows RFC 5424 reads in it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from opsdash.model import AuditEntry, Status
from opsdash.services.push import formats

MESSAGE = re.compile(
    r"<(\d+)>1 (\S+) (\S+) opsdash - (\S+) \[opsdash@32473((?: \w+=\"(?:[^\"\\\]]|\\.)*\")+)\] \ufeff(.*)", re.DOTALL
)


def entry(**over: Any) -> AuditEntry:
    given: dict[str, Any] = {
        "id": UUID(int=7),
        "timestamp": datetime(2026, 11, 28, 12, tzinfo=UTC),
        "finished_at": datetime(2026, 11, 28, 12, 0, 1, 250_000, tzinfo=UTC),
        "user": "maria",
        "operation": "clear_queue",
        "status": Status.SUCCESS,
        "details": {"message": "Cleared 3 tasks.", "params": {"queue": "emails"}},
        "request_id": UUID(int=8),
        "seq": 12,
        "key_id": "abc",
        "seal": "f00d",
    }
    return AuditEntry(**given | over)


def read(message: bytes) -> tuple[int, str, dict[str, str], Any]:
    found = MESSAGE.fullmatch(message.decode())
    assert found, message
    facts = {
        name: re.sub(r"\\(.)", r"\1", value) for name, value in re.findall(r'(\w+)="((?:[^"\\\]]|\\.)*)"', found[5])
    }
    return int(found[1]), found[2], facts, json.loads(found[6])


def test_a_message_has_number_seal_and_who_did_what():
    priority, at, facts, body = read(formats.syslog(entry()))
    assert (priority, at) == (13 * 8 + 5, "2026-11-28T12:00:01.250000Z")
    assert facts["seq"] == "12"
    assert (facts["user"], facts["operation"], facts["target"], facts["seal"]) == (
        "maria",
        "clear_queue",
        "emails",
        "f00d",
    )
    assert body["details"]["message"] == "Cleared 3 tasks."


def test_how_grave_it_is_follows_from_how_it_ended():
    grave = [read(formats.syslog(entry(status=status)))[0] % 8 for status in (Status.REFUSED, Status.FAILURE)]
    assert grave == [4, 3]


def test_a_name_from_outside_breaks_no_message():
    hostile = 'eve"] <1>1 \\ \n[x'
    _, _, facts, body = read(formats.syslog(entry(user=hostile, operation="a b\nc")))
    assert facts["user"] == hostile.replace("\n", "?")
    assert body["user"] == hostile


def test_half_a_surrogate_pair_is_no_error():
    assert read(formats.syslog(entry(details={"message": "\ud800"})))[3]["details"]["message"] == "\ud800"


def test_a_datagram_has_a_bound_and_keeps_what_proves_a_gap():
    message = formats.syslog(entry(details={"message": "x" * 50_000}), most=formats.LARGE_DATAGRAM)
    assert len(message) < formats.LARGE_DATAGRAM
    _, _, facts, body = read(message)
    assert (facts["seq"], body) == ("12", {"message": "too large for a datagram: the entry is in the audit log"})
