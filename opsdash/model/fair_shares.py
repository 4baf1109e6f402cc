"""How workers share a number of slots. Standard library only: workers load this file."""

from __future__ import annotations

from collections.abc import Mapping


def fair_shares(most: int, needs: Mapping[str, int], turn: int = 0) -> dict[str, int]:
    """Whole slots for each worker: what it needs, or as much as any other that needs more.

    Args:
        needs: Worker → how many slots it could use now.
        turn: Where there are fewer slots than workers that need one, another number is for other workers.
    """
    wanting = sorted((name for name, need in needs.items() if need > 0), key=lambda name: (needs[name], name))
    shares = dict.fromkeys(needs, 0)
    if 0 < most < len(wanting):
        names = sorted(wanting)
        return shares | {names[(turn * most + n) % len(names)]: 1 for n in range(most)}
    left = max(0, most)
    for number, name in enumerate(wanting):
        shares[name] = min(needs[name], left // (len(wanting) - number))
        left -= shares[name]
    return shares
