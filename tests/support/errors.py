"""What an error says by its fields; its sentence stands in one test only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from opsdash.errors import OpsdashError


@contextlib.contextmanager
def fails(kind: type[OpsdashError], **fields: Any) -> Iterator[pytest.ExceptionInfo[OpsdashError]]:
    """As ``pytest.raises``, by the fields that the error must have."""
    with pytest.raises(kind) as error:
        yield error
    assert {name: getattr(error.value, name) for name in fields} == fields
