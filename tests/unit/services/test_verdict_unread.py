"""A pause is not called safe while reports can't be read, or are more than are read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from opsdash.model import PauseInfo, Snapshot, WorkerStats
from opsdash.model.untrusted import Unread
from opsdash.services.pause.verdict import verdict
from opsdash.services.workers.reports import HELD, REPORTS

NOW = datetime.now(UTC)
WORKER = WorkerStats(hostname="w1", state="online", heartbeat_at=NOW, paused=True, epoch=1, unacked=0)


@pytest.mark.parametrize(
    ("unread", "safe"),
    [
        ((), True),
        ((Unread(what=REPORTS, shown=1_000, total=50_000),), False),
        ((Unread(what=REPORTS, names=("w1 (active)",)),), False),
        ((Unread(what=HELD, names=("unacked is not a hash",)),), False),
        ((Unread(what="clears that can be undone", names=("t1",)),), True),
    ],
)
def test_what_is_not_read_of_workers_keeps_a_pause_from_being_safe(unread: tuple[Unread, ...], safe: bool) -> None:
    snapshot = Snapshot(taken_at=NOW, pause=PauseInfo(queue=None, epoch=1), workers=(WORKER,), epoch=1, unread=unread)
    found = verdict(snapshot)
    assert found is not None
    assert found.safe is safe
    assert [reason.detail for reason in found.reasons] == ([] if safe else [unread[0].message])
