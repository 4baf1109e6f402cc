"""Connections to PostgreSQL that are lost between two transactions, and within one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from opsdash.errors import Uncertain
from opsdash.services.database import engine as database

END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
"""

END_ITSELF = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    made = database.connect(postgres_url)
    yield made
    made.dispose()


def end_all(postgres_url: str) -> None:
    """As the server does when it stops."""
    other = database.connect(postgres_url)
    with other.connect() as connection:
        connection.execute(sa.text(END_OTHERS))
    other.dispose()


def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced(
    engine: sa.Engine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "FRESH_S", 0.0)
    with database.transaction(engine) as connection:
        first = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    end_all(postgres_url)
    with database.transaction(engine) as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) != first


def test_a_statement_whose_connection_is_lost_may_have_been_done(engine: sa.Engine) -> None:
    with pytest.raises(Uncertain), database.statement(engine) as connection:
        connection.execute(sa.text(END_ITSELF))
    with database.statement(engine) as connection:
        assert connection.scalar(sa.text("SELECT 3")) == 3


def test_a_statement_is_committed_by_itself_and_the_next_transaction_is_one_again(engine: sa.Engine) -> None:
    with database.statement(engine) as connection:
        connection.execute(sa.text("CREATE TABLE kept (n INTEGER)"))
    with pytest.raises(sa.exc.DataError), database.transaction(engine) as connection:
        connection.execute(sa.text("INSERT INTO kept SELECT 1 / (2 - n) FROM generate_series(1, 2) n"))
    with database.statement(engine) as connection:
        connection.execute(sa.text("INSERT INTO kept VALUES (2)"))
    with engine.connect() as connection:
        assert list(connection.scalars(sa.text("SELECT n FROM kept"))) == [2]
