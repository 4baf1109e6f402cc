"""A crowd that looks keeps nobody from acting: asserted by what comes before what, not by the clock.

What the crowd asks for is held until the test lets go of it: what ends before that has not waited for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.cli import Result, off_a_terminal
from support.served import Answer, Client, serving
from support.services import until

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.passwords import Users
from opsdash.config.settings import Settings
from opsdash.model import Actor, Role
from opsdash.services.audit import query as audit_reading
from opsdash.services.audit.query import Filter, Page
from opsdash.services.console import Console
from opsdash.services.queues.browse import Look
from opsdash.services.threads import ACTS, FIGURES, PREVIEWS, PROBES, READS, SEARCHES, SIGN_INS, Pool
from opsdash.views.components.panel_private import NoFileError
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.log_export import log_export
from opsdash.views.operations_log import RecentOperations
from opsdash.views.peek import Peek
from opsdash.views.session import Session
from opsdash.web.auth import login

VIEWERS = 10
TOKENS = {f"eve{number}": f"token-of-eve-{number:02d}-0123456789" for number in range(VIEWERS)}
NOTHING = Page(entries=(), after=None)
OPERATOR = "token-of-the-operator-0123456789"


class Gate:
    """What is held until the test lets go of it.

    Attributes:
        held: Calls that wait here.
    """

    def __init__(self) -> None:
        self.held, self._open = 0, threading.Event()

    def wait(self, *_: object, **__: object) -> None:
        self.held += 1
        assert self._open.wait(60)

    def before(self, answer: object) -> Callable[..., Any]:
        """A call that waits here, and then answers so."""
        return lambda *_args, **_more: self.wait() or answer

    def let_go(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.let_go()


@pytest.fixture
def console(settings_for: Callable[..., Settings]) -> Iterator[Console]:
    tokens = ",".join([f"maria:operator:{OPERATOR}", *(f"{name}:viewer:{token}" for name, token in TOKENS.items())])
    known = Settings.from_env({"OPSDASH_API_TOKENS": tokens}).api_tokens
    made = assemble(settings_for(queues=("celery",), api_tokens=known, poll_interval_s=60.0))
    yield made
    made.close()


@pytest.fixture
def api(console: Console) -> Iterator[Client]:
    with serving(console, token=OPERATOR) as client:
        yield client


@contextlib.contextmanager
def crowd(ask: Callable[[str], Answer], gate: Gate, each: int) -> Iterator[list[Future[Answer]]]:
    """Ten viewers ask so often each, all at once, and wait."""
    with ThreadPoolExecutor(VIEWERS * each) as asking:
        asked = [asking.submit(ask, token) for token in TOKENS.values() for _ in range(each)]
        try:
            yield asked
        finally:
            gate.let_go()


def test_ten_viewers_who_search_the_log_keep_nobody_from_pausing_over_the_api(
    console: Console, api: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_reading, "_search", gate.before(NOTHING))
    with crowd(lambda token: api.get("/api/v1/audit?text=nothing", token=token), gate, 6) as asked:
        assert until(lambda: gate.held == 1), "one is searched for at a time"
        assert api.run("pause_processing", query="?dry_run=1").status == 200
        assert api.run("pause_processing", confirm="YES").status == 200
        assert console.is_processing_paused()
        assert api.get("/readyz").status == 200
        assert (gate.held, sum(one.done() for one in asked)) == (1, 0), "nobody was let through meanwhile"


def test_viewers_whose_previews_hang_keep_nobody_from_pausing_nor_do_their_refused_acts(
    console: Console, api: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opsdash.ClearQueue, "preview", gate.wait)
    refused = Console._record_refusal
    monkeypatch.setattr(Console, "_record_refusal", lambda *args: (gate.wait(), refused(*args)))

    def ask(token: str) -> Answer:
        query = "?dry_run=1" if token in list(TOKENS.values())[:5] else ""
        return api.run("clear_queue", query=query, params={"queue": "celery"}, token=token)

    with crowd(ask, gate, 4) as asked:
        assert until(lambda: gate.held == 4)
        assert api.run("pause_processing", query="?dry_run=1").status == 200
        assert api.run("pause_processing", confirm="YES").status == 200
        assert console.is_processing_paused()
        assert (gate.held, sum(one.done() for one in asked)) == (4, 0)


def test_an_act_is_answered_although_a_snapshot_hangs(
    console: Console, api: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.poller, "_read", gate.wait)
    with crowd(lambda token: api.get("/api/v1/status", token=token), gate, 3) as asked:
        assert until(lambda: gate.held == 1)
        assert api.run("pause_processing", confirm="YES").status == 200
        assert console.is_processing_paused()
        assert (gate.held, sum(one.done() for one in asked)) == (1, 0)


def test_a_click_on_the_page_does_not_wait_for_what_others_read(
    console: Console, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_reading, "_search", gate.before(NOTHING))
    monkeypatch.setattr("opsdash.views.peek.browse", gate.before(Look(waiting=0)))
    monkeypatch.setattr(console.poller, "_read", gate.wait)

    async def pages() -> None:
        crowd = []
        for name in TOKENS:
            session, log, peek, _ = page(console, Actor(name=name, role=Role.VIEWER, surface="page"))
            session.location.text = "nothing"
            for _ in range(20):
                for asks in (log._read(), peek.look("celery"), session.refresh()):
                    crowd.append(asyncio.ensure_future(asks))
        session, _, _, said = page(console, Actor(name="maria", role=Role.OPERATOR, surface="page"))
        while gate.held < 1 + 4 + 1:
            await asyncio.sleep(0.01)
        await session.dialog.ask("pause_processing", {})
        session.dialog.pending.typed = "YES"
        confirmed = asyncio.ensure_future(session.dialog._confirm(None))
        while not said:
            await asyncio.sleep(0.01)
        assert console.is_processing_paused()
        assert gate.held == 1 + 4 + 1, "nobody was let through meanwhile"
        gate.let_go()
        await asyncio.gather(confirmed, *crowd)

    asyncio.run(pages())


def test_of_what_one_page_asks_again_and_again_only_the_first_and_the_newest_are_read(
    console: Console, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, wanted = type(console.audit).page, list[str]()

    def read(self: Any, chosen: Any, **more: Any) -> Any:
        wanted.append(chosen.user)
        gate.wait()
        return real(self, chosen, **more)

    monkeypatch.setattr(type(console.audit), "page", read)

    async def asked() -> None:
        session, log, _, _ = page(console, Actor(name="eve", role=Role.VIEWER, surface="page"))
        all_of_them = []
        for number in range(60):
            session.location.user = f"user {number}"
            all_of_them.append(asyncio.ensure_future(log._read()))
            await asyncio.sleep(0)
        while not wanted:
            await asyncio.sleep(0.01)
        gate.let_go()
        await asyncio.gather(*all_of_them)
        assert len(wanted) == 2
        assert wanted[-1] == "user 59"

    asyncio.run(asked())


def test_a_search_on_the_page_says_how_much_of_the_log_was_searched(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        console.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
    monkeypatch.setattr(audit_reading, "SEARCHED", 2)

    async def asked() -> None:
        session, log, _, _ = page(console, Actor(name="eve", role=Role.VIEWER, surface="page"))

        async def said(note: str) -> None:
            while log._table.note != note:
                await asyncio.sleep(0.01)

        session.location.text = "no such text"
        await asyncio.wait_for(said("Searched the newest 2 of 5 entries"), 20)
        await log._to_older(None)
        await asyncio.wait_for(said("Searched a further 2 of 5 entries"), 20)
        session.location.text = ""
        await asyncio.wait_for(said("1 to 5 of 5"), 20)

    asyncio.run(asked())


def test_the_command_line_pauses_while_the_server_is_searched(
    console: Console,
    api: Client,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(audit_reading, "_search", gate.before(NOTHING))
    settings = console.settings
    monkeypatch.setenv("OPSDASH_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("OPSDASH_SECRET_KEY", settings.secret_key or "")
    monkeypatch.setenv("OPSDASH_AUTH", "dev")
    with crowd(lambda token: api.get("/api/v1/audit?text=nothing", token=token), gate, 2) as asked:
        assert until(lambda: gate.held == 1)
        done: Result = off_a_terminal(monkeypatch, capsys)("pause-processing", "--confirm", "YES")
        assert done.code == 0, done.err
        assert console.is_processing_paused()
        assert sum(one.done() for one in asked) == 0


@pytest.mark.parametrize("busy", [(READS, SEARCHES, FIGURES, PREVIEWS, ACTS)], ids=["all but its own"])
def test_signing_in_and_being_ready_have_threads_of_their_own(
    console: Console, tmp_path: Path, gate: Gate, busy: tuple[Pool, ...]
) -> None:
    users = Users(tmp_path / "users")
    users.put("maria", "a password that is long enough")
    occupied = sum(pool._executor._max_workers for pool in busy)
    for pool in busy:
        for _ in range(pool._executor._max_workers):
            pool.start(gate.wait)
    assert until(lambda: gate.held == occupied)

    async def asked() -> None:
        desk = login.PasswordChecks(users, None, "")  # nobody gets a ticket here
        assert await desk.knows("maria", "a password that is long enough")
        assert await PROBES.run(lambda: "ready") == "ready"
        assert await SIGN_INS.run(lambda: "in") == "in"

    asyncio.run(asked())
    with serving(console) as client:
        assert client.get("/readyz").status == 200


def test_an_export_is_read_in_pieces_and_one_that_is_too_long_for_a_browser_says_so(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.views.log_export.PIECE", 2)
    for number in range(6):
        console.run(opsdash.ResumeProcessing(reason=f"number {number}"), actor="maria", confirm="YES")
    session, _, _, said = page(console, Actor(name="eve", role=Role.VIEWER, surface="page"))
    button = log_export(session, Filter)
    file = asyncio.run(button.callback())
    assert file.getvalue().count(b"number ") == 6
    assert said == []
    monkeypatch.setattr("opsdash.views.log_export.MOST_BYTES", 100)
    with pytest.raises(NoFileError):
        asyncio.run(button.callback())
    assert [text for text, _ in said] == [
        "The log is longer than the 0 MB that a browser gets. Filter it, or use opsdash audit --csv."
    ]


def test_what_waits_in_one_queue_is_never_shown_as_another_ones(console: Console) -> None:
    console.broker.client.rpush("celery", '{"headers": {"task": "of.celery", "id": "a"}}')
    _, _, peek, said = page(console, Actor(name="eve", role=Role.VIEWER, surface="page"))

    async def one_after_the_other() -> list[bool]:
        first = asyncio.ensure_future(peek.look("celery"))
        await asyncio.sleep(0)  # it reads, and the next is clicked on
        return list(await asyncio.gather(first, peek.look("gone")))

    assert asyncio.run(one_after_the_other()) == [False, False]
    assert len(said) == 1, "that there is no such queue"
    assert asyncio.run(peek.look("celery"))


def test_older_and_next_pressed_twice_before_they_are_read_go_one_page_on(console: Console) -> None:
    for number in range(6):
        console.run(opsdash.ResumeProcessing(reason=f"number {number}"), actor="maria", confirm="YES")
        console.broker.client.rpush("celery", *["{}"] * 10)
    session, _, peek, _ = page(console, Actor(name="eve", role=Role.VIEWER, surface="page"))
    log = RecentOperations(session=session, detailed=True, page_size=2)
    log.__panel__()
    assert asyncio.run(peek.look("celery"))

    async def twice(press: Callable[[object], Any]) -> None:
        await asyncio.gather(press(None), press(None))

    asyncio.run(twice(log._to_older))
    asyncio.run(twice(peek._go_on))
    assert log._table is not None
    assert log._table.note == "3 to 4 of 6"
    assert peek._starts == (1, 21)


def page(console: Console, actor: Actor) -> tuple[Session, Any, Any, list[tuple[str, str]]]:
    """A page of somebody's: its session, log and peek, and what it is told."""
    session, said = Session(console, actor), list[tuple[str, str]]()
    session.dialog = ConfirmationDialog(session)
    session.say = lambda text, tone, _undo=None: said.append((text, tone))  # type: ignore[method-assign]
    log, peek = RecentOperations(session=session, detailed=True), Peek(session=session)
    for view in (log, peek):
        view.__panel__()
    return session, log, peek, said
