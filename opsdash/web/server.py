"""Serving the page: signed sessions, named origins, nothing of the machine given away."""

from __future__ import annotations

import asyncio
import functools
import gc
import hashlib
import hmac
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import panel as pn
from bokeh.settings import settings as bokeh_settings
from panel.auth import OAuthProvider
from tornado.ioloop import PeriodicCallback
from tornado.iostream import StreamClosedError
from tornado.routing import Rule
from tornado.web import Application
from tornado.websocket import WebSocketClosedError

from opsdash import api
from opsdash.bootstrap import connect
from opsdash.config.addresses import is_loopback
from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.services.background import Background
from opsdash.services.console import Console
from opsdash.text import without_folders
from opsdash.views import operations_page
from opsdash.views.identity import Closed, cookies_needed, headers_needed, session_key
from opsdash.views.page import TITLE, closed_page
from opsdash.web import static_files
from opsdash.web.auth.provider import TOKEN_LIFETIME_S, SignIn
from opsdash.web.connections import Connections
from opsdash.web.errors import keep_inside
from opsdash.web.handler import Alive
from opsdash.web.logs import silence
from opsdash.web.request_filter import PAGE, Refused, RequestFilter
from opsdash.web.response_headers import SecurityHeaders
from opsdash.web.session_limit import limit_sessions

if TYPE_CHECKING:
    from panel.io.server import Server

log = logging.getLogger(__name__)

UNUSED_SESSION_MS = 15_000
"""A page that was fetched and never connected is discarded after this time."""

SIGNED_OUT_MS = 5_000
TIDY_MS = 250
SWITCH_S = 0.001
"""A busy thread lets others have Python's lock after so long, not after 5 ms: an act asks for it some thirty times."""
MAX_MESSAGE_BYTES = 1024 * 1024
"""What a page sends: clicks and typed text. What it is sent has no limit."""

HTTP_LIMITS = {
    "max_body_size": 1024 * 1024,
    "max_buffer_size": 4 * 1024 * 1024,
    "max_header_size": 32 * 1024,
    "idle_connection_timeout": 75,
    "body_timeout": 30,
}
"""Bytes and seconds for one request: nobody fills the memory, or holds a connection open word by word."""


