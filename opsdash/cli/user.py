"""``opsdash user``: who may sign in with ``OPSDASH_AUTH=basic``."""

from __future__ import annotations

import sys

import click

from opsdash.cli.output import print_line
from opsdash.cli.plain import changing, json_option, print_json
from opsdash.cli.strict import Group
from opsdash.config.passwords import Users
from opsdash.config.settings import Settings
from opsdash.errors import Invalid


@click.group(cls=Group)
def user() -> None:
    """Users of OPSDASH_AUTH=basic: add, remove, list. Their roles come from OPSDASH_ADMINS and its like."""


@user.command()
@click.argument("name")
def add(*, name: str) -> None:
    """Add a user, or give one a new password. It is asked for, or read from the first line of stdin."""
    changing()
    users = _users()
    is_new = users.put(name, _password())
    print_line(f"{'Added' if is_new else 'New password for'} {name} in {users.path}.")


@user.command()
@click.argument("name")
def remove(*, name: str) -> None:
    """Remove a user: no page opens for them any more, and those that are open are closed within seconds."""
    changing()
    users = _users()
    users.remove(name)
    print_line(f"Removed {name} from {users.path}.")


@user.command(name="list")
@json_option
def list_users(*, as_json: bool) -> None:
    """Print who may sign in, and which role the settings give them."""
    settings = Settings.from_env()
    rows = []
    for name in sorted(_users().read()):
        role = settings.actor(name, surface="page").role
        rows.append({"name": name, "role": role.name.lower() if role else None})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print_line(str(row["name"]), str(row["role"] or "no role"))
    if not rows:
        print_line("No users yet: opsdash user add NAME")


def _users() -> Users:
    return Users(Settings.from_env().users_file)


def _password() -> str:
    if sys.stdin.isatty():
        # Never an argument: the shell's history and the list of processes would have it.
        entered: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return entered
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Invalid("expected on a terminal or as the first line of stdin", field="password")
    return password
