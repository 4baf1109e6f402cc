"""Whether a message's arguments hold a text, as they may be searched."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from opsdash.model import untrusted
from opsdash.redaction import HIDDEN
from opsdash.redaction.arguments import SEARCHED as SEARCHED_ARGUMENTS
from opsdash.redaction.arguments import shown_body
from opsdash.services.broker.messages import decoded

_WORD = re.compile(r"[a-z0-9]+")
_EXPONENT = re.compile(r"[0-9]e[0-9+-]")
_SAID = f"{HIDDEN} null true false nan infinity".lower()


def may_hold(message: Mapping[str, Any], words: Sequence[str]) -> bool:
    """Whether the arguments may hold these words, by their JSON as it was sent: a tenth of the cost of redacting them.

    What is shown of an argument is in its JSON, but for what is said in place of it and for numbers that may be written
    in several ways. Where that can't be excluded the answer is yes.
    """
    raw = message.get("body")
    try:
        if untrusted.mapping(message.get("properties")).get("body_encoding") == "base64":
            raw = base64.b64decode(raw or "").decode("ascii")
    except (ValueError, TypeError):
        return True
    if not isinstance(raw, str) or len(raw) > SEARCHED_ARGUMENTS.long or not raw.isascii():
        return True
    lowered = raw.lower()
    if "\\u" in lowered or _EXPONENT.search(lowered):
        return True
    return all(word in lowered or word in _SAID for word in words)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text that must be in the JSON of arguments that hold it; none where that can't be said."""
    return tuple(_WORD.findall(text.lower())) if text.isascii() else ()


def searched(message: dict[str, Any], redact: str) -> str:
    """The arguments of a message as they may be searched: what looks secret is hidden, the rest is there in full."""
    body = decoded(message)
    return "" if body is None else shown_body(body, redact, SEARCHED_ARGUMENTS)
