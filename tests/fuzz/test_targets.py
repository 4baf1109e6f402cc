"""A few inputs for everything that is parsed from outside; ``python -m tests.fuzz --minutes 60`` tries some million."""

from __future__ import annotations

import hypothesis
import pytest
from fuzz.targets import TARGETS
from hypothesis import HealthCheck


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_what_is_promised_of_any(name: str) -> None:
    target = TARGETS[name]
    few = hypothesis.settings(max_examples=20, database=None, suppress_health_check=list(HealthCheck))
    few(hypothesis.given(target.values)(target.run))()
