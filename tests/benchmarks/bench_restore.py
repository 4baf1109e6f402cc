"""Restoring a cleared queue while many newer messages wait, and how long another client waits meanwhile."""

from __future__ import annotations

from bench_clear import fill
from stage import server
from stall import timed

from opsdash.config.settings import Settings
from opsdash.services.broker.client import connect
from opsdash.services.queues.read import Queues
from opsdash.services.queues.trash import Trash

# What one would write: the newer ones behind the cleared ones, and back, in one step. KEYS: queue and trash by turns.
ONE_SCRIPT = """
for i = 1, #KEYS, 2 do
  for _ = 1, redis.call('LLEN', KEYS[i]) do redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'RIGHT', 'LEFT') end
  if redis.call('EXISTS', KEYS[i + 1]) == 1 then
    redis.call('PERSIST', KEYS[i + 1])
    redis.call('RENAME', KEYS[i + 1], KEYS[i])
  end
end
"""


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds of each way, and the longest PING of another client while it ran."""
    cleared, newer, rounds = (200_000, 100_000, 2) if quick else (1_000_000, 100_000, 7)
    figures: dict[str, list[float]] = {}
    with server() as made:
        broker = connect(Settings.from_env({}, redis_url=made.url, queues=("celery",)))
        lists = broker.lists("celery")

        def one_script() -> None:
            keys = [key for step, source in lists.items() for key in (source, broker.keys.trash("one", str(step)))]
            broker.client.eval(ONE_SCRIPT, len(keys), *keys)

        ways = {"opsdash restore": lambda: Trash(broker).restore("one", by="bench"), "one script": one_script}
        for _ in range(rounds):
            for name, restore in ways.items():
                broker.client.flushall()
                fill(broker, cleared)
                Queues(broker).clear("celery", by="bench", keep_s=600, trash_id="one")
                fill(broker, newer)
                took = timed(restore, made.url)
                if Queues(broker).read(["celery"])[0].waiting != cleared + newer:
                    raise RuntimeError(f"{name} lost or doubled messages")
                figures.setdefault(f"{name}, {newer:,} newer", []).append(took.ms)
                figures.setdefault(f"{name}, longest stall", []).append(took.stall_ms)
        broker.client.close()
    pairs = {"stall of one script / opsdash": ("one script, longest stall", "opsdash restore, longest stall")}
    return figures, pairs, "ms"
