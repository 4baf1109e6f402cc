"""What a storm says at its end."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from chaos.storm.storm import Broken, Storm


def summary(storm: Storm, seed: int, took_s: float, end: str) -> dict[str, Any]:
    """What was done and found."""
    ledger = storm.acts.ledger
    settled = sorted(storm.settled_s)
    return {
        "seed": seed,
        "end": end,
        "minutes": round(took_s / 60, 1),
        "steps": len(storm.done),
        "acts": dict(sorted(storm.acts.counts.items())),
        "answers": dict(Counter(f"{one.answer} {one.kind}".strip() for one in storm.acts.requests.values())),
        "tasks": len(ledger.sent),
        "runs": sum(ledger.runs.values()),
        "loose": dict(Counter(ledger.loose.values())),
        "deleted": len(ledger.deleted),
        "console_lives": storm.world.console.lives,
        "checks": dict(storm.checks),
        "settled_s": {"median": round(settled[len(settled) // 2], 1), "most": round(settled[-1], 1)} if settled else {},
    }


def text(found: dict[str, Any]) -> str:
    """For people."""
    lines = [f"seed {found['seed']}: {found['end']}"]
    for name, value in found.items():
        if name not in ("seed", "end"):
            told = ", ".join(f"{key} {number}" for key, number in value.items()) if isinstance(value, dict) else value
            lines.append(f"  {name}: {told}")
    return "\n".join(lines)


def failure(storm: Storm, seed: int, broken: Broken) -> str:
    """The fault with everything that one needs to look into it."""
    last = storm.done[-1] if storm.done else {}
    lines = [f"seed {seed}, step {last.get('step', 0)}: {broken}"]
    for fault in broken.faults:
        lines += [f"  {fault.invariant}", f"    expected {fault.expected!r}", f"    found    {fault.found!r}"]
        lines += [f"    {fault.detail}"] if fault.detail else []
    lines += ["the last acts, and what came of them:"]
    lines += [f"  {json.dumps(step)}" for step in storm.done[-5:]]
    for name, tail in storm.world.log_tails().items():
        lines += [f"--- log of {name}", tail]
    return "\n".join(lines)
