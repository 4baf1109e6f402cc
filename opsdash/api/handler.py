"""What every route of the API shares: who asks, how much they send, how an answer and an error look."""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar, get_args

import msgspec
import msgspec.structs
from tornado.web import HTTPError, RequestHandler, stream_request_body

from opsdash.api.problems import CONTENT_TYPE, ProblemError, problem, problem_error
from opsdash.config.addresses import client_address
from opsdash.config.settings import Settings
from opsdash.errors import NOTHING_CHANGED, Changed, OpsdashError, sentences
from opsdash.model import Actor
from opsdash.operation import Operation
from opsdash.services.console import Console
from opsdash.services.threads import READS, Pool, caller_of

MAX_BODY_BYTES = 1_000_000
DROPPED_BODY_BYTES = 64_000_000
"""Up to so many bytes a body that is too large is read and forgotten, so that its sender hears why."""
MAX_DETAIL = 500
"""Characters of a sentence that repeats what the client sent."""
MAX_FIELD = 100
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(.*?)`(?: - at `[^`]*`)?$", re.DOTALL)
_AT = re.compile(r" - at `\$\.(?:params\.)?(\w+)`$")
_OURS = re.compile(r"(\w+): ")
"""What msgspec writes about a request that does not fit, and what our own checks write."""
T = TypeVar("T")
S = TypeVar("S")


@stream_request_body  # so that what is beyond the limit is never kept
class Handler(RequestHandler):
    """A route behind a bearer token. Nothing here reads a cookie: a foreign page has nothing to act with."""

    console: Console
    actor: Actor
    etag: str | None = None
    gone = False

    def initialize(self, console: Console) -> None:
        """Tornado's constructor."""
        self.console = console
        self.body = bytearray()
        # The server's own limit ends the connection without an answer that a client which still sends could read.
        self.request.connection.set_max_body_size(DROPPED_BODY_BYTES)  # type: ignore[union-attr] # HTTP/1, as served

    def set_default_headers(self) -> None:
        """For answers and errors alike."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        """Refuses before a byte of the body is read."""
        settings = self.console.settings
        address = client_address(self.request.headers, self.request.remote_ip or "", settings.trusted_proxies)
        self.actor = authenticate(settings, self.request.headers.get("Authorization", ""), address)
        length = self.request.headers.get("Content-Length", "0")
        waits = "100-continue" in self.request.headers.get("Expect", "").lower()
        if waits and length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise _too_large()  # others send first and read then: an answer now would be lost with the connection

    def data_received(self, chunk: bytes) -> None:
        """Takes a part of the body; what is beyond the limit is read, as HTTP wants it, and forgotten."""
        room = MAX_BODY_BYTES + 1 - len(self.body)
        self.body += chunk[: max(0, room)]

    def compute_etag(self) -> str | None:
        """Of the answer, or the one that the route sets."""
        return self.etag or super().compute_etag()

    def send(self, value: Any) -> None:
        """Answers with JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as a problem document, whatever raised it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = self.allowed()
            self.set_header("Allow", allowed)
            found = problem(status_code, "method", f"{self.request.method} is not possible here; expected {allowed}.")
        elif isinstance(error, ProblemError):
            found = error.problem
            for name, text in error.headers.items():
                self.set_header(name, text)
        elif isinstance(error, HTTPError):
            found = problem(status_code, "request", str(error.log_message or error.reason or "The request is broken."))
        else:
            changed: Changed = "nothing" if self.request.method == "GET" else "perhaps"
            found = problem(status_code, "bug", "A bug in opsdash; its log has the trace.", changed=changed)
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(msgspec.json.encode(found))

    def allowed(self) -> str:
        """The methods of this route."""
        nothing = RequestHandler._unimplemented_method
        return ", ".join(m for m in ("GET", "POST") if getattr(type(self), m.lower()) is not nothing)

    def on_connection_close(self) -> None:
        """The client has gone: nobody needs what it still waits for."""
        super().on_connection_close()
        self.gone = True

    async def work(
        self, call: Callable[[], T], operation: type[Operation] | None = None, pool: tuple[Pool, str] | None = None
    ) -> T:
        """Redis and the database, beside the event loop.

        Args:
            pool: The threads it needs, and in whose line it waits for them; a read of the token's unless given.

        Raises:
            ProblemError: As the services' error is over HTTP.
        """
        threads, caller = pool or (READS, caller_of(self.actor))

        def call_unless_gone() -> T:
            if self.gone:
                raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "The client has gone.")
            return call()

        try:
            return await threads.run(call_unless_gone if caller else call, caller=caller)
        except OpsdashError as error:
            raise problem_error(error, operation, self.actor) from error

    def sent(self, kind: type[S]) -> S:
        """The body as ``kind``.

        Raises:
            ProblemError: It is no JSON, or not what the schema says.
        """
        if len(self.body) > MAX_BODY_BYTES:
            raise _too_large()
        media = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", "Expected Content-Type: application/json."
            )
        try:
            return msgspec.convert(_with_whole_numbers(msgspec.json.decode(bytes(self.body))), kind)
        except msgspec.ValidationError as error:
            raise _unfit(error) from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "json", f"The body is not JSON: {error}") from error

    def query(self, kind: type[S]) -> S:
        """The query parameters as ``kind``.

        Raises:
            ProblemError: One is unknown, comes twice, or is not what the schema says.
        """
        given: dict[str, str] = {}
        for name, values in self.request.query_arguments.items():
            if len(values) > 1:
                raise ProblemError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "invalid",
                    f"The parameter {name[:50]!r} comes twice.",
                    field=name[:MAX_FIELD],
                )
            try:
                given[name] = values[0].decode()
            except UnicodeDecodeError as error:
                raise ProblemError(HTTPStatus.BAD_REQUEST, "request", "A query parameter is not UTF-8.") from error
        try:
            return msgspec.convert({name: _typed(kind, name, text) for name, text in given.items()}, kind)
        except msgspec.ValidationError as error:
            raise _unfit(error) from error


