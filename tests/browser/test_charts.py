"""Depth and throughput as an operator reads them: one crosshair, one tooltip, and what was done stands on the axis."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, expect
from support.dialogs import button
from support.stage import axe

from opsdash.keys import Keys
from opsdash.model import Status

FIGURES = ".bk-Canvas"


def record(store: redis.Redis, steps: int = 60) -> None:
    """A history of ten minutes: emails has its own pause at its beginning, and nobody looked in the middle."""
    now_ms = int(time.time() * 1000) // 10_000 * 10_000
    for i in range(steps):
        if 20 <= i < 30:
            continue
        queues = {"celery": [1000 + i, 7.5], "emails": [i, 0.25], "reports": [0, 0.0]}
        point = {"queues": queues, "paused": ["emails"] if i < 10 else [], "redis_ms": 1}
        store.xadd(Keys().history("10s"), {"point": json.dumps(point)}, id=f"{now_ms - (steps - 1 - i) * 10_000}-0")


def hover(page: Page, figure: Locator, share: float) -> Locator:
    """Moves the pointer over a figure, so far from its left edge, and gives the tooltip."""
    page.mouse.move(0, 0)
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + 56 + (box["width"] - 60) * share, box["y"] + box["height"] / 2)
    return page.locator(".bk-Tooltip")


@pytest.fixture
def charts(served: Any, visit: Callable[..., Page], store: redis.Redis) -> Page:
    """The charts of all queues, with a history."""
    record(store)
    for age_s in range(40, 140, 10):  # one near each of the points that the pointer may find
        served.console.audit.note(
            user="maria",
            operation="pause_processing",
            status=Status.SUCCESS,
            timestamp=datetime.now(UTC) - timedelta(seconds=age_s),
            request_id=uuid.uuid4(),
            details={"params": {"queue": "emails"}},
        )
    page = visit(f"{served.url}?tab=queues&chart=all")
    expect(page.locator(FIGURES)).to_have_count(2, timeout=30_000)
    expect(page.get_by_text("one queue paused, in its colour")).to_be_visible()
    return page


@pytest.mark.long
@pytest.mark.parametrize("figure", [0, 1])
def test_either_chart_says_of_a_moment_what_both_show_in_the_pages_own_font(charts: Page, figure: int) -> None:
    drawn = charts.locator(FIGURES).nth(figure)
    tip = hover(charts, drawn, 0.9)
    expect(tip).to_contain_text("Pause queue emails by maria")
    expect(tip).to_have_count(1)
    expect(tip).to_contain_text(re.compile(r"waitingstarted/scelery1,0\d\d7\.5emails\d\d0\.2reports00\.0"))
    assert tip.evaluate("""(host) => {
      const box = host.shadowRoot.querySelector('.bk-tooltip-content > div > div')
      return getComputedStyle(box).fontFamily
    }""").startswith("Inter")
    hover(charts, drawn, 0.61)
    expect(charts.locator(".bk-Tooltip")).to_have_count(0)  # nobody looked then


@pytest.mark.long
def test_a_logarithmic_scale_is_a_choice_that_the_address_keeps(charts: Page) -> None:
    charts.get_by_role("radio", name="Linear").focus()
    charts.keyboard.press("ArrowRight")
    expect(charts.get_by_role("radio", name="Log", exact=True)).to_be_checked()
    expect(charts).to_have_url(re.compile(r"chart=all.*scale=log"))
    charts.reload()
    for name in ("All", "15 min", "Log"):
        expect(charts.get_by_role("radio", name=name, exact=True)).to_be_checked()
    expect(charts.locator(FIGURES)).to_have_count(2, timeout=30_000)
    tip = hover(charts, charts.locator(FIGURES).first, 0.9)
    expect(tip).to_contain_text("reports00.0")  # what is drawn at the beginning of the axis is still 0


@pytest.mark.long
def test_the_charts_have_no_fault_of_accessibility_in_light_and_dark_and_fit_a_phone(
    charts: Page, shoot: Callable[..., None]
) -> None:
    axe(charts)
    button(charts, "Toggle theme").click()
    charts.wait_for_timeout(1500)  # the figures are drawn again, in the colours of the dark page
    axe(charts)
    hover(charts, charts.locator(FIGURES).first, 0.9)
    shoot(charts, "charts_dark")
    charts.set_viewport_size({"width": 390, "height": 844})
    charts.wait_for_timeout(500)
    assert charts.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    charts.get_by_text("Depth and throughput").scroll_into_view_if_needed()
    shoot(charts, "charts_phone")


@pytest.mark.long
def test_a_small_line_says_its_least_and_most_under_the_pointer(charts: Page) -> None:
    row = charts.get_by_role("row").filter(has=charts.get_by_role("radio", name="celery"))
    line = row.locator("svg.spark")
    expect(line.locator("title")).to_have_text(re.compile(r"^\d+m \d+s: least 1,0\d\d, most 1,0\d\d$"))
    expect(line).to_have_attribute("aria-label", re.compile(r"^\d+m \d+s: least 1,0\d\d, most 1,0\d\d$"))
