"""Which pool a worker has, and whether its children live."""

from __future__ import annotations

from typing import Any

import billiard

POOL_NAMES = {"thread": "threads"}


def pool_name(pool: Any) -> str:
    """``prefork``, ``threads``, ``solo``, ``gevent`` …: what one writes after ``celery worker -P``."""
    module = type(pool).__module__.rsplit(".", 1)[-1]
    return POOL_NAMES.get(module, module)


def is_green(pool: Any) -> bool:
    """Gevent or eventlet: one thread, and a loop that is no event loop."""
    return pool_name(pool) in ("gevent", "eventlet")


def children_live() -> bool:
    """Prefork: a child of this process has not ended yet."""
    return any(child.is_alive() for child in billiard.active_children())
