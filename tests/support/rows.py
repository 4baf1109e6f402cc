"""Queues that hold something, and rows of the page's tables."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import redis
from playwright.sync_api import Locator, Page

from opsdash.keys import Keys

KEYS = Keys()


def send(
    store: redis.Redis, queue: str, task: str = "shop.charge", args: Any = (), *, age_s: float | None = None
) -> str:
    """One task into a queue, as Celery writes it; its id."""
    task_id = str(uuid.uuid4())
    headers = {"task": task, "id": task_id, **({} if age_s is None else {"sent_at": time.time() - age_s})}
    body = json.dumps([list(args), {}, {}])
    message = {"headers": headers, "content-type": "application/json", "properties": {}, "body": body}
    store.lpush(queue, json.dumps(message))
    return task_id


def fill(store: redis.Redis, queue: str, number: int, task: str = "shop.charge", args: Any = ()) -> list[str]:
    """So many tasks into a queue; their ids, the first to run first."""
    return [send(store, queue, task, args) for _ in range(number)]


def row(page: Page, table: str, text: str) -> Locator:
    """The row of a table that holds this text."""
    rows = page.get_by_role("region", name=table).locator("tbody > tr:not(.detail, .under)")
    return rows.filter(has_text=text)


def choose(page: Page, called: str, label: str) -> None:
    """An act from the menu of a row."""
    page.get_by_role("button", name=f"More for {called}", exact=True).click()
    page.get_by_role("menuitem").filter(has=page.get_by_text(label, exact=True)).click()