class NotFound(Handler):
    """Every address under ``/api`` that is none."""

    def prepare(self) -> None:
        """Answers so to every client."""
        raise ProblemError(
            HTTPStatus.NOT_FOUND, "not-found", "There is no such address; /api/v1/openapi.json lists them."
        )


def authenticate(settings: Settings, authorization: str, client: str) -> Actor:
    """The user of a bearer token. Compares with every token, each in constant time.

    Raises:
        ProblemError: 401, saying how to get in.
    """
    if not settings.api_tokens:
        raise _unauthorized("The API is closed: set OPSDASH_API_TOKENS=name:role:token on the server.")
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise _unauthorized("Send a token: Authorization: Bearer TOKEN.")
    presented = given.strip().encode("utf-8", "replace")
    matching = [t for t in settings.api_tokens if hmac.compare_digest(t.token.encode(), presented)]
    if not matching:
        raise _unauthorized("This token is not known here.", ', error="invalid_token"')
    return Actor(name=matching[0].name, role=matching[0].role, surface="api", client=client)


def _typed(kind: type, name: str, text: str) -> Any:
    """A query's text as a number or boolean; msgspec itself would read ``0.5`` as a time too."""
    hint = _types(kind).get(name)
    hint = get_args(hint)[0] if get_args(hint) else hint  # Annotated
    if hint is bool:
        return {"1": True, "true": True, "0": False, "false": False}.get(text, text)
    if hint is int and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return text


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    """Parameter → type; to read the annotations takes as long as the rest of a request."""
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _with_whole_numbers(body: Any) -> Any:
    """To JSON, and JSON Schema, ``5.0`` is a whole number; a decoder for Python takes it for another type."""
    if not isinstance(body, dict) or not isinstance(body.get("params"), dict):
        return body
    whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in body["params"].items()}
    return {**body, "params": whole}


def _too_large() -> ProblemError:
    detail = f"A body has at most {MAX_BODY_BYTES:,} bytes."
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)


def _unauthorized(detail: str, more: str = "") -> ProblemError:
    headers = {"WWW-Authenticate": f'Bearer realm="opsdash"{more}'}
    return ProblemError(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers=headers)


def _unfit(error: msgspec.ValidationError) -> ProblemError:
    detail = sentences(str(error)[:MAX_DETAIL], NOTHING_CHANGED)
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, field=_field_of(str(error)))


def _field_of(text: str) -> str:
    """The parameter at fault, from msgspec's sentence; empty: it names none."""
    named = _NAMED.match(text) or _AT.search(text) or _OURS.match(text)
    return named[1][:MAX_FIELD] if named else ""
