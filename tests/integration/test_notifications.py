"""Notifications to real receivers: a mail server by apprise and a signed webhook, down and back; a console dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import programs
from support.blocks import ROOT, blocks
from support.cli import Result, off_a_terminal
from support.receivers import MailServer, Webhook, listening
from support.services import Valkey, free_port, until

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import NotificationFigures
from opsdash.operations import PauseProcessing, ResumeProcessing
from opsdash.services.background import Background
from opsdash.services.console import Console
from opsdash.services.notify import outbox

HMAC_KEY = "a-key-for-the-webhook"
TOKEN = "planted-token-of-the-path"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with listening(Webhook()) as receiver:
        yield receiver


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with listening(MailServer()) as receiver:
        yield receiver


@pytest.fixture
def background(console_for: Callable[..., Console]) -> Iterator[Callable[..., Console]]:
    """Makes consoles that do what a served console does all the time."""
    made: list[Background] = []

    def make(*urls: str, **settings: Any) -> Console:
        given = {"notify_urls": urls, "notify_hmac_key": HMAC_KEY, "poll_interval_s": 0.2, "environment": "test"}
        console = console_for(**given | settings)
        made.append(Background(console))
        made[-1].start()
        notifier = made[-1].notifier
        assert until(lambda: notifier._may_send and notifier._facts.number is not None)
        return console

    yield make
    for one in made:
        one.close()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    return off_a_terminal(monkeypatch, capsys)


def documented_check() -> Callable[[str, str, bytes, str], bool]:
    """How a receiver checks a signature, as the documentation says it."""
    (block,) = [one for one in blocks(ROOT / "docs" / "notifications.md") if one.said == "signature"]
    space: dict[str, Any] = {}
    exec(block.text, space)
    return space["is_ours"]


def figures(console: Console) -> NotificationFigures:
    return console.snapshot().notifications or NotificationFigures()


def pause(console: Console, user: str, reason: str = "") -> None:
    console.run(PauseProcessing(queue="celery", reason=reason), actor=user, confirm="YES")


def resume(console: Console, user: str) -> None:
    console.run(ResumeProcessing(queue="celery"), actor=user, confirm="YES")


def test_who_did_what_is_in_a_mail_and_in_a_signed_webhook(
    background: Callable[..., Console], webhook: Webhook, mail: MailServer
) -> None:
    console = background(webhook.url, mail.url)
    pause(console, "maria", reason="the provider is <b>down</b>")
    assert until(lambda: bool(webhook.got and mail.got))
    (posted,), (message,) = webhook.got, mail.got
    assert message.to == ["ops@shop.example"]
    assert message.subject == posted.json["title"] == "[test] maria: pause processing (celery): success"
    assert "Reason: the provider is <b>down</b>" in message.text
    assert message.html == "", "a name or a reason is no markup"
    assert posted.json["id"] in message.text
    assert (posted.json["kind"], posted.json["user"], posted.json["params"]) == ("acts", "maria", {})
    is_ours = documented_check()
    timestamp, signature = posted.headers["X-Opsdash-Timestamp"], posted.headers["X-Opsdash-Signature"]
    assert is_ours(HMAC_KEY, timestamp, posted.body, signature)
    assert not is_ours(HMAC_KEY, timestamp, posted.body + b" ", signature)
    assert not is_ours(HMAC_KEY, f"{timestamp}1", posted.body, signature)
    assert posted.headers["X-Opsdash-Id"] == posted.json["id"]


def test_receivers_that_were_down_get_each_message_once_and_in_order(
    background: Callable[..., Console], webhook: Webhook, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_RETRY_S", 0.2)
    monkeypatch.setattr(outbox, "LONGEST_RETRY_S", 0.4)
    console = background(webhook.url, mail.url)
    webhook.down()
    mail.down()
    for user in ("ann", "bob"):
        pause(console, user)
        resume(console, user)
    assert until(lambda: figures(console).waiting == 8)
    assert until(lambda: "refused" in figures(console).problem)
    webhook.up()
    mail.up()
    assert until(lambda: len(webhook.got) == 4 and len(mail.got) == 4)
    expected = [
        f"[test] {user}: {what} processing (celery): success" for user in ("ann", "bob") for what in ("pause", "resume")
    ]
    assert webhook.titles == expected
    assert [one.subject for one in mail.got] == expected
    assert until(lambda: figures(console).waiting == 0)


def test_an_operation_does_not_wait_for_a_receiver_that_hangs(
    background: Callable[..., Console], webhook: Webhook
) -> None:
    console = background(webhook.url)
    webhook.hold.clear()
    pause(console, "maria")
    assert until(lambda: bool(webhook.called))
    resume(console, "maria")
    assert webhook.got == []
    webhook.hold.set()
    assert until(lambda: len(webhook.got) == 2)


def test_an_outage_of_redis_and_its_end_are_messages(
    background: Callable[..., Console], webhook: Webhook, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.services.notify.observe.AWAY_S", 0.3)
    monkeypatch.setattr("opsdash.services.notify.notifier.AWAY_S", 0.3)
    background(webhook.url)
    valkey.stop()
    assert until(lambda: webhook.titles == ["[test] Redis does not answer"])
    valkey.start()
    assert until(lambda: webhook.titles == ["[test] Redis does not answer", "[test] Redis answers again"])


class Served:
    """Two consoles as processes of their own."""

    def __init__(self, settings: Settings, urls: str, folder: Path) -> None:
        self.settings, self.urls, self.folder = settings, urls, folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "OPSDASH_REDIS_URL": self.settings.redis_url,
            "OPSDASH_DATABASE_URL": self.settings.database_url,
            "OPSDASH_SECRET_KEY": str(self.settings.secret_key),
            "OPSDASH_AUTH": "dev",
            "OPSDASH_NOTIFY_URLS": self.urls,
            "OPSDASH_NOTIFY_HMAC_KEY": HMAC_KEY,
            "OPSDASH_POLL_INTERVAL_S": "0.2",
            "OPSDASH_API_TOKENS": "prometheus:viewer:0123456789abcdef",
        }

    def start(self) -> None:
        number = len(self.processes)
        self.ports.append(free_port())
        with (self.folder / f"{number}.log").open("wb") as log:
            command = [sys.executable, "-m", "opsdash", "serve", "--port", str(self.ports[-1])]
            self.processes.append(programs.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=self.environment))

    @property
    def logs(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def holder(self, console: Console) -> subprocess.Popen[bytes] | None:
        held = console.broker.client.get(console.broker.keys.notify_lease)
        return next((one for one in self.processes if held and f"/{one.pid}/" in held), None)

    def sends(self, console: Console) -> bool:
        """A console has the lease, and has looked."""
        return self.holder(console) is not None and console.broker.client.exists(console.broker.keys.notify) == 1

    def metrics(self, number: int) -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[number]}/metrics", headers={"Authorization": "Bearer 0123456789abcdef"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()


@pytest.fixture
def served(settings_for: Callable[..., Settings], webhook: Webhook, tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "logs"
    folder.mkdir()
    made = Served(settings_for(), webhook.url, folder)
    yield made
    webhook.hold.set()
    for process in made.processes:
        process.kill()
        process.wait()


@pytest.mark.long
def test_of_two_consoles_one_dies_and_each_message_comes_once_but_the_one_it_had_in_hand(
    served: Served, webhook: Webhook, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for()
    served.start()
    served.start()
    assert until(lambda: served.sends(console), timeout_s=40)
    for number in range(5):
        pause(console, f"user{number}")
    assert until(lambda: len(webhook.got) == 5, timeout_s=30)
    webhook.hold.clear()  # the next one is taken, and its sender does not learn that
    pause(console, "maria")
    resume(console, "maria")
    assert until(lambda: len(webhook.called) == 6, timeout_s=30)
    dying = served.holder(console)
    assert dying is not None
    dying.kill()
    dying.wait()
    webhook.hold.set()
    assert until(lambda: len(webhook.got) == 8, timeout_s=40)
    ids = Counter(one.json["id"] for one in webhook.got)
    assert len(ids) == 7
    repeated = [one.json for one in webhook.got if ids[one.json["id"]] == 2]
    assert [(one["user"], one["operation"], one["attempt"]) for one in repeated] == [
        ("maria", "pause_processing", 1),
        ("maria", "pause_processing", 2),
    ]
    assert webhook.got[-1].json["operation"] == "resume_processing"
    living = 1 - served.processes.index(dying)
    assert until(lambda: "opsdash_notifications_sent_total 7.0" in served.metrics(living), timeout_s=20)


@pytest.mark.long
def test_a_token_in_an_address_and_an_argument_are_nowhere(
    served: Served,
    webhook: Webhook,
    console_for: Callable[..., Console],
    cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served.urls = f"{webhook.url} slack://T1JJ3T3L2/A1BRTD4JD/plantedslacktokenplanted"
    served.urls += (
        f" mailto://user:planted-password@127.0.0.1:{free_port()}?smtp=127.0.0.1&from=a@b.example&to=c@d.example"
    )
    served.urls += " nosuchservice://planted-unknown"
    console = console_for()
    served.start()
    assert until(lambda: served.sends(console), timeout_s=40)
    webhook.status = 503
    pause(console, "maria", reason="password: planted-reason")
    assert until(lambda: bool(webhook.called), timeout_s=30)
    webhook.status = 204
    assert until(lambda: bool(webhook.got), timeout_s=30)
    assert until(lambda: "was not taken by mailto://127.0.0.1" in served.logs, timeout_s=12), served.logs
    for name, value in served.environment.items():
        if name.startswith("OPSDASH_"):
            monkeypatch.setenv(name, value)
    told = [cli(*command) for command in (["notify"], ["notify", "--json"], ["doctor"], ["doctor", "--json"])]
    told += [cli("status"), cli("status", "--json"), cli("audit", "--json")]
    everything = served.logs + served.metrics(0) + str(console.settings) + str(told)
    client = console.broker.client
    for key in client.keys("*"):
        everything += str({"hash": client.hgetall, "string": client.get}.get(client.type(key), str)(key))
    for planted in ("planted", "T1JJ3T3L2", "A1BRTD4JD", TOKEN):
        assert planted not in everything
    assert "address 4 (nosuchservice://): apprise does not know it" in everything
    assert "planted" not in "".join(one.json["body"] + one.json["title"] for one in webhook.got)


def test_the_test_says_of_each_address_whether_it_took_a_message(
    webhook: Webhook, mail: MailServer, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSDASH_NOTIFY_URLS", f"{webhook.url} {mail.url}")
    passed = cli("notify", "test")
    assert passed.code == 0
    assert "2 of 2 took it." in passed.out
    assert webhook.got[0].json["kind"] == "test"
    assert len(mail.got) == 1
    webhook.status = 403
    failed = cli("notify", "test", "--json")
    assert failed.code == 4
    answer = json.loads(failed.out)
    assert answer["taken"] == 1
    assert [(one["address"], one["taken"], one["reason"]) for one in answer["addresses"]] == [
        (f"webhook+http://127.0.0.1:{webhook.port}", False, "it answered 403"),
        (f"mailto://127.0.0.1:{mail.port}", True, ""),
    ]


def test_without_an_address_the_test_says_which_setting_is_missing(cli: Callable[..., Result]) -> None:
    answer = cli("notify", "test")
    assert answer.code == 2
    assert "OPSDASH_NOTIFY_URLS: not set" in answer.err


def test_the_doctor_says_what_is_wrong_with_an_address(
    console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opsdash.services.doctor import diagnose

    def said(*urls: str, **settings: Any) -> str:
        console = console_for(notify_urls=urls, **settings)
        found = [one for one in diagnose(console) if one.check == "notifications"]
        return "\n".join(f"{one.level}: {one.message} {one.todo}" for one in found)

    assert "ok: Not used" in said()
    assert "error: Address 1 (nosuch://): apprise does not know it" in said("nosuch://planted")
    assert "warning: The webhook is sent without a signature" in said("webhook+https://hook.example/planted")
    assert "warning: No console sends them just now" in said("webhook+https://hook.example/planted")
    assert "warning: No kind of notification and no operation: pausing." in said(
        "webhook+https://hook.example/planted", notify_kinds=("pausing",)
    )
    monkeypatch.setattr("opsdash.services.notify.targets.installed", lambda: False)
    monkeypatch.setattr("opsdash.services.doctor.notifications.installed", lambda: False)
    assert 'error: 1 of 1 addresses need apprise, which is not installed. Run: pip install "opsdash[notify]"' in said(
        "slack://planted/b/c"
    )


def test_the_heartbeat_is_called_while_a_console_sends(background: Callable[..., Console], webhook: Webhook) -> None:
    background(heartbeat_url=f"http://127.0.0.1:{webhook.port}/beat", heartbeat_s=10)
    assert until(lambda: webhook.called == ["/beat"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFY_URLS", "planted-token"),
        ("NOTIFY_URLS", "webhook+http://hook.example/planted-token"),
        ("NOTIFY_URLS", "webhook+https:///planted-token"),
        ("NOTIFY_HMAC_KEY", "planted"),
        ("HEARTBEAT_URL", "http://hook.example/planted-token"),
        ("HEARTBEAT_URL", "ftp://hook.example/planted-token"),
        ("AUDIT_PUSH", "syslog+tcp://planted-token"),
        ("AUDIT_PUSH", "gopher://hook.example/planted-token"),
        ("AUDIT_PUSH", "file://relative/planted-token"),
        ("AUDIT_PUSH", "file:///var/log/audit#planted-token"),
        ("AUDIT_PUSH", "https://user:planted-token@hook.example/"),
        ("NOTIFY_URLS", "webhook+https://user:planted-token@hook.example/"),
    ],
)
def test_a_wrong_address_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(Invalid) as raised:
        Settings.from_env({f"OPSDASH_{name}": value})
    assert str(raised.value).startswith(f"OPSDASH_{name}: ")
    assert "planted" not in str(raised.value)
