"""Installs the plug-in without code: ``celery -A proj worker -I opsdash.worker.auto``.

Celery imports ``-I`` modules after its ``celeryd_init`` signal and before ``worker_init``; the consumer, and with it
the list of its steps, is built after that.
"""

from __future__ import annotations

from typing import Any

from celery.signals import worker_init

from opsdash.worker import install


@worker_init.connect(dispatch_uid="opsdash.worker.auto")  # type: ignore[untyped-decorator]  # Celery has no types
def install_into(sender: Any, **_: Any) -> None:
    """Installs into the app of the worker that is about to be built."""
    install(sender.app)
