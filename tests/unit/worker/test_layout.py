"""What a worker tells of its broker's layout, whatever its connection is doing."""

from __future__ import annotations

from types import SimpleNamespace

from opsdash.worker import layout


def test_a_worker_that_has_lost_its_connection_tells_no_layout_and_goes_on_reporting():
    closed = SimpleNamespace(channel=SimpleNamespace(connection=None), queues=[])
    assert layout.describe(SimpleNamespace(task_consumer=None)) == {}
    assert layout.describe(SimpleNamespace(task_consumer=closed)) == {}
