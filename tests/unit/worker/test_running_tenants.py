"""Whose tasks a worker runs, in its report: within bounds, and by the rule of the holds."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.worker.running_tenants import MOST_BYTES, MOST_TASKS, RunningTenants


def running(tenant: Any = None, **kwargs: Any) -> Any:
    headers = {} if tenant is None else {"tenant_id": tenant}
    body = json.dumps([[], kwargs, {}])
    return SimpleNamespace(message=SimpleNamespace(headers=headers, body=body, content_type="application/json"))


def test_running_tasks_are_counted_by_tenant() -> None:
    requests = [running("acme"), running("acme"), running(tenant_id=7), running(), running(["no", "name"])]
    assert json.loads(RunningTenants().as_json(requests)) == ["tenant_id", 5, {"acme": 2, "7": 1}]
    assert json.loads(RunningTenants().as_json([])) == ["tenant_id", 0, {}]


def test_the_key_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSDASH_TENANT_KEY", "customer")
    assert json.loads(RunningTenants().as_json([running(customer="acme")])) == ["customer", 1, {"acme": 1}]


def test_a_report_stays_small_and_says_of_how_many_it_is() -> None:
    many = [running(f"{n:0500}") for n in range(MOST_TASKS * 2)]
    text = RunningTenants().as_json(many)
    _, looked_at, counts = json.loads(text)
    assert len(text) <= MOST_BYTES + 100
    assert looked_at == len(counts) < 20
