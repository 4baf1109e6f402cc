"""Authentication: who can sign in, and which source is trusted."""

from __future__ import annotations

import os
from collections.abc import Mapping

from opsdash.config import roles as filed_roles
from opsdash.config.passwords import Users
from opsdash.errors import Invalid
from opsdash.model import Role
from opsdash.services.doctor.finding import Examined, Findings, error, ok, warning
from opsdash.text import count

PROVIDER = ("PANEL_OAUTH_PROVIDER", "PANEL_OAUTH_KEY", "PANEL_OAUTH_SECRET")
"""Without these Panel signs nobody in, and ``opsdash serve`` does not start."""
PUBLIC = {"auth0", "bitbucket", "github", "gitlab", "google"}
"""Providers where anybody may have an account."""
_NAMED = 5


def page(patient: Examined) -> Findings:
    """Page: who is let in, by whose word, and are sessions signed."""
    settings = patient.console.settings
    if settings.auth is None:
        todo = "Set OPSDASH_AUTH=dev on a laptop, header behind a proxy that signs users in, else basic or oauth."
        yield warning("page", "Closed: OPSDASH_AUTH is not set.", todo)
        return
    if settings.auth == "dev":
        yield ok("page", "Development mode: this machine's one user; not reachable from other machines.")
        return
    try:
        settings.secret()
    except Invalid as missing:
        where = "Behind a proxy" if settings.auth == "header" else f"Users sign in here ({settings.auth})"
        yield error("page", f"{where}, and sessions can't be signed: it does not start.", str(missing))
        return
    yield from {"header": _proxy, "basic": _users, "oauth": _provider}[settings.auth](patient)


def _proxy(patient: Examined) -> Findings:
    header = patient.console.settings.user_header
    yield ok("page", f"Signed sessions; the proxy's {header} says who it is.")
    todo = f"Let only the proxy reach opsdash; the proxy must remove {header} from clients' requests."
    yield warning("proxy", "A client that reaches opsdash's port without the proxy can claim any name.", todo)


def _users(patient: Examined) -> Findings:
    users = Users(patient.console.settings.users_file)
    try:
        known = users.read()
    except Invalid as broken:
        yield error("page", "No user can sign in: the users file can't be used.", str(broken))
        return
    if not known:
        todo = "Add a user: opsdash user add NAME. With another file, set OPSDASH_USERS_FILE."
        yield error("page", f"No user can sign in: {users.path} names no user.", todo)
        return
    yield ok(
        "page", f"Signed sessions; {count(len(known), 'user')} of {users.path} may sign in, over https or from here."
    )


def _provider(patient: Examined) -> Findings:
    missing = [name for name in PROVIDER if not os.environ.get(name)]
    if missing:
        text = f"No user can sign in: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set here."
        yield error("page", text, "Set what Panel's provider needs, where opsdash serve runs; see docs/security.md.")
        return
    provider = os.environ[PROVIDER[0]]
    yield ok("page", f"Signed sessions; Panel's OAuth provider {provider!r} says who it is.")
    members = _members(patient)
    if provider.lower() in PUBLIC and any("*" in names for names in members.values()):
        role = max(role for role, names in members.items() if "*" in names).name.lower()
        text = f"Every user with an account at {provider} is {role}: * means all users it signs in."
        yield warning("provider", text, "Name people or groups in place of *.")
    if not os.environ.get("PANEL_OAUTH_ENCRYPTION"):
        text = "The provider's tokens are in cookies that are signed but not encrypted."
        yield warning("provider", text, "Set PANEL_OAUTH_ENCRYPTION to what panel oauth-secret prints.")


def roles(patient: Examined) -> Findings:
    """Roles: does anybody have one."""
    settings = patient.console.settings
    networked = settings.auth in {"header", "basic", "oauth"}
    if not settings.roles_configured:
        if networked:
            text = "No list gives a user a role: the page shows nothing to any user."
            yield error("roles", text, "Set OPSDASH_ADMINS, OPSDASH_OPERATORS or OPSDASH_VIEWERS.")
        else:
            yield ok("roles", "No lists: a user whose shell has the credentials is admin.")
        return
    members = _members(patient)
    if not any(members.values()):
        text = "No user has a role, on the page and on the command line: the roles file names none, or can't be used."
        yield error("roles", text, f"Write lines such as admins: ann into {settings.roles_file}.")
        return
    yield ok("roles", f"{', '.join(count(len(members[role]), role.name.lower()) for role in reversed(Role))} named.")
    if "*" in members[Role.ADMIN]:
        yield warning("roles", "Every signed-in user is admin.", "Name people or groups in OPSDASH_ADMINS.")
    if settings.auth == "basic":
        yield from _of_users(patient)


def _of_users(patient: Examined) -> Findings:
    """Who may sign in is known here, and so is who then sees nothing."""
    settings = patient.console.settings
    try:
        names = sorted(Users(settings.users_file).read())
    except Invalid:
        return  # the page's own line
    without = [name for name in names if settings.actor(name, surface="page").role is None]
    if not without:
        return
    if len(without) == len(names):
        text = "No user of the users file has a role: the page shows nothing to any user. The file has no groups."
        yield error("roles", text, "Name them in OPSDASH_ADMINS, OPSDASH_OPERATORS or OPSDASH_VIEWERS, or take *.")
        return
    shown = ", ".join(without[:_NAMED]) + (f" and {len(without) - _NAMED:,} more" if len(without) > _NAMED else "")
    todo = "Name them in a list, or remove them: opsdash user remove NAME."
    yield warning("roles", f"{count(len(without), 'user')} may sign in and then see nothing: {shown}.", todo)


def _members(patient: Examined) -> Mapping[Role, tuple[str, ...]]:
    """Everybody whom the lists and the file name."""
    settings = patient.console.settings
    listed = {Role.ADMIN: settings.admins, Role.OPERATOR: settings.operators, Role.VIEWER: settings.viewers}
    in_file = filed_roles.lists(settings.roles_file)
    return {role: tuple(dict.fromkeys((*names, *in_file[role]))) for role, names in listed.items()}


def api(patient: Examined) -> Findings:
    """API: is it open, and for whom."""
    tokens = patient.console.settings.api_tokens
    if tokens:
        yield ok(
            "api", f"{count(len(tokens), 'token')}: {', '.join(f'{t.name} ({t.role.name.lower()})' for t in tokens)}."
        )
    else:
        yield ok("api", "Closed, and /metrics with it: OPSDASH_API_TOKENS is not set.")


CHECKS = (page, roles, api)
