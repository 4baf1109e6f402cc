"""Alembic's entry: called by ``opsdash.services.database.migrations``, or by the ``alembic`` command."""

from __future__ import annotations

from logging.config import fileConfig
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.util import CommandError

from opsdash.config.settings import Settings
from opsdash.errors import OpsdashError
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import metadata


def ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Leaves the tables of an application that shares the database out of every comparison."""
    return kind != "table" or name in metadata.tables


def comparable(item: Any, _name: str | None, kind: str, _reflected: bool, other: Any) -> bool:
    """That a column which the database reckons itself is there is compared, and how it does so is not."""
    return kind != "column" or other is None or type(item.server_default) is not sa.FetchedValue


OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "version_table": migrations.VERSION_TABLE,
    "include_name": ours,
    "include_object": comparable,
    "compare_type": True,
}


def run_with(connection: Any) -> None:
    """Runs on a connection whose transaction the caller ends."""
    context.configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite", **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_from_command_line() -> None:
    """``alembic upgrade head`` in a checkout: the database is the one opsdash itself would use."""
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    try:
        url = Settings.from_env().database_url
        if context.is_offline_mode():
            parsed = database.parse(url)
            context.configure(url=parsed, literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS)
            with context.begin_transaction():
                context.run_migrations()
            return
        engine = database.connect(url)
        with migrations.locked(engine) as connection:
            run_with(connection)
        engine.dispose()
    except OpsdashError as error:
        raise CommandError(str(error)) from error


if given := context.config.attributes.get("connection"):
    run_with(given)
else:
    run_from_command_line()
