"""Whatever an entry of the audit log says: as it was sealed it verifies, and with anything else in it it does not."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.services.audit import stored_rows
from opsdash.services.audit.chain import Keyring, covered, mac_with, seal_of
from opsdash.services.audit.verify import Verification, Walk

KEY = b"k" * 32
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
moments = st.integers(-(10**15), 7 * 10**15).map(lambda micros: BEGINNING + timedelta(microseconds=micros))
rows = st.fixed_dictionaries(
    {
        "seq": st.just(1),
        "key_id": st.just("key"),
        "id": st.uuids(),
        "timestamp": moments,
        "user": st.text(),
        "operation": st.text(),
        "details": st.dictionaries(st.text(), values, max_size=4),
        "status": st.sampled_from(["success", "failure"]),
        "request_id": st.uuids(),
        "finished_at": moments,
    }
)


def in_order(row: Row) -> list[Any]:
    """As the columns are read."""
    return [row[column.name] for column in stored_rows.STORED[:-1]]


def of_postgresql(row: Row, seal: str) -> list[Any]:
    """As COPY writes it."""
    shown: dict[type, Callable[[Any], Any]] = {UUID: str, datetime: lambda when: str(when)[:-3], dict: json.dumps}
    return [*(shown.get(type(value), lambda same: same)(value) for value in in_order(row)), seal]


def of_sqlite(row: Row, seal: str) -> list[Any]:
    """As SQLAlchemy writes it."""
    shown: dict[type, Callable[[Any], Any]] = {
        UUID: lambda one: one.hex,
        datetime: lambda when: f"{when:%Y-%m-%d %H:%M:%S.%f}",
        dict: json.dumps,
    }
    return [*(shown.get(type(value), lambda same: same)(value) for value in in_order(row)), seal]


Stored = Callable[[Row, str], Sequence[Any]]
DATABASES = [
    pytest.param(of_postgresql, stored_rows.quick_of_postgresql, stored_rows.of_postgresql, id="postgresql"),
    pytest.param(of_sqlite, stored_rows.quick_of_sqlite, stored_rows.of_sqlite, id="sqlite"),
]


def problems(row: Sequence[Any], *readers: stored_rows.Values) -> list[str]:
    found = Verification()
    Walk(found, Keyring({"key": KEY}), "before", 1, None, "").step(row, *readers)
    return found.problems


@pytest.mark.long
@pytest.mark.parametrize(("stored", "quick", "exact"), DATABASES)
@given(row=rows)
def test_an_entry_that_nobody_touched_verifies(
    stored: Stored, quick: stored_rows.Values, exact: stored_rows.Values, row: Row
) -> None:
    seal = seal_of(KEY, "before", covered(row))
    assert problems(stored(row, seal), quick, exact) == []


@pytest.mark.long
@pytest.mark.parametrize(("stored", "quick", "exact"), DATABASES)
@given(row=rows, other=rows, name=st.sampled_from(["id", "timestamp", "user", "operation", "details", "finished_at"]))
def test_an_entry_with_anything_else_in_it_does_not(
    stored: Stored, quick: stored_rows.Values, exact: stored_rows.Values, row: Row, other: Row, name: str
) -> None:
    seal = seal_of(KEY, "before", covered(row))
    changed = row | {name: other[name]}
    same = seal_of(KEY, "before", covered(changed)) == seal
    assert (problems(stored(changed, seal), quick, exact) == []) == same


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_the_hmac_is_that_of_the_standard_library(key: bytes, text: bytes) -> None:
    assert mac_with(key)(text) == hmac.digest(key, text, "sha256").hex()
