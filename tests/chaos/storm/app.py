"""The sample app in a storm: the clock of its worker may be wrong, its records never are."""

from __future__ import annotations

import time
from types import SimpleNamespace

TRUE_TIME = time.time

from support import sample_app  # noqa: E402 - it may replace time.time

sample_app.time = SimpleNamespace(time=TRUE_TIME, sleep=time.sleep)  # type: ignore[attr-defined]
app = sample_app.app
