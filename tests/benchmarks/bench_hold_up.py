"""An operator's pause while ten viewers ask for all they can: from the click, the request and the command to the flag.

Each viewer sends 200 refreshes a second over the page's websocket, and keeps 60 searches of the audit log under
way over the API. The log has 200,000 entries in PostgreSQL; then, its address is a socket that never answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
import sqlalchemy as sa
from bench_audit import MANY
from stage import server
from support import services
from support.pages import Answer, payload_of
from support.served import Client
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from opsdash.keys import Keys
from opsdash.services.database import migrations

VIEWERS, REFRESHES, SEARCHES, ENTRIES = 10, 200, 60, 200_000
SECRET = "a-key-for-benchmarks-and-nothing-else"
EVES = {f"eve{number}": f"token-of-eve-{number:02d}-of-the-benchmark" for number in range(VIEWERS)}
OPERATOR = "token-of-the-operator-of-the-benchmark"
REST_S = 0.5
LONG_S = 60.0


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds until the flag is there, and until the API has answered."""
    figures: dict[str, list[float]] = {}
    rounds = 3 if quick else 20
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(server())
        data = services.Postgres(stack.enter_context(services.folder()))
        data.start()
        stack.callback(data.kill)
        url = data.create()
        fill(url)
        rounds_of(figures, "idle", broker.url, url, rounds, crowd=False)
        rounds_of(figures, "ten viewers", broker.url, url, rounds, crowd=True)
        with black_hole() as silent:
            rounds_of(figures, "ten viewers, silent database", broker.url, silent, rounds, crowd=True)
    pairs = {f"{way}: ten viewers / idle": (f"{way} to flag, ten viewers", f"{way} to flag, idle") for way in WAYS}
    return figures, pairs, "ms"


def fill(url: str) -> None:
    """A log that takes long to search."""
    migrations.upgrade(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(MANY), {"number": ENTRIES})
        connection.execute(sa.text("ANALYZE audit_log"))
    engine.dispose()


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        yield f"postgresql+psycopg2://postgres:pw@127.0.0.1:{listening.getsockname()[1]}/opsdash"


def rounds_of(
    figures: dict[str, list[float]], name: str, redis_url: str, database: str, rounds: int, *, crowd: bool
) -> None:
    """So many pauses each way, on a console of its own."""
    port = services.free_port()
    console = serve(redis_url, database, port)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    flood = context.Process(target=ask_all, args=(port, theirs), daemon=True)
    if crowd:
        flood.start()
        ours.recv()  # everybody is at it
        time.sleep(2)
    try:
        with redis.Redis.from_url(redis_url) as store, operating(port) as page:
            for _ in range(rounds):
                for way, act in WAYS.items():
                    api = Client(port, "", OPERATOR)
                    to_flag, whole, loaded = timed(store, lambda act=act, api=api: act(api, page, redis_url, database))
                    figures.setdefault(f"{way} to flag, {name}", []).append(to_flag)
                    figures.setdefault(f"{way} to its answer, {name}", []).append(whole)
                    if loaded is not None:
                        figures.setdefault(f"{way}, once loaded, to flag, {name}", []).append(loaded)
                    time.sleep(REST_S)
        if crowd and not flood.is_alive():
            raise RuntimeError("the viewers have given up")
    finally:
        if flood.pid is not None:
            flood.kill()
            flood.join()
        console.kill()
        console.wait()


def timed(store: redis.Redis, act: Callable[[], float | None]) -> tuple[float, float, float | None]:
    """Milliseconds until the flag is there, until ``act`` returns, and to the flag from the moment that it returns."""
    store.delete(Keys().pause())
    began, seen = time.perf_counter(), list[float]()

    def watch() -> None:
        while not store.exists(Keys().pause()):
            if time.perf_counter() - began > LONG_S:
                return
            time.sleep(0.001)
        seen.append(time.perf_counter())

    watching = threading.Thread(target=watch)
    watching.start()
    ready = act()
    ended = time.perf_counter()
    watching.join()
    flag = seen[0] if seen else began + LONG_S
    return (flag - began) * 1_000, (ended - began) * 1_000, None if ready is None else (flag - ready) * 1_000


def by_api(api: Client, _page: Page, _redis: str, _database: str) -> float | None:
    """A request of the operator's."""
    answer = api.run("pause_processing", confirm="YES")
    if answer.status != 200:
        raise RuntimeError(answer.text)
    return None


def by_page(_api: Client, page: Page, _redis: str, _database: str) -> float | None:
    """A click, the dialog, ``YES`` and another click, as fast as they can follow."""
    page.wait(page.pause())
    return None


LOADED = """
import sys, time
import opsdash.cli.operations, opsdash.operations, opsdash.services.console
from opsdash.cli import main
print(time.perf_counter(), flush=True)  # of the machine, not of the process
sys.argv[1:] = ["pause-processing", "--confirm", "YES"]
main()
"""


def by_cli(_api: Client, _page: Page, redis_url: str, database: str) -> float | None:
    """A command; the moment when its process had loaded what it needs."""
    env = environment(redis_url, database)
    typed = [sys.executable, "-c", LOADED]
    done = subprocess.run(typed, env=env, capture_output=True, text=True, check=False, timeout=LONG_S)
    return float(done.stdout.partition("\n")[0])


WAYS = {"API": by_api, "page": by_page, "CLI": by_cli}


