"""Every kind of address against a real server: a socket, TLS, options, and the app's own words for the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from support.cli import off_a_terminal
from support.services import Missing, Valkey, folder, free_port, provide
from support.tls import TlsServer, certificates

from opsdash.errors import Unavailable
from opsdash.operations import PauseProcessing
from opsdash.services.console import Console
from opsdash.services.doctor import diagnose

NUMBERS = count()
KOMBUS = "\x06\x16"
"""Where no worker tells the separator, nobody is asked until it is set."""
PASSWORD = "hunter2/#?@:%;tail"
ENCODED = "hunter2%2F%23%3F%40%3A%25%3Btail"


@pytest.fixture
def app_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.syspath_prepend(tmp_path)

    def write(url: Any, **conf: Any) -> str:
        name = f"address_app_{next(NUMBERS)}"
        lines = ["from celery import Celery", f"app = Celery('x', broker={url!r}, set_as_current=False)"]
        (tmp_path / f"{name}.py").write_text(
            "\n".join([*lines, *(f"app.conf.{key} = {value!r}" for key, value in conf.items())])
        )
        return f"{name}:app"

    return write


@pytest.fixture
def socket() -> Iterator[Path]:
    """A server on a socket and a port, with a password of signs."""
    with folder() as home:
        server = Valkey(home)
        server.start_with("--unixsocket", str(home / "s"))
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", PASSWORD)
        yield home / "s"
        server.kill()


def works(console: Console) -> None:
    """Both clients reach it."""
    assert console.snapshot().redis_error == ""
    with console.unmanaged.control() as (_control, connection):
        assert connection.default_channel.client.ping()
    assert console.run(PauseProcessing(reason="fire"), actor="maria", confirm="YES").affected == 1


def broker_findings(console: Console) -> list[tuple[str, str]]:
    return [(one.level.value, one.message) for one in diagnose(console) if one.check == "app's broker"]


@pytest.mark.long
@pytest.mark.parametrize("form", ["unix://:{}@{}?db=2", "redis+socket://:{}@{}?virtual_host=2"])
def test_a_socket_works_as_redis_py_and_as_celery_write_it(
    console_for: Callable[..., Console], socket: Path, app_with: Callable[..., str], form: str
):
    console = console_for(separator=KOMBUS, redis_url=form.format(ENCODED, socket))
    works(console)
    assert console.settings.redis_label == f"unix://{socket}?db=2"
    app = app_with(f"redis+socket://:{ENCODED}@{socket}?virtual_host=2")
    beside = console_for(separator=KOMBUS, redis_url=form.format(ENCODED, socket), celery_app=app)
    works(beside)
    assert [level for level, _said in broker_findings(beside)] == ["ok"]
    assert "layout" not in str([one for one in diagnose(beside) if one.level.value == "error"])


def test_options_that_celery_and_redis_py_know_do_not_stop_either(console_for: Callable[..., Console], valkey: Valkey):
    works(
        console_for(
            separator=KOMBUS, redis_url=f"{valkey.url}?health_check_interval=25&socket_keepalive=true&socket_timeout=60"
        )
    )


def test_the_password_in_an_address_is_told_nowhere(
    valkey: Valkey,
    socket: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    opsdash = off_a_terminal(monkeypatch, capsys)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", sqlite_url)
    for url in (
        f"redis://:{PASSWORD}@127.0.0.1:{valkey.port}/0",
        f"redis://:hunter2#tail@127.0.0.1:{valkey.port}/0",
        f"redis://:hunter2?tail@127.0.0.1:{valkey.port}/0",
        f"redis://:hunter2/tail@127.0.0.1:{valkey.port}/0",
    ):
        monkeypatch.setenv("OPSDASH_REDIS_URL", url)
        for command in (["status"], ["doctor"], ["demo"], ["pause-processing", "--confirm", "YES"]):
            done = opsdash(*command)
            assert done.code == 2
            assert not any(part in done.out + done.err + caplog.text for part in ("hunter2", "tail", "Traceback"))
            assert done.err.count("\n") == 1
    monkeypatch.setenv("OPSDASH_REDIS_URL", f"unix://:{ENCODED}-wrong@{socket}")
    for command in (["status"], ["doctor"], ["pause-processing", "--confirm", "YES"]):
        done = opsdash(*command)
        assert done.code == 2
        assert not any(part in done.out + done.err + caplog.text for part in ("hunter2", "tail", "Traceback"))


def test_brokers_that_celery_goes_over_to_are_named_by_the_doctor(
    console_for: Callable[..., Console], valkey: Valkey, app_with: Callable[..., str]
):
    app = app_with([valkey.url, f"redis://127.0.0.1:{free_port()}/0"])
    found = broker_findings(console_for(celery_app=app))
    assert ("warning", "The app names 2 brokers and uses the next when one fails; opsdash does not.") in found
    assert [level for level, _said in found] == ["warning", "ok"]


def tls_server(home: Path) -> TlsServer:
    server = TlsServer(home, certificates(home))
    try:
        server.start()
    except RuntimeError as error:
        raise Missing(f"a server built with TLS: {error}") from error
    return server


@pytest.fixture
def tls() -> Iterator[TlsServer]:
    with folder() as home:
        server = provide("tls", lambda: tls_server(home))
        yield server
        server.kill()


def test_tls_works_with_a_certificate_that_is_named_and_without_looking_at_it(
    console_for: Callable[..., Console], tls: TlsServer
):
    plain = tls.url.replace("rediss", "redis")
    for url in (
        f"{tls.url}?ssl_ca_certs={tls.certificates.authority}",
        f"{tls.url}?ssl_cert_reqs=CERT_NONE",
        f"{tls.url}?ssl_cert_reqs=none&ssl_check_hostname=false",
        f"{plain}?ssl_cert_reqs=none",
    ):
        works(console_for(separator=KOMBUS, redis_url=url))


def test_a_certificate_that_nobody_trusts_is_one_line_with_both_ways(
    console_for: Callable[..., Console], tls: TlsServer
):
    console = console_for(separator=KOMBUS, redis_url=tls.url)
    text = console.snapshot().redis_error
    assert "?ssl_ca_certs=FILE" in text
    assert "?ssl_cert_reqs=none" in text
    assert "\n" not in text
    with pytest.raises(Unavailable) as refused:
        console.run(PauseProcessing(), actor="maria", confirm="YES")
    assert refused.value.changed == "nothing"


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_an_apps_broker_use_ssl_counts_for_its_own_address(
    console_for: Callable[..., Console], tls: TlsServer, app_with: Callable[..., str], scheme: str
):
    url = tls.url.replace("rediss", scheme)
    app = app_with(
        url.replace("127.0.0.1", "localhost"),
        broker_use_ssl={"ssl_cert_reqs": "required", "ssl_ca_certs": str(tls.certificates.authority)},
    )
    console = console_for(separator=KOMBUS, redis_url=url, celery_app=app)
    works(console)
    assert [level for level, _said in broker_findings(console)] == ["ok"]
