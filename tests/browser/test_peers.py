"""Other deployments on the page: a card where some are named, with links of the settings alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from opsdash.config.peers import peers
from opsdash.config.settings import Settings

TOKEN = "viewer-token-of-the-overview"


@pytest.mark.long
def test_the_overview_has_a_card_of_other_deployments_with_a_link_to_each(
    serve_page: Callable[..., Any], visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    tokens = Settings.from_env({"OPSDASH_API_TOKENS": f"overview:viewer:{TOKEN}"}).api_tokens
    other = serve_page(api_tokens=tokens)
    named = f"eu=http://127.0.0.1:{other.port}:{TOKEN},<b>us</b>=http://127.0.0.1:1/ops:{TOKEN}"
    page = visit(serve_page(peers=peers(named)).url)
    card = page.get_by_role("region", name="Other deployments")
    expect(card.get_by_text("running")).to_be_visible()
    expect(card.get_by_text("unknown")).to_be_visible()
    expect(card.get_by_text("it can't be reached")).to_be_visible()
    expect(card.get_by_role("row").filter(has_text="unknown")).not_to_contain_text("just now")
    link = page.get_by_role("link", name="Open eu")
    expect(link).to_have_attribute("href", f"http://127.0.0.1:{other.port}/operations")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    us = page.get_by_role("link", name="Open <b>us</b>")
    expect(us).to_have_attribute("href", "http://127.0.0.1:1/ops/operations")
    shoot(page, "other_deployments")
    assert TOKEN not in page.content()


@pytest.mark.long
def test_without_other_deployments_there_is_no_such_card(served: Any, visit: Callable[..., Page]) -> None:
    page = visit(served.url)
    expect(page.get_by_text("Pending Tasks").first).to_be_visible()
    expect(page.get_by_text("Other deployments")).to_have_count(0)
