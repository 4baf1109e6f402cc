"""What the demo consists of: each part's command, what it waits for, and how one sees that it is ready."""

from __future__ import annotations

import http.client
import sys

import redis

from opsdash.demo import broker, ports
from opsdash.demo.child import Child, Part
from opsdash.demo.deployment import APP, QUEUES, Deployment
from opsdash.demo.ports import HOST
from opsdash.keys import Keys

WORKER_GRACE_S = 12.0
PAGE_GRACE_S = 10.0
"""It takes a second; on a machine with ten other things to do, four."""
WORKERS = {"worker-prefork": ("prefork", 2), "worker-threads": ("threads", 4)}
"""Name → pool and concurrency; the worker is called NAME@demo."""


def parts(demo: Deployment) -> list[Part]:
    """Every process of the demo, in the order of starting; they are stopped in the reverse order.

    The page takes longest (about 3 s of imports), so it starts at once and has one core for itself; the others follow
    each other on the second one. On more cores the page is still the last to be ready.
    """
    base = () if demo.external_url else ("broker",)
    workers = [_worker(demo, name, (*base, "database")) for name in WORKERS]
    return [
        *([] if demo.external_url else [_broker(demo)]),
        Part(
            name="database",
            label="database",
            command=lambda: _python("opsdash.demo.database"),
            ready=lambda child: f"SQLite, migrated; {' '.join(child.last_lines(1))}",
            once=True,
        ),
        *workers,
        _page(demo, base),
        Part(
            name="producer",
            label="producer",
            command=lambda: _python("opsdash.demo.producer"),
            ready=lambda child: f"feeds {' and '.join(QUEUES)}" if "producing" in child.log_text() else None,
            after=tuple(WORKERS),
        ),
    ]


def _python(module: str, *arguments: str) -> list[str]:
    # -P: a file in the data folder must not shadow a module.
    return [sys.executable, "-P", "-m", module, *arguments]


def _broker(demo: Deployment) -> Part:
    program = broker.find_program()

    def ready(_child: Child) -> str | None:
        try:
            return f"{broker.version(demo.client())} on {HOST}:{demo.broker_port}"
        except redis.RedisError:
            return None

    def again() -> str | None:
        if ports.is_free(demo.broker_port):
            return None
        taken, demo.broker_port = demo.broker_port, ports.free_port()
        return f"somebody took port {taken}; trying {demo.broker_port}"

    return Part(
        name="broker",
        label="broker",
        command=lambda: [str(program), "-"],
        config=lambda: broker.config(demo.broker_port, demo.password),
        ready=ready,
        again=again,
        keeps_going=False,  # the queues were in its memory: a new one would be another demo
    )


def _worker(demo: Deployment, name: str, after: tuple[str, ...]) -> Part:
    pool, concurrency = WORKERS[name]
    hostname = f"{name}@demo"
    key = Keys(demo.prefix).worker(hostname)

    def ready(child: Child) -> str | None:
        try:
            pushed = demo.client().hget(key, "time")
        except redis.RedisError:
            return None
        if pushed is None or float(str(pushed)) < child.started_at:  # of the one before it
            return None
        return f"{hostname}, pool {pool}, {concurrency} at a time"

    options = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]  # mingle: a second of waiting for nobody
    command = ["-A", APP, "worker", "--hostname", hostname, "--pool", pool, "--concurrency", str(concurrency)]
    return Part(
        name=name,
        label="worker",
        command=lambda: _python("celery", *command, "--queues", ",".join(QUEUES), *options),
        ready=ready,
        after=after,
        grace_s=WORKER_GRACE_S,
    )


def _page(demo: Deployment, after: tuple[str, ...]) -> Part:
    def ready(_child: Child) -> str | None:
        return f"serves on {HOST}:{demo.claim.port}" if _healthy(demo.claim.port) else None

    def again() -> str | None:
        if ports.is_free(demo.claim.port):
            return None
        taken = demo.claim.port
        demo.claim.move()
        return f"somebody took port {taken}; trying {demo.claim.port}"

    return Part(
        name="page",
        label="page",
        command=lambda: _python("opsdash.cli", "serve", "--port", str(demo.claim.port)),
        ready=ready,
        again=again,
        after=after,
        grace_s=PAGE_GRACE_S,
    )


def _healthy(port: int) -> bool:
    # http.client and not urllib: a proxy in the environment is not for this.
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