def serve(redis_url: str, database: str, port: int) -> subprocess.Popen[bytes]:
    """The console, as it is served; it listens."""
    tokens = ",".join([f"maria:operator:{OPERATOR}", *(f"{name}:viewer:{token}" for name, token in EVES.items())])
    env = {
        **environment(redis_url, database),
        "OPSDASH_AUTH": "header",
        "OPSDASH_OPERATORS": "maria",
        "OPSDASH_VIEWERS": ",".join(EVES),
        "OPSDASH_API_TOKENS": tokens,
    }
    console = subprocess.Popen(
        [sys.executable, "-m", "opsdash", "serve", "--port", str(port)], env=env, stdout=subprocess.DEVNULL
    )
    if not services.until(lambda: listens(port), timeout_s=LONG_S):
        raise RuntimeError("the console did not start")
    return console


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def environment(redis_url: str, database: str) -> dict[str, str]:
    """The settings of the deployment."""
    settings = {"OPSDASH_REDIS_URL": redis_url, "OPSDASH_DATABASE_URL": database, "OPSDASH_SECRET_KEY": SECRET}
    return {**os.environ, **settings}


def ask_all(port: int, told: Any) -> None:
    """The viewers' process."""
    asyncio.run(_ask_all(port, told))


async def _ask_all(port: int, told: Any) -> None:
    AsyncHTTPClient.configure(None, max_clients=VIEWERS * SEARCHES)
    client = AsyncHTTPClient()
    pages = [await Page.opened(port, name) for name in EVES]
    asking = [asyncio.ensure_future(refresh(page)) for page in pages]
    asking += [asyncio.ensure_future(search(client, port, token)) for token in EVES.values() for _ in range(SEARCHES)]
    told.send("begun")
    await asyncio.gather(*asking)


async def refresh(page: Page) -> None:
    """200 at once, and as many again every second."""

    async def hear() -> None:
        while True:
            await page.heard("ready")

    hearing = asyncio.ensure_future(hear())
    while not hearing.done():
        for _ in range(REFRESHES):
            await page.say(type="refresh")
        await asyncio.sleep(1)
    await hearing


async def search(client: AsyncHTTPClient, port: int, token: str) -> None:
    """For what is nowhere, again and again."""
    request = HTTPRequest(
        f"http://127.0.0.1:{port}/api/v1/audit?text=nowhere",
        headers={"Authorization": f"Bearer {token}"},
        connect_timeout=LONG_S,
        request_timeout=10 * LONG_S,
    )
    while True:
        answer = await client.fetch(request, raise_error=False)
        if answer.code not in {200, 503}:
            raise RuntimeError(f"{answer.code} {answer.error}")


class Page:
    """A browser's half of a page, as far as its websocket goes."""

    def __init__(self, connection: Any, board: str, loop: asyncio.AbstractEventLoop) -> None:
        self._connection, self._board, self._loop = connection, board, loop

    @classmethod
    async def opened(cls, port: int, user: str) -> Page:
        """The page of ``user``, whose proxy is on this machine."""
        headers = {"X-Auth-Request-User": user}
        client = AsyncHTTPClient(force_instance=True)
        got = await client.fetch(f"http://127.0.0.1:{port}/operations", headers=headers, request_timeout=LONG_S)
        token = Answer(got.code, {}, got.body.decode()).token
        payload_of(token)  # it is one
        address = HTTPRequest(
            f"ws://127.0.0.1:{port}/operations/ws", headers={**headers, "Origin": f"http://127.0.0.1:{port}"}
        )
        connection = await websocket_connect(address, subprotocols=["bokeh", token], max_message_size=2**26)
        await connection.read_message()
        made = cls(connection, "", asyncio.get_running_loop())
        await made._send("PULL-DOC-REQ", {})
        while not (found := re.search(r'"name":"panel[\w.]*ESM","id":"(\w+)"', await made._next())):
            pass
        made._board = found[1]
        return made

    async def say(self, **message: Any) -> None:
        """What the page's script would send."""
        values = [["model", {"id": self._board}], ["data", _map(message)]]
        event = {"type": "event", "name": "data_event", "values": {"type": "map", "entries": values}}
        sent = {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}
        await self._send("PATCH-DOC", {"events": [sent]})

    async def heard(self, kind: str) -> str:
        """The next message of that kind, and what came with it."""
        while f'["type","{kind}"]' not in (text := (await self._next()).replace(" ", "")):
            pass
        return text

    async def pause(self) -> None:
        """As an operator does it."""
        await self.say(type="ask", name="pause_processing", args={})
        dialog = re.search(r'\["id","(\w+)"\]', await self.heard("dialog"))
        if dialog is None:
            raise RuntimeError("no dialog")
        await self.say(type="typed", id=dialog[1], text="YES", phrase="")
        await self.say(type="confirm", id=dialog[1], values={})
        await self.heard("say")

    def wait(self, what: Any) -> None:
        """Until it has been done."""
        self._loop.run_until_complete(asyncio.wait_for(what, LONG_S))

    async def _send(self, kind: str, content: Any) -> None:
        for part in ({"msgid": "1", "msgtype": kind}, {}, content):
            await self._connection.write_message(json.dumps(part))

    async def _next(self) -> str:
        text = await self._connection.read_message()
        if text is None:
            raise RuntimeError("the server has hung up")
        return text if isinstance(text, str) else ""


def _map(values: dict[str, Any]) -> dict[str, Any]:
    entries = [[name, _map(value) if isinstance(value, dict) else value] for name, value in values.items()]
    return {"type": "map", "entries": entries}


@contextlib.contextmanager
def operating(port: int) -> Iterator[Page]:
    """The operator's page."""
    loop = asyncio.new_event_loop()
    try:
        yield loop.run_until_complete(asyncio.wait_for(Page.opened(port, "maria"), LONG_S))
    finally:
        loop.close()
