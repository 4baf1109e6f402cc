"""``demo``, ``serve`` and ``db``: what is run once, not in anger."""

from __future__ import annotations

import logging
from pathlib import Path

import click

import opsdash
from opsdash.cli.commands import importing
from opsdash.cli.output import log_to_stderr, print_line
from opsdash.cli.plain import changing, json_option, print_json, warn
from opsdash.cli.strict import Command, Group
from opsdash.config.settings import Settings
from opsdash.errors import Invalid

DEFAULT_PORT = 5006

port_option = click.option(
    "--port", type=click.IntRange(1, 65_535), default=DEFAULT_PORT, show_default=True, help="Port of the page."
)


@click.command(cls=Command)
@port_option
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where to keep database, logs and the env file; default: a temporary folder, removed at the end.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def demo(*, port: int, data_dir: Path | None, no_browser: bool) -> None:
    """Start a broker, workers, sample tasks and the page, all on this machine; Ctrl-C ends it."""
    from opsdash.demo.launch import run

    run(port=port, data_dir=data_dir, open_browser=not no_browser)


@click.command(cls=Command)
@port_option
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--prefix", default="", help="Path prefix of every route, e.g. /ops behind a proxy.")
@click.option(
    "--allow-websocket-origin",
    "origins",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Public host a browser may connect from; repeat for more. Never `*`.",
)
@click.option("--show", is_flag=True, help="Open the page in a browser.")
def serve(*, port: int, address: str, prefix: str, origins: tuple[str, ...], show: bool) -> None:
    """Serve the page for an existing deployment."""
    log_to_stderr()
    with importing():
        from opsdash.web.server import serve as serve_page

        console = opsdash.connect()
    logging.getLogger("opsdash.audit.head").setLevel(logging.INFO)

    def ready(url: str) -> None:
        click.echo(f"{url}\nServing; Ctrl-C stops.")
        if console.settings.auth is None:
            warn("OPSDASH_AUTH is not set: the page only shows how to set it")
        snapshot = console.snapshot()
        for problem in (snapshot.redis_error, snapshot.database_error):
            if problem:
                warn(problem)  # and serves: the page says so too, and recovers by itself

    try:
        serve_page(console, ready=ready, port=port, address=address, prefix=prefix, origins=origins, show=show)
    except KeyboardInterrupt:
        click.echo("Stopped.")
    except OSError as error:
        raise Invalid(f"can't listen on {address}:{port}: {error.strerror}", field="--port, --address") from error


@click.group(cls=Group)
def db() -> None:
    """The database: bring its tables up to date, or ask how they are."""


@db.command()
def upgrade() -> None:
    """Create or update the tables. Doing it again changes nothing."""
    from opsdash.services.database import engine, migrations

    changing()
    url = Settings.from_env().database_url
    before = migrations.current(url)
    migrations.upgrade(url)
    after, where = migrations.current(url), engine.label(url)
    if before == after:
        print_line(f"{where} is at revision {after} already; nothing was changed.")
    else:
        print_line(f"{where} went from revision {before or 'none'} to {after}.")


@db.command()
@json_option
def current(*, as_json: bool) -> None:
    """Print the revision the database is at, and the newest there is."""
    from opsdash.services.database import engine, migrations

    url = Settings.from_env().database_url
    revision, head = migrations.current(url), migrations.head()
    if as_json:
        print_json({"revision": revision, "head": head})
    else:
        print_line(f"{engine.label(url)} is at revision {revision or 'none'}; the newest is {head}.")


@db.command()
def check() -> None:
    """Exit with 2 when the database is not what this opsdash expects."""
    from opsdash.services.database import engine, migrations

    url = Settings.from_env().database_url
    if differences := migrations.check(url):
        raise Invalid("; ".join(differences))
    print_line(f"{engine.label(url)} is up to date.")
