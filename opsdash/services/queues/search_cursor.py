"""Where a page of a search of tasks ended, and the next one begins."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from opsdash.errors import Invalid
from opsdash.model import untrusted

RUNNING, FETCHED, WAITING, HELD, FAILED = "running", "fetched", "waiting", "held", "failed"
"""The stages of a search, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a search goes on.

    Attributes:
        stage: ``running``, ``fetched``, ``waiting``, ``held`` or ``failed``.
        queue: The queue and ``step`` it is at; of held tasks their list. ``at``: its place there, or the scan's cursor.
        seen: Digest of the message before that place; of a failed task its id.
    """

    stage: str = RUNNING
    queue: str = ""
    step: int = 0
    at: int = 0
    seen: str = ""

    @property
    def text(self) -> str:
        """For the next request."""
        parts = [self.stage, self.queue, self.step, self.at, self.seen]
        return base64.urlsafe_b64encode(json.dumps(parts, ensure_ascii=False).encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Cursor:
        """As it was given.

        Raises:
            Invalid: It is none.
        """
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (ValueError, binascii.Error) as error:
            raise Invalid("this is not where a page of tasks ended.", field="after") from error
        parts = untrusted.parsed(raw, 2_000)
        kinds = (str, str, int, int, str)
        if not isinstance(parts, list) or list(map(type, parts)) != list(kinds) or not 0 <= parts[3] < 2**63:
            raise Invalid("this is not where a page of tasks ended.", field="after")
        if parts[0] not in (RUNNING, FETCHED, WAITING, HELD, FAILED):
            raise Invalid("this is not where a page of tasks ended.", field="after")
        return cls(stage=parts[0], queue=parts[1], step=parts[2], at=parts[3], seen=parts[4])
