"""What a target is, and the texts that all of them are tried with."""

from __future__ import annotations

import json
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

MOST_S = 2.0
"""Processor time that one input may take; the slowest of all that were tried takes a tenth of it."""


@dataclass(frozen=True)
class Target:
    """Something that is parsed from outside.

    Attributes:
        comes: From whom the value comes.
        values: Strategy of inputs.
        check: Takes one; raises where what is promised of any input does not hold.
    """

    name: str
    comes: str
    values: st.SearchStrategy[Any]
    check: Callable[[Any], object]

    def run(self, value: Any) -> None:
        """One input, in bounded time."""
        began = time.process_time()
        self.check(value)
        took = time.process_time() - began
        assert took < MOST_S, f"{took:.1f} s of processor time"


SHORT = st.sampled_from(
    [
        *(
            "",
            " ",
            "\0",
            "\n",
            "\r\n",
            "\t",
            "\x1b[2J",
            "\u202e",
            "\ufeff",
            "\u0663",
            "\u2028",
            "ß",
            "İ",
            "ﬁ",
            "🂡",
            "\ud800",
        ),
        *("-", "--", "-0", "+1", "0x1", "1e999", "-1e999", "nan", "inf", "1_000", "24:00", "2h", "1d2h", "%00", "%"),
        *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-W01-1", "20260101", "\x06\x16", "\x06\x163"),
        *(
            "opsdash:pause",
            "../..",
            "/etc/passwd",
            "file:///",
            "http://[",
            "[::1",
            "::1%eth0",
            "<script>",
            "=1+1",
            "@SUM(A1)",
        ),
        *("'", '"', "\\", "$(id)", "`id`", "{task_id}", "{0.__class__}", "%s%n"),
    ]
)
LONG = st.builds(
    operator.mul,
    st.sampled_from(["9", "0", "a", "(", "[", '{"a":', "a.", ",", ":", "="]),
    st.sampled_from([30, 500, 5_000]),
)
ODD = SHORT | LONG
TEXT = st.lists(ODD | st.text(max_size=20) | st.text("abc019.:/,=-_ %@[]{}\"'\\", max_size=20), max_size=6).map("".join)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([10**400, 1e308, -1])
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8
)


def text_of(value: Any) -> str:
    """JSON as its writer's library makes it; what is no number is written as Python does."""
    return json.dumps(value)


JSON_TEXT = JSON.map(text_of) | TEXT
RAW = st.binary(max_size=200) | JSON_TEXT.map(lambda text: text.encode(errors="surrogatepass"))


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these fields, each as it should be or anything else."""
    return st.fixed_dictionaries({}, optional={name: (good | JSON) for name, good in fields.items()})
