"""Who is looking: closed unless configured, and never on the word of the browser."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import panel as pn
from bokeh.settings import settings as bokeh_settings
from bokeh.util.token import check_token_signature

from opsdash.config.addresses import client_address, header, is_loopback, is_within
from opsdash.config.settings import Settings
from opsdash.model import Actor, usernames

__all__ = ["Closed", "PeerAddress", "headers_needed", "identify", "is_loopback", "session_key"]

_NAME_LENGTH = 200
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")
_told: ContextVar[str] = ContextVar("opsdash_peer_address", default="")


class PeerAddress:
    """ASGI middleware: keeps the address at the other end of the connection, while a request or websocket is answered.

    Panel's adapter for FastAPI hands no address on (panel 1.9, ``io/fastapi.py``), and opsdash lets nobody in whose
    address it does not know. The server must not replace it by what a header says: ``uvicorn --no-proxy-headers``.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Answers as the application behind it does."""
        host, _port = scope.get("client") or ("", 0)
        before = _told.set(str(host))
        try:
            await self._app(scope, receive, send)
        finally:
            _told.reset(before)


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
        signed: Whether the session's token is signed; default: as Bokeh is set, and as the current Document's is.
    """
    if settings.auth is None:
        return Closed(
            heading="opsdash is closed until you configure who may use it",
            lines=(
                "OPSDASH_AUTH is not set, so this page shows nothing. To try it on your own machine, start it with:",
            ),
            commands=(
                "OPSDASH_AUTH=dev opsdash serve\n\n"
                "# for a small team, with a file of names and passwords:\n"
                "opsdash user add maria && OPSDASH_AUTH=basic OPSDASH_ADMINS=maria opsdash serve\n\n"
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
            lines=("It contains a session id. Open the page by its plain address.",),
        )
    if settings.auth == "dev":
        return _local_user(settings, request)
    if not (_is_signed() if signed is None else signed):
        return _unsigned(settings)
    return {"header": _proxy_user, "basic": _listed_user, "oauth": _provider_user}[settings.auth](settings, request)


def _local_user(settings: Settings, request: Any) -> Actor | Closed:
    # Behind a proxy on this machine everybody comes from loopback; and a name on the internet that resolves to loopback
    # (DNS rebinding) would let any web page in. Both show in the headers.
    host = header(request.headers, "Host") or "localhost"
    elsewhere = (
        not is_loopback(_peer(request))
        or any(header(request.headers, name) for name in _FORWARDED)
        or not is_loopback(urlsplit(f"//{host}").hostname or "")
    )
    if elsewhere:
        return Closed(
            heading="Development mode answers this machine only",
            lines=(
                "OPSDASH_AUTH=dev accepts only the user of this computer.",
                "Other users, and users behind a proxy, need OPSDASH_AUTH=header, basic or oauth.",
            ),
        )
    return _known(settings.actor(usernames.os_user(), surface="page"))


def _is_signed() -> bool:
    """Looked at here too: an adapter may never have signed nor checked it (bokeh-django 0.2.1, consumers.py)."""
    context = pn.state.curdoc.session_context if pn.state.curdoc else None
    token, key = getattr(context, "_token", None), bokeh_settings.secret_key()
    if not (token and key and bokeh_settings.sign_sessions()):
        return False
    return bool(check_token_signature(token, secret_key=key.encode(), signed=True))


def _unsigned(settings: Settings) -> Closed:
    return Closed(
        heading="Sessions are not signed",
        lines=(
            f"With OPSDASH_AUTH={settings.auth} an unsigned session lets any client claim any name.",
            "Start the page with opsdash serve, which signs them, or set for panel serve:",
        ),
        commands="BOKEH_SIGN_SESSIONS=true BOKEH_SECRET_KEY=$(bokeh secret)",
    )


def _proxy_user(settings: Settings, request: Any) -> Actor | Closed:
    if not is_within(_peer(request), settings.trusted_proxies):
        return Closed(
            heading="This request did not come through the proxy",
            lines=(
                f"With OPSDASH_AUTH=header the user's name is taken from the proxy only, not from {_peer(request)}.",
                "Open the page by its public address. OPSDASH_TRUSTED_PROXIES says where the proxy is.",
            ),
        )
    return _named_in_headers(
        settings,
        request,
        Closed(
            heading="You are not signed in",
            lines=(f"The request has no header {settings.user_header}. The proxy in front of opsdash must set it.",),
        ),
    )


def _listed_user(settings: Settings, request: Any) -> Actor | Closed:
    # `opsdash serve` checks the cookie and writes the name into the header that was meant for a proxy. A session that
    # it did not sign itself may have that header from anybody.
    signed_here = hmac.compare_digest(str(bokeh_settings.secret_key()), session_key(settings))
    nobody = Closed(
        heading="You are not signed in",
        lines=("OPSDASH_AUTH=basic needs the sign-in page of opsdash serve; panel serve has none.",),
    )
    return _named_in_headers(settings, request, nobody) if signed_here else nobody


def _named_in_headers(settings: Settings, request: Any, nobody: Closed) -> Actor | Closed:
    name = header(request.headers, settings.user_header)
    if not name:
        return nobody
    if not _is_one_name(name):
        # Two headers of one name arrive joined by a comma: one of them may be the client's own.
        return Closed(
            heading="The user name can't be trusted",
            lines=(f"{settings.user_header} contains more than one name, or a name that can't be shown.",),
        )
    groups = [group.strip() for group in header(request.headers, settings.groups_header).split(",") if group.strip()]
    return _known(settings.actor(name, groups, surface="page", client=_client(settings, request)))


def _provider_user(settings: Settings, request: Any) -> Actor | Closed:
    # Panel takes a cookie that anybody can write, `is_guest`, for a user named guest.
    name = None if "is_guest" in (getattr(request, "cookies", None) or {}) else pn.state.user
    if not name or not _is_one_name(name):
        return Closed(
            heading="You are not signed in",
            lines=("OPSDASH_AUTH=oauth needs a user that Panel's OAuth provider signed in. There is none.",),
        )
    info = pn.state.user_info or {}
    groups = [group for key in ("groups", "roles") for group in _texts(info.get(key))]
    return _known(settings.actor(name, groups, surface="page", client=_client(settings, request)))


def _known(actor: Actor) -> Actor | Closed:
    if actor.role is None:
        return Closed(
            heading="You have no role here",
            lines=(
                f"You are signed in as {actor.name}, and no list gives that name a role.",
                "Ask the administrator of opsdash to add you to OPSDASH_VIEWERS, OPSDASH_OPERATORS or OPSDASH_ADMINS.",
            ),
        )
    return actor


def headers_needed(settings: Settings) -> tuple[str, ...]:
    """The request headers that ``identify`` reads: no others need to be kept with a session."""
    if settings.auth in {"header", "basic"}:
        return settings.user_header, settings.groups_header, "X-Forwarded-For"
    return {"dev": ("Host", *_FORWARDED), "oauth": ("X-Forwarded-For",)}.get(settings.auth or "", ())


def cookies_needed(settings: Settings) -> tuple[str, ...]:
    """The cookies that ``identify`` reads; Panel's own, signed by it, and only where it signs users in."""
    return ("user", "id_token") if settings.auth == "oauth" else ()


def session_key(settings: Settings) -> str:
    """The key that signs sessions: derived, so that it opens nothing else the secret protects.

    Raises:
        Invalid: There is no secret and no place to keep one.
    """
    return hmac.new(settings.secret(), b"opsdash: sign sessions", hashlib.sha256).hexdigest()


def _is_one_name(name: str) -> bool:
    return "," not in name and len(name) <= _NAME_LENGTH and name.isprintable()


def _peer(request: Any) -> str:
    return str(getattr(request, "remote_ip", "") or _told.get())


def _client(settings: Settings, request: Any) -> str:
    return client_address(request.headers, _peer(request), settings.trusted_proxies)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _chose_its_session(request: Any) -> bool:
    """A session id or token in the address: the author of the link could join the session it opens (fixation)."""
    query = str(getattr(request, "query", "") or "").lower()
    return "bokeh-session-id" in query or "bokeh-token" in query
