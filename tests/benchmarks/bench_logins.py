"""Signing in while a hundred others guess: how long one genuine user waits, with the real cost of a password's hash."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import urlencode

from support import services
from support.pages import PageServer

from opsdash.bootstrap import assemble
from opsdash.config.passwords import Users
from opsdash.config.settings import Settings
from opsdash.services.database import migrations

CROWD = 100
PASSWORD = "correct horse battery"


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str | dict[str, str]]:
    """Seconds from sending name and password to the answer. Each round has addresses that nobody has failed from."""
    figures: dict[str, list[float]] = {}
    with services.folder() as home:
        database = f"sqlite:///{home / 'bench.sqlite3'}"
        migrations.upgrade(database)
        users = Users(home / "users")
        users.put("maria", PASSWORD)
        given = {"auth": "basic", "users_file": str(users.path), "operators": ("maria",), "secret_key": "k" * 32}
        console = assemble(Settings.from_env({}, redis_url="redis://127.0.0.1:1/0", database_url=database, **given))
        server = PageServer(console)
        try:
            for number in range(2 if quick else 7):
                alone = f"10.{number}.255.1"
                figures.setdefault("alone", []).append(signed_in(server, alone))
                for addresses in (100, 10, 1):
                    name = f"beside {CROWD} guesses from {addresses} addresses"
                    fresh = f"10.{number}.254.{addresses}"
                    figures.setdefault(name, []).append(beside(server, fresh, f"10.{number}.{addresses}", addresses))
                name = f"beside {CROWD} guesses from 100 addresses, at an address known"
                figures.setdefault(name, []).append(beside(server, alone, f"10.{number}.200", 100))
        finally:
            server.stop()
            console.close()
    crowd = f"beside {CROWD} guesses from 100 addresses"
    return figures, {"beside a crowd / alone": (crowd, "alone")}, "s"


def beside(server: PageServer, mine: str, theirs: str, addresses: int) -> float:
    """The genuine sign-in is sent when every guess is."""
    ready = Barrier(CROWD + 1)

    def guess(number: int) -> int:
        ready.wait()
        try:
            return ask(server, f"{theirs}.{number % addresses}", "a wrong guess")
        except TimeoutError:  # on a busy machine it stands in line for long: so it should
            return 503

    with ThreadPoolExecutor(CROWD) as crowd:
        guesses = [crowd.submit(guess, number) for number in range(CROWD)]
        ready.wait()
        time.sleep(0.2)  # so that they stand in line before it
        took_s = signed_in(server, mine)
        if {one.result() for one in guesses} - {403, 429, 503}:
            raise RuntimeError("a guess was let in")
    return took_s


def signed_in(server: PageServer, client: str) -> float:
    started = time.perf_counter()
    if ask(server, client, PASSWORD) != 303:
        raise RuntimeError("the genuine user was not let in")
    return time.perf_counter() - started


def ask(server: PageServer, client: str, password: str) -> int:
    body = urlencode({"username": "maria", "password": password})
    sent = {"X_Forwarded_For": client, "X_Forwarded_Proto": "https", "Origin": server.origin}
    return server.ask("/login", "POST", body, Content_Type="application/x-www-form-urlencoded", **sent).status
