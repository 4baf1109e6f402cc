"""Widgets where an analyst puts them: in half a row, in tabs, beside a Select of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import panel as pn
import pytest
import redis
from playwright.sync_api import Page, expect
from support import services
from support.reports import report
from support.stage import Stage, axe, dress
from support.workers import producer

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings

CLIPPED = """() => {
  const found = []
  const look = (root) => {
    for (const n of root.querySelectorAll('*')) {
      if (n.shadowRoot) look(n.shadowRoot)
      const shown = n.matches('td, th, h2, button, .wrap') && n.checkVisibility() && !n.closest('.sr')
      if (shown && n.scrollWidth > n.clientWidth + 2) {
        found.push(`${n.tagName} ${n.className} ${n.textContent}: ${n.scrollWidth} > ${n.clientWidth}`)
      }
    }
  }
  look(document)
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways')
  return found
}"""


@pytest.fixture(scope="module")
def stage(broker: services.Valkey, database_file: Any) -> Iterator[Stage]:
    settings = Settings.from_env(
        {},
        redis_url=broker.url,
        database_url=f"sqlite:///{database_file}",
        auth="dev",
        secret_key="a-key-for-tests-only",
        queues=("celery", "emails-of-the-newsletter"),
        poll_interval_s=0.3,
    )
    ops = assemble(settings)
    with producer(broker.url) as app:
        app.send_task("sample.short", [1], queue="emails-of-the-newsletter")

    def make() -> Any:
        select = pn.widgets.Select(label="Queue", options=["celery", "emails-of-the-newsletter"])
        queues = opsdash.QueueTable(ops, queue=select)
        status = queues.status.param
        waiting = pn.pane.Str(pn.bind("{} waits in {}".format, status.pending_tasks, status.selected_queue))
        half = pn.Row(queues, opsdash.OperationControls(ops, queue=select))
        log = opsdash.RecentOperations(ops, columns=["timestamp", "operation", "status"])
        other = pn.Row(opsdash.WorkerHealth(ops, styles={"min-width": "0"}), log)
        tabs = pn.Tabs(("Workers", other), ("Chart", opsdash.QueueChart(ops, queue=select)))
        return pn.Column(select, waiting, half, tabs, sizing_mode="stretch_width")

    served = Stage(make)
    yield served
    served.close()
    ops.close()


@pytest.fixture
def page(stage: Stage, visit: Callable[..., Page], broker: services.Valkey) -> Page:
    with redis.Redis.from_url(broker.url) as store:
        report(store, "a-worker-with-a-long-name@some.host.example", lasts_s=60, running="[]")
    opened = dress(visit(stage.url, ready="Worker Health", apart=True, reduced_motion="reduce"))
    expect(opened.get_by_role("button", name="Pause Processing")).to_be_visible()
    return opened


@pytest.mark.long
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 1024), ("light", 768), ("light", 560)])
def test_in_half_a_row_columns_give_way_and_no_text_is_clipped(page: Page, theme: str, width: int, shoot: Any) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    dress(page, theme)
    page.wait_for_timeout(500)
    shoot(page, f"half_a_row_{theme}_{width}")
    assert page.evaluate(CLIPPED) == []
    expect(page.get_by_role("columnheader", name="Waiting")).to_be_visible()
    if theme == "light":  # else the Select is dark on dark: it is not ours
        axe(page)


@pytest.mark.long
def test_a_select_the_table_the_chart_and_the_buttons_are_of_one_queue(page: Page) -> None:
    other = "emails-of-the-newsletter"
    expect(page.get_by_role("button", name="Clear Queue celery")).to_be_visible()
    page.get_by_role("row", name=other).get_by_text(other).click()
    expect(page.get_by_label("Queue", exact=True)).to_have_value(other)
    expect(page.get_by_role("button", name=f"Clear Queue {other}")).to_be_visible()
    expect(page.get_by_text(f"waits in {other}")).to_be_visible()
    page.get_by_label("Queue", exact=True).select_option("celery")
    expect(page.get_by_role("radio", name="celery")).to_be_checked()
    expect(page.get_by_role("button", name="Clear Queue celery")).to_be_visible()
    page.get_by_role("row", name=other).get_by_text(other).click()
    expect(page.get_by_label("Queue", exact=True)).to_have_value(other)
    page.get_by_text("Chart", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text=other)).to_be_visible()
