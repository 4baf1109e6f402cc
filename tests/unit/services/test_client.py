"""What settings and app say of the broker, before anything is asked of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Exchange, Queue, binding
from support.sample_app import make_app

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model.key_layout import APP, SETTING, Layout
from opsdash.services.broker.client import celery_app, connect

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the deployment's, to be written by the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "shop_of_tests.py"
    sys.modules.pop("shop_of_tests", None)


def settings(**over: object) -> Settings:
    return Settings.from_env({}, **{"redis_url": AWAY, **over})


def test_the_bare_app_asks_by_the_layout_that_was_learnt():
    layout = Layout(prefix="shop:", separator=":", priority_steps=(0, 4), control_exchange="ops")
    app = celery_app(settings(), layout)
    options = app.conf.broker_transport_options
    assert (options["global_keyprefix"], options["sep"], options["priority_steps"]) == ("shop:", ":", [0, 4])
    assert app.control.mailbox.namespace == "ops"
    with app.connection_for_write() as connection:
        assert connection.transport_options["sep"] == ":"
    app.close()


def test_an_app_says_everything_what_it_leaves_out_included(module: Path, monkeypatch: pytest.MonkeyPatch):
    app = make_app("redis://127.0.0.1:1/3", "shop:", sep=":", visibility_timeout=77)
    app.conf.control_exchange = "ops"
    orders = Exchange("orders", type="topic")
    app.conf.task_queues += [Queue("orders", [binding(orders, routing_key="order.*")])]
    monkeypatch.setitem(sys.modules, "shop_of_tests", type(sys)("shop_of_tests"))
    monkeypatch.setattr(sys.modules["shop_of_tests"], "app", app, raising=False)
    broker = connect(settings(celery_app="shop_of_tests:app", queues=("mine",)))
    layout = broker.layout
    assert (layout.prefix, layout.separator, layout.priority_steps) == ("shop:", ":", (0, 3, 6, 9))
    assert (layout.unacked, layout.visibility_timeout_s, layout.control_exchange) == ("unacked", 77, "ops")
    assert {layout.source_of(fact) for fact in ("prefix", "separator", "priority_steps", "unacked")} == {APP}
    assert broker.queues == ("mine", "celery", "emails", "reports", "orders"), "no broadcast"
    assert set(broker.exchanges) == {"celery", "orders"}
    (conflict,) = broker.layouts.found.conflicts
    assert conflict.message.startswith("The database differs: 0 by OPSDASH_REDIS_URL; 3 by the Celery app.")
    app.close()


def test_a_setting_decides_before_the_app_and_that_they_differ_is_told(module: Path):
    module.write_text("from support.sample_app import make_app\napp = make_app('redis://127.0.0.1:1/0', 'shop:')\n")
    broker = connect(settings(celery_app="shop_of_tests:app", key_prefix="blog:", priority_steps=(0, 3, 6, 9)))
    assert (broker.layout.prefix, broker.layout.source_of("prefix")) == ("blog:", SETTING)
    (conflict,) = broker.layouts.found.conflicts
    assert conflict.message.startswith(
        "The key prefix differs: 'blog:' by OPSDASH_KEY_PREFIX; 'shop:' by the Celery app."
    )


@pytest.mark.parametrize(
    "options", ["{'priority_steps': ['low', 'high']}", "{'visibility_timeout': 'an hour'}", "'redis'"]
)
def test_an_app_whose_configuration_can_not_be_used_is_one_line(module: Path, options: str):
    module.write_text(
        "from celery import Celery\napp = Celery('shop', broker='redis://127.0.0.1:1/0', set_as_current=False)\n"
        f"app.conf.broker_transport_options = {options}\n"
    )
    with pytest.raises(Invalid) as raised:
        connect(settings(celery_app="shop_of_tests:app"))
    assert str(raised.value).startswith("OPSDASH_CELERY_APP: the configuration of 'shop_of_tests:app' can't be used: ")
    assert "\n" not in str(raised.value)
