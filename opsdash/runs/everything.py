"""All there is to see, in one file: for those who look into an incident when it is over."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opsdash import installed
from opsdash.errors import OpsdashError, Refused
from opsdash.model import to_plain
from opsdash.services.audit.details import stored
from opsdash.services.console import Console
from opsdash.services.pause.verdict import verdicts

RECENT = 200
"""Audit entries."""


def collect(console: Console, **facts: str) -> dict[str, Any]:
    """Pauses with their verdicts, queues, workers, failures by group, the recent audit log; without what looks secret.

    What can't be read is named in ``problems``, and the rest is there.
    """
    problems: list[str] = []

    def read(what: str, call: Any) -> Any:
        try:
            return to_plain(call())
        except OpsdashError as error:
            problems.append(f"{what}: {error.explanation}")
            return None

    read("unmanaged workers", console.unmanaged.look)
    snapshot = console.snapshot()
    if snapshot.redis_error:
        problems.append(f"snapshot: {snapshot.redis_error}")
    found = {
        "taken_at": datetime.now(UTC).isoformat(),
        "opsdash": installed.describe(),
        "redis": console.settings.redis_label,
        "environment": console.settings.environment,
        **facts,
        "verdicts": verdicts(snapshot),
        "snapshot": to_plain(snapshot),
        "failures": read("failures", console.failed.overview),
        "audit": read("audit", lambda: console.audit.recent(RECENT)),
    }
    return stored({**found, "problems": problems})


def write(path: Path, found: dict[str, Any]) -> int:
    """Writes it, for its owner alone; how many bytes. A file that is there already is never replaced.

    Raises:
        Refused: It is there, or can't be written.
    """
    text = json.dumps(found, indent=1, ensure_ascii=False).encode("utf-8", "replace")
    try:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")  # mode 0600
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.link(draft, path)
    except FileExistsError as error:
        raise Refused(f"{path} is there already.", hint="Name another file: --file") from error
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}.") from error
    finally:
        os.unlink(draft)
    return len(text)
