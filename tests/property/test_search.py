"""The quick look at a message before its arguments are redacted never leaves out what the redacted text holds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.messages import message

from opsdash.redaction.arguments import SEARCHED, shown_body
from opsdash.services.broker.messages import decoded, envelope
from opsdash.services.queues.search_text import may_hold, words_of

WORD = st.sampled_from(
    ["order", "4711", "a b", "K\u212a", "x\ny", "1e5", "tab\there", "ä", "password", "hidden", "\\", '"']
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | WORD, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(args=st.lists(JSON, max_size=3), at=st.integers(0, 60), length=st.integers(1, 12), plain=st.booleans())
def test_any_part_of_what_may_be_shown_is_found(args: list[Any], at: int, length: int, plain: bool) -> None:
    sent = envelope(message(args=args, kwargs={"given": args}).encode())
    assert sent is not None
    if plain:
        body = json.dumps([args, {"given": args}, {}], ensure_ascii=False, separators=(",", ":"))
        sent = {**sent, "body": body, "properties": {}}
    shown = shown_body(decoded(sent), "", SEARCHED)
    part = shown[at : at + length]
    assert may_hold(sent, words_of(part)), part