def create_server(
    console: Console,
    *,
    port: int = 0,
    address: str = "127.0.0.1",
    prefix: str = "",
    origins: Iterable[str] = (),
    show: bool = False,
    unused_session_ms: int = UNUSED_SESSION_MS,
) -> Server:
    """A server that listens and has not started; ``server.port`` is the port it got.

    Args:
        console: What to serve.
        port: 0 takes any free one.
        address: Where to listen.
        prefix: Path before every route, e.g. ``/ops``.
        origins: Further ``host:port`` that browsers come from, e.g. the proxy's public name.
        show: Open a browser.
        unused_session_ms: How long a session may be without a browser before it is discarded.

    Raises:
        Invalid: The settings don't allow serving like this.
        OSError: The port is taken.
    """
    settings = console.settings
    if settings.auth == "dev" and not is_loopback(address):
        raise Invalid(
            f"dev serves this machine only, got the address {address!r}; expected 127.0.0.1, or header",
            setting="OPSDASH_AUTH",
        )
    port = port or _free_port(address)
    allowed = _origins(origins, address, port)
    key = session_key(settings)
    prefix = f"/{prefix.strip('/')}".rstrip("/")
    sign_in = SignIn(settings, prefix=prefix, provider=_provider(settings), broker=console.broker)
    # Panel and Bokeh read these at several places, some when a session is made: the arguments below are not enough.
    bokeh_settings.sign_sessions.set_value(True)
    bokeh_settings.secret_key.set_value(key)
    silence()
    keep_inside()

    def operations() -> Any:  # Panel calls plain functions only, not partials
        return operations_page(console)

    server: Server = pn.serve(
        {PAGE.strip("/"): operations},
        port=port,
        address=address,
        prefix=prefix.strip("/"),
        title=TITLE,
        show=show,
        start=False,
        verbose=False,
        location=True,
        secret_key=key,
        sign_sessions=True,
        session_token_expiration=TOKEN_LIFETIME_S,
        include_headers=[_canonical(name) for name in headers_needed(settings)],
        include_cookies=list(cookies_needed(settings)),
        unused_session_lifetime_milliseconds=unused_session_ms,
        check_unused_sessions_milliseconds=min(TIDY_MS, max(100, unused_session_ms // 4)),
        websocket_origin=allowed,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        http_server_kwargs=HTTP_LIMITS,
        auth_provider=sign_in,
        cookie_secret=_cookie_key(settings),
        # opsdash's own routes beside the page, relative to the prefix, as Tornado takes them. `RequestFilter` and
        # `SecurityHeaders` apply to each; each route must check the role itself.
        extra_patterns=[("/healthz", Alive), *api.routes(console), *static_files.routes()],
        transforms=[SecurityHeaders],  # and no compression: static files come compressed, nothing else may be
        opsdash=settings,
        serve_traceback=False,
    )
    static_files.prepare()
    application: Application = server._tornado  # nothing public gives it
    Connections(settings).guard(server._http)  # as above
    # Before every route, Bokeh's and Panel's own included.
    application.add_handlers(r".*", [Rule(RequestFilter(settings, prefix=prefix, origins=allowed), Refused)])
    loop: Any = server.io_loop  # an AsyncIOLoop: Tornado has had no other since version 5
    loop.asyncio_loop.set_exception_handler(_on_loop_error)
    sign_in.look_again()  # what was ended before this process began
    PeriodicCallback(sign_in.look_again, SIGNED_OUT_MS).start()
    contexts: Any = server._tornado.applications.values()
    PeriodicCallback(lambda: limit_sessions(contexts), TIDY_MS).start()
    return server


def serve(console: Console, *, ready: Callable[[str], None] | None = None, **options: Any) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        console: What to serve; closed at the end.
        ready: Called with the page's address once the server listens.
        options: As for ``create_server``.
    """
    server = create_server(console, **options)
    background = Background(console)
    background.start()
    server.start()
    loop: Any = server.io_loop
    if threading.current_thread() is threading.main_thread():
        loop.asyncio_loop.add_signal_handler(signal.SIGTERM, loop.stop)
    sys.setswitchinterval(SWITCH_S)
    # What is loaded by now stays: the collector, which Panel calls after each session, need not walk through it.
    gc.collect()
    gc.freeze()
    if ready is not None:
        ready(page_url(server))
    try:
        server.io_loop.start()
    finally:
        server.stop()
        background.close()
        console.close()


def page_url(server: Server) -> str:
    """Where the page is, for a browser on this machine."""
    host = server.address if server.address not in {None, "", "0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104 - compared
    host = f"[{host}]" if ":" in str(host) else host
    return f"http://{host}:{server.port}{server.prefix}/operations"


@functools.cache
def shared_console() -> Console:
    """The process's one console, for ``panel serve``, which runs the app's script once per session."""
    silence()
    keep_inside()
    console = connect()
    Background(console).start()
    return console


def page() -> Any:
    """The page for ``panel serve``, configured by the environment; a wrong setting is a sentence on it."""
    try:
        console = shared_console()
    except Invalid as error:
        log.error("%s", error.explanation)
        return closed_page(Closed(heading="opsdash is not configured", lines=(without_folders(error.explanation),)))
    return operations_page(console)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A browser that closes its page while a figure is on the way is no fault; everything else is reported as ever."""
    if not isinstance(context.get("exception"), WebSocketClosedError | StreamClosedError):
        loop.default_exception_handler(context)


def _provider(settings: Settings) -> OAuthProvider | None:
    """Panel's own sign-in, which its settings (``PANEL_OAUTH_…``) configure."""
    if settings.auth != "oauth":
        return None
    if not pn.config.oauth_provider:
        raise Invalid(
            "oauth needs a provider; expected PANEL_OAUTH_PROVIDER, _KEY and _SECRET to be set", setting="OPSDASH_AUTH"
        )
    return OAuthProvider()


def _cookie_key(settings: Settings) -> str | None:
    """The key for Panel's own cookies, if Panel signs users in and has no key."""
    if settings.auth != "oauth" or pn.config.cookie_secret:
        return None
    return hmac.new(settings.secret(), b"opsdash: sign cookies", hashlib.sha256).hexdigest()


def _origins(given: Iterable[str], address: str, port: int) -> list[str]:
    """Who may open the websocket: the names asked for, and this machine's own. Never everybody."""
    named = list(given)
    if any("*" in origin for origin in named):
        raise Invalid(
            "expected the host and port in the browser's address bar, got '*'", field="--allow-websocket-origin"
        )
    own = [f"localhost:{port}", f"127.0.0.1:{port}"]
    if not is_loopback(address) and address not in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        own.append(f"{address}:{port}")
    return [*named, *own]


def _free_port(address: str) -> int:
    # Bokeh wants the origins, and with them the port, before it binds.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def _canonical(header: str) -> str:
    return "-".join(part.capitalize() for part in header.split("-"))
