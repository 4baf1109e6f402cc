"""The doors: who gets in, and by whose word."""

from __future__ import annotations

from opsdash.errors import Invalid
from opsdash.services.doctor.finding import Findings, Patient, error, ok, warning
from opsdash.text import count


def page(patient: Patient) -> Findings:
    """Page: who is let in, and are sessions signed."""
    settings = patient.console.settings
    if settings.auth is None:
        todo = "Set OPSDASH_AUTH=dev on a laptop, or header behind a proxy."
        yield warning("page", "Closed: OPSDASH_AUTH is not set.", todo)
    elif settings.auth == "dev":
        yield ok("page", "Development mode: this machine's one user; never reachable from another.")
    else:
        try:
            settings.secret()
        except Invalid as missing:
            yield error("page", "Behind a proxy, and sessions can't be signed: it does not start.", str(missing))
        else:
            yield ok("page", f"Signed sessions; the proxy's {settings.user_header} says who it is.")
            todo = f"Let nobody but the proxy reach opsdash; the proxy must drop {settings.user_header} from clients."
            yield warning("proxy", "Whoever reaches opsdash's port beside the proxy can claim any name.", todo)


def roles(patient: Patient) -> Findings:
    """Roles: does anybody have one."""
    settings = patient.console.settings
    if settings.roles_configured:
        said = [
            f"{count(len(names), role)}"
            for role, names in (
                ("admin", settings.admins),
                ("operator", settings.operators),
                ("viewer", settings.viewers),
            )
        ]
        yield ok("roles", f"{', '.join(said)} named.")
        if "*" in settings.admins:
            yield warning("roles", "Everybody who is signed in is admin.", "Name people or groups in OPSDASH_ADMINS.")
    elif settings.auth == "header":
        yield error(
            "roles", "No list gives anybody a role: the page shows nothing.", "Set OPSDASH_ADMINS and the others."
        )
    else:
        yield ok("roles", "No lists: whoever holds the credentials in a shell is admin.")


def api(patient: Patient) -> Findings:
    """API: is it open, and for whom."""
    tokens = patient.console.settings.api_tokens
    if tokens:
        yield ok(
            "api", f"{count(len(tokens), 'token')}: {', '.join(f'{t.name} ({t.role.name.lower()})' for t in tokens)}."
        )
    else:
        yield ok("api", "Closed, and /metrics with it: OPSDASH_API_TOKENS is not set.")


CHECKS = (page, roles, api)
