"""The security headers of every answer: page, static file, API or error."""

from __future__ import annotations

import re
import secrets

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, a browser hides even from us where a form came from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_SCRIPT = re.compile(rb"<script(?=[\s>])")


class SecurityHeaders(OutputTransform):
    """Tornado calls it for each answer: it marks the scripts a page comes with."""

    def __init__(self, request: HTTPServerRequest) -> None:
        """Needs nothing of the request."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Adds the headers, and to a page's own scripts the nonce that lets them run."""
        for name, value in ALWAYS.items():
            headers[name] = value
        for name in ("Server", *[name for name in headers if name.lower().startswith("access-control-")]):
            headers.pop(name, None)
        nonce = ""
        if headers.get("Content-Type", "").startswith("text/html"):
            headers["Cache-Control"] = "no-store"
            headers.pop("Etag", None)  # of the text without its nonce
            nonce = secrets.token_urlsafe(16)
            # What others wrote can't bring one: the last reading and the JSON are escaped, all else comes by websocket.
            chunk = _SCRIPT.sub(f'<script nonce="{nonce}"'.encode(), chunk)
            if "Content-Length" in headers:
                headers["Content-Length"] = str(len(chunk))
        headers["Content-Security-Policy"] = policy(nonce)
        return status_code, headers, chunk


def policy(nonce: str = "") -> str:
    """The content security policy: no foreign host, and of inline scripts only those that the page came with.

    Bokeh and Panel start a page with inline scripts, and load a component's own script as ``blob:``. The nonce lets
    them run, and nothing that is put into the page later, such as a text in a user's name.
    ``unsafe-inline`` is for styles alone: Bokeh and Material UI write them into elements.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' blob: 'nonce-{nonce}'" if nonce else "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' blob:",
            "manifest-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "object-src 'none'",
            "frame-ancestors 'none'",
        )
    )
