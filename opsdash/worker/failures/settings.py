"""What workers read of the settings: the console's are none of theirs to load."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from celery.utils.log import get_logger

logger = get_logger(__name__)

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSettings:
    """How much of failed tasks is kept.

    Attributes:
        most: Failed tasks that are kept (``OPSDASH_FAILED_MAX``); 0: none, and none is counted by its error.
        ttl_s: For how long (``OPSDASH_FAILED_TTL_S``).
        poison_after: How many of its processes a redelivered task may take with it before it is set aside
            (``OPSDASH_POISON_AFTER``); 0: any number.
        redact: ``OPSDASH_REDACT``: what it finds is hidden as well.
    """

    most: int = 10_000
    ttl_s: int = 7 * DAY_S
    poison_after: int = 0
    redact: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> FailureSettings:
        """As the environment says; a value that can't be read is the default, and the log says so."""
        environ = os.environ if environ is None else environ
        plain = cls()
        return cls(
            most=_number(environ, "OPSDASH_FAILED_MAX", plain.most, 0, 1_000_000),
            ttl_s=_number(environ, "OPSDASH_FAILED_TTL_S", plain.ttl_s, 60, 365 * DAY_S),
            poison_after=_number(environ, "OPSDASH_POISON_AFTER", plain.poison_after, 0, 1_000),
            redact=_pattern(environ.get("OPSDASH_REDACT", "")),
        )


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error:  # `RunningArguments` logs it
        return "."
    return text


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
    if least <= number <= most:
        return number
    logger.error("opsdash: %s must be a whole number from %d to %d: taken for %d", name, least, most, default)
    return default
