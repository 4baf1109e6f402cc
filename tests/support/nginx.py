"""A real nginx with the configuration that is shipped, consoles behind it, and somebody who says who is signed in."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support import programs
from support.services import Missing, Server, folder

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "apps" / "deploy" / "nginx" / "opsdash.conf"
PREFIX = "/ops"
TOKEN = "a-token-of-a-program-in-tests"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer: header names in lower case, the body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


def nginx_program() -> str:
    """The program of a real nginx."""
    if found := shutil.which("nginx") or shutil.which("/usr/sbin/nginx"):
        return found
    raise Missing("no nginx on PATH or in /usr/sbin")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def shipped(changes: Mapping[str, str]) -> str:
    """The shipped configuration with what must differ in a test replaced; each text has to be there, once or more."""
    text = SHIPPED.read_text()
    for old, new in changes.items():
        assert old in text, f"{SHIPPED.name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


class Nginx(Server):
    """nginx before some consoles, without TLS.

    Args:
        home: For its configuration, log and cache.
        consoles: Ports of the consoles.
        gatekeeper: Port of what stands for oauth2-proxy.
    """

    def __init__(self, home: Path, consoles: Sequence[int], gatekeeper: int) -> None:
        super().__init__(home)
        self.program = nginx_program()
        self.url = f"http://127.0.0.1:{self.port}{PREFIX}/operations"
        first, second = consoles[0], consoles[-1]
        site = shipped(
            {
                "127.0.0.1:5006 ": f"127.0.0.1:{first} ",
                "server 127.0.0.1:5007 max_fails=1 fail_timeout=5s;": (
                    f"server 127.0.0.1:{second} max_fails=1 fail_timeout=5s;" if second != first else ""
                ),
                "127.0.0.1:4180": f"127.0.0.1:{gatekeeper}",
                "listen 443 ssl;": f"listen 127.0.0.1:{self.port};",
                "ssl_certificate     /etc/ssl/ops.example.com.pem;": "",
                "ssl_certificate_key /etc/ssl/private/ops.example.com.key;": "",
                "/var/cache/nginx/opsdash ": f"{home}/cache ",
            }
        )
        places = "\n".join(f"{name}_temp_path {home}/{name};" for name in _TEMPORARY)
        # One process, which dies with the test: a master's workers would outlive its kill.
        main = "daemon off;\nmaster_process off;\nerror_log stderr warn;\n"
        (home / "nginx.conf").write_text(
            f"{main}pid {home}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{places}\n{site}\n}}\n"
        )

    def _command(self) -> list[str]:
        return [self.program, "-p", str(self.home), "-e", "stderr", "-c", str(self.home / "nginx.conf")]

    def _answers(self) -> bool:
        return _listens(self.port)


class ConsoleServer(Server):
    """``opsdash serve``, in a process of its own, as a service manager starts it behind a proxy.

    Args:
        home: For its log.
        variables: Its settings.

    Attributes:
        origin: ``host:port`` of the proxy; set before it starts.
    """

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        super().__init__(home)
        self.origin = ""
        self._variables = dict(variables)

    def _command(self) -> list[str]:
        program = [sys.executable, "-m", "opsdash", "serve", "--port", str(self.port), "--prefix", PREFIX]
        return [*program, "--allow-websocket-origin", self.origin]

    def _spawn(self, command: list[str], role: str = "self") -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        with self.log.open("ab") as log:
            return programs.Popen(
                programs.leashed(command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env={**os.environ, "PYTHONPATH": path, **self._variables},
                start_new_session=True,
            )

    def _answers(self) -> bool:
        return _listens(self.port)


class _Gatekeeper(BaseHTTPRequestHandler):
    """Answers as oauth2-proxy's ``/oauth2/auth`` does with ``set_xauthrequest``; a cookie says who is signed in."""

    def do_GET(self) -> None:
        if self.path.startswith("/oauth2/sign_in"):
            self._say(f"Sign in to go on to {self.headers.get('X-Auth-Request-Redirect')}")
            return
        who = SimpleCookie(self.headers.get("Cookie", "")).get("who")
        self.send_response(202 if who else 401)
        if who and who.value != "nameless":
            self.send_header("X-Auth-Request-User", "1234567890")
            self.send_header("X-Auth-Request-Email", who.value)
            self.send_header("X-Auth-Request-Groups", "sre")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _say(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Proxied:
    """nginx and what stands behind it."""

    nginx: Nginx
    consoles: tuple[ConsoleServer, ...]

    def ask(self, path: str, method: str = "GET", **options: Any) -> Answer:
        """One request through nginx, the prefix added."""
        return ask(self.nginx.port, f"{PREFIX}{path}", method, **options)


@contextlib.contextmanager
def proxied(redis_url: str, database_url: str, consoles: int) -> Iterator[Proxied]:
    """Consoles with one broker and one database behind nginx: maria and joe are operators, ``TOKEN`` is a program's."""
    variables = {
        "OPSDASH_REDIS_URL": redis_url,
        "OPSDASH_DATABASE_URL": database_url,
        "OPSDASH_AUTH": "header",
        "OPSDASH_SECRET_KEY": "a-key-for-tests-and-nothing-else",
        "OPSDASH_OPERATORS": "maria,joe",
        "OPSDASH_API_TOKENS": f"ci:operator:{TOKEN}",
        "OPSDASH_POLL_INTERVAL_S": "0.5",
    }
    with contextlib.ExitStack() as stack:
        made = tuple(ConsoleServer(stack.enter_context(folder()), variables) for _ in range(consoles))
        ports = [console.port for console in made]
        nginx = Nginx(stack.enter_context(folder()), ports, stack.enter_context(gatekeeper()))
        for server in (nginx, *made):
            stack.callback(server.kill)
        for console in made:
            console.origin = f"127.0.0.1:{nginx.port}"
            console.start()
        nginx.start()
        yield Proxied(nginx, made)


@contextlib.contextmanager
def gatekeeper() -> Iterator[int]:
    """Its port, until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gatekeeper) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """One request on a connection of its own; ``X_Name`` is the header ``X-Name``."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        got = connection.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
