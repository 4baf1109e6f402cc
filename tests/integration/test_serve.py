"""``opsdash serve``, as a service manager and a person at a terminal use it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from support import programs
from support.services import free_port

from opsdash.config.settings import Settings


@pytest.fixture
def serve(settings_for: Callable[..., Settings]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``opsdash serve ARGS``; kills what is left at the end."""
    settings = settings_for()
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "OPSDASH_REDIS_URL": settings.redis_url,
            "OPSDASH_DATABASE_URL": settings.database_url,
            "OPSDASH_AUTH": "dev",
            **variables,
        }
        # A shell that runs the tests in the background ignores SIGINT, and so would every child.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = programs.Popen(
            [sys.executable, "-m", "opsdash", "serve", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        signal.signal(signal.SIGINT, before)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    ready, _, _ = select.select([process.stdout], [], [], 30)
    return process.stdout.readline().strip() if ready else ""


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_the_page_is_and_ends_in_order(serve, signum: signal.Signals):
    port = free_port()
    process = serve("--port", str(port), "--prefix", "/ops")
    assert first_line(process) == f"http://127.0.0.1:{port}/ops/operations"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ops/healthz") as answer:
        assert answer.read() == b"ok"
    process.send_signal(signum)
    _, errors = process.communicate(timeout=20)
    lines = [line for line in errors.splitlines() if "audit head" not in line]  # that is for whoever keeps it elsewhere
    assert (process.returncode, lines) == (0, [])


@pytest.mark.long
def test_a_taken_port_is_one_line_and_exit_code_two(serve):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = serve("--port", str(taken.getsockname()[1]))
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.count("\n")) == (2, 1)
    assert "can't listen on 127.0.0.1" in errors


@pytest.mark.long
@pytest.mark.parametrize(
    ("args", "variables", "says"),
    [
        (["--address", "0.0.0.0"], {}, "OPSDASH_AUTH: dev serves this machine only"),
        (["--allow-websocket-origin", "*"], {}, "got '*'"),
        ([], {"OPSDASH_DATABASE_URL": "postgresql://db/x", "OPSDASH_AUTH": "header"}, "OPSDASH_SECRET_KEY: not set"),
        ([], {"OPSDASH_DATABASE_URL": "mysql://db/x"}, "OPSDASH_DATABASE_URL: opsdash can't use 'mysql'"),
    ],
)
def test_settings_that_are_not_safe_to_serve_are_one_line_and_exit_code_two(serve, args, variables, says: str):
    process = serve("--port", str(free_port()), *args, **variables)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.count("\n")) == (2, 1)
    assert says in errors


@pytest.mark.long
def test_what_it_logs_is_on_stderr(serve):
    process = serve("--port", str(free_port()), OPSDASH_NOTIFY_URLS="nosuchservice://planted-token")
    assert first_line(process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert "notifications: address 1 (nosuchservice://): apprise does not know it" in errors
    assert "planted-token" not in errors
