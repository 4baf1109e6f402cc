"""Switching the plug-in on."""

from __future__ import annotations

from celery import Celery
from celery.signals import worker_init
from celery.worker.consumer import Consumer

import opsdash.worker
from opsdash.worker.bootstep import PauseStep


class Controller:
    """What Celery sends ``worker_init`` with."""

    def __init__(self, app: Celery) -> None:
        self.app = app


def steps_of(app: Celery) -> list[type]:
    steps = Consumer.Blueprint(steps=app.steps["consumer"]).claim_steps()
    return [step for step in steps.values() if step is PauseStep]


def test_installing_twice_is_installing_once() -> None:
    app = Celery("proj", set_as_current=False)
    assert steps_of(app) == []
    opsdash.worker.install(app)
    opsdash.worker.install(app)
    assert len(app.steps["consumer"]) == 1
    assert steps_of(app) == [PauseStep]


def test_the_auto_module_installs_into_the_worker_that_is_about_to_be_built() -> None:
    import opsdash.worker.auto  # noqa: F401 - importing it is what -I does

    app = Celery("proj", set_as_current=False)
    worker_init.send(sender=Controller(app))
    assert steps_of(app) == [PauseStep]
