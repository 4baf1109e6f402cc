"""Reading the health of two real workers."""

from __future__ import annotations

import time

from support import services
from support.sample_app import make_app
from support.workers import eventually, worker

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.workers.reports import Workers


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds per read."""
    rounds = 5 if quick else 30
    figures: dict[str, list[float]] = {"opsdash, pushed hashes": [], "inspect().stats()": []}
    with services.folder() as home:
        server = services.Valkey(home)
        server.start()
        broker = connect(Settings.from_env({}, redis_url=server.url))
        app = make_app(server.url)
        workers, environment = Workers(broker), {"OPSDASH_REDIS_URL": server.url}
        with worker(pool="prefork", env=environment), worker(pool="threads", env=environment):
            eventually(lambda: len(workers.read()) == 2, what="two workers report")
            ways = {"opsdash, pushed hashes": workers.read, "inspect().stats()": app.control.inspect().stats}
            for _ in range(rounds):
                for name, read in ways.items():
                    started = time.perf_counter()
                    found = read()
                    figures[name].append((time.perf_counter() - started) * 1_000)
                    if len(found or ()) != 2:
                        raise RuntimeError(f"{name} found {len(found or ())} of 2 workers")
        broker.client.close()
        app.close()
        server.kill()
    return figures, {"inspect / opsdash": ("inspect().stats()", "opsdash, pushed hashes")}, "ms"
