"""Who is looking: closed unless configured, and never on the word of the browser."""

from __future__ import annotations

import getpass
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import panel as pn
from bokeh.settings import settings as bokeh_settings

from opsdash.model import Actor
from opsdash.settings import Settings

_NAME_LENGTH = 200
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Why this visitor sees nothing, and what to do about it."""

    heading: str
    lines: tuple[str, ...]
    commands: str = ""


def identify(settings: Settings, request: Any = None, signed: bool | None = None) -> Actor | Closed:
    """The actor of the browser session that is being made, or why there is none.

    Args:
        settings: How identity is configured.
        request: The session's request; default: that of the current Document.
        signed: Whether session tokens are signed; default: Bokeh's setting.
    """
    if settings.auth is None:
        return Closed(
            heading="opsdash is closed until you say who may use it",
            lines=(
                "OPSDASH_AUTH is not set, so this page shows nothing. For a look on your own machine, start it with:",
            ),
            commands=(
                "OPSDASH_AUTH=dev opsdash serve\n\n"
                "# behind a proxy that authenticates (oauth2-proxy, …) and sets the header itself:\n"
                "OPSDASH_AUTH=header OPSDASH_ADMINS=maria OPSDASH_OPERATORS=group:sre OPSDASH_VIEWERS='*' opsdash serve"
            ),
        )
    if request is None:
        context = pn.state.curdoc.session_context if pn.state.curdoc else None
        request = getattr(context, "request", None)
    if request is None:
        return Closed(heading="This page needs a server", lines=("There is no request to take a user from.",))
    if _chose_its_session(request):
        return Closed(
            heading="This link can't be used",
            lines=("It names a session of somebody's choosing. Open the page by its plain address.",),
        )
    if settings.auth == "dev":
        return _local_user(settings, request)
    return _proxy_user(settings, request, bokeh_settings.sign_sessions() if signed is None else signed)


def _local_user(settings: Settings, request: Any) -> Actor | Closed:
    # Behind a proxy on this machine everybody comes from loopback; and a name on the internet that resolves to loopback
    # (DNS rebinding) would let any web page in. Both show in the headers.
    host = _header(request.headers, "Host") or "localhost"
    elsewhere = (
        not is_loopback(str(getattr(request, "remote_ip", "") or ""))
        or any(_header(request.headers, name) for name in _FORWARDED)
        or not is_loopback(urlsplit(f"//{host}").hostname or "")
    )
    if elsewhere:
        return Closed(
            heading="Development mode answers this machine only",
            lines=(
                "OPSDASH_AUTH=dev takes whoever sits at this computer for the operator.",
                "Others, and everybody behind a proxy, need OPSDASH_AUTH=header.",
            ),
        )
    return _known(settings.actor(getpass.getuser(), surface="page"))


def _proxy_user(settings: Settings, request: Any, signed: bool) -> Actor | Closed:
    if not signed:
        return Closed(
            heading="Sessions are not signed",
            lines=(
                "With OPSDASH_AUTH=header an unsigned session lets anybody claim any name.",
                "Start the page with opsdash serve, which signs them, or set for panel serve:",
            ),
            commands="BOKEH_SIGN_SESSIONS=true BOKEH_SECRET_KEY=$(bokeh secret)",
        )
    name = _header(request.headers, settings.user_header)
    if not name:
        return Closed(
            heading="Nobody is signed in",
            lines=(f"The request carries no {settings.user_header}. The proxy in front of opsdash has to set it.",),
        )
    if "," in name or len(name) > _NAME_LENGTH or not name.isprintable():
        # Two headers of one name arrive joined by a comma: one of them may be the client's own.
        return Closed(
            heading="The user name can't be trusted",
            lines=(f"{settings.user_header} holds more than one name, or none that can be shown.",),
        )
    groups = [group.strip() for group in _header(request.headers, settings.groups_header).split(",") if group.strip()]
    return _known(settings.actor(name, groups, surface="page"))


def _known(actor: Actor) -> Actor | Closed:
    if actor.role is None:
        return Closed(
            heading="You have no role here",
            lines=(
                f"You are signed in as {actor.name}, and no list gives that name a role.",
                "Ask whoever runs opsdash to add you to OPSDASH_VIEWERS, OPSDASH_OPERATORS or OPSDASH_ADMINS.",
            ),
        )
    return actor


def headers_needed(settings: Settings) -> tuple[str, ...]:
    """The request headers that ``identify`` reads: no others need to be kept with a session."""
    if settings.auth == "header":
        return settings.user_header, settings.groups_header
    return ("Host", *_FORWARDED) if settings.auth == "dev" else ()


def is_loopback(address: str) -> bool:
    """Whether an IP address, or ``localhost``, is this machine."""
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return address == "localhost"
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def _header(headers: Mapping[str, Any], name: str) -> str:
    wanted = name.lower()
    value = next((value for key, value in headers.items() if key.lower() == wanted), "")
    return (",".join(value) if isinstance(value, list) else str(value)).strip()


def _chose_its_session(request: Any) -> bool:
    """A session id or token in the address: whoever made that link could join the session it opens (fixation)."""
    query = str(getattr(request, "query", "") or "").lower()
    return "bokeh-session-id" in query or "bokeh-token" in query
