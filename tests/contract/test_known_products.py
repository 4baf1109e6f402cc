"""Products that go on by a clock of their own: who pauses or clears their tasks is told what they do meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.previews import texts

import opsdash
from opsdash.services.console import Console
from opsdash.services.queues.known_products import AIRFLOW, product_of


def message(task: str) -> str:
    return json.dumps({"body": "W10=", "headers": {"task": task, "id": "1"}, "properties": {}})


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "default"))


@pytest.mark.parametrize(
    "task", ["execute_workload", "airflow.providers.celery.executors.celery_executor_utils.execute_command"]
)
def test_who_pauses_or_clears_airflows_tasks_is_told_what_its_scheduler_does(console: Console, task: str) -> None:
    console.broker.client.rpush("default", message("shop.charge"), message(task))
    preview = console.preview(opsdash.PauseProcessing(duration_s=60))
    assert AIRFLOW.paused in texts(preview)
    assert preview.values()["products"] == ["Airflow"]
    assert AIRFLOW.cleared in texts(console.preview(opsdash.ClearQueue(queue="default")))
    assert AIRFLOW.cleared in texts(console.preview(opsdash.ClearTasks(queue="default", task="*execute*")))


def test_who_pauses_or_clears_other_tasks_is_not(console: Console) -> None:
    console.broker.client.rpush("default", message("shop.execute_workload"), message("shop.execute_workload.again"))
    previews = [
        console.preview(operation)
        for operation in (opsdash.PauseProcessing(duration_s=60), opsdash.ClearQueue(queue="default"))
    ]
    assert not any("Airflow" in line for preview in previews for line in texts(preview))
    assert previews[0].values()["products"] == []


@pytest.mark.parametrize("task", ["", ".", "execute_workload.", "execute_workload.x", "my.airflow.execute_workload"])
def test_a_name_that_looks_alike_is_nobodys(task: str) -> None:
    assert product_of(task) is None
