"""Which tasks are held: the holds as a worker asks them, once for each task while there are some."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from opsdash.keys import Keys
from opsdash.model.hold import READ, Hold, parsed
from opsdash.worker.tenant_of import tenant_of

MOST_NAMES = 10_000
"""Names of tasks whose holds are remembered: a sender can invent names."""
LATER_S = 3.0
"""A worker releases a hold that ended this long ago: consoles are there before, and write it down."""


@dataclass(frozen=True, slots=True)
class HoldRules:
    """The holds in force. Equal where they hold the same tasks.

    Attributes:
        error: Why they can't be read; nothing is held then.
        due: Ids of holds that are to be released, and that no console has released.
        strict: Some hold lets none of its tasks run; others are concurrency limits.
    """

    holds: tuple[Hold, ...] = ()
    error: str = ""
    due: tuple[str, ...] = field(default=(), compare=False)
    strict: bool = field(init=False, repr=False, compare=False, default=False)
    _exact: dict[str, list[Hold]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _globs: list[tuple[Any, Hold]] = field(init=False, repr=False, compare=False, default_factory=list)
    _tenants: dict[str, dict[str, Hold]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _known: dict[str, tuple[Hold, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "strict", any(hold.kind != "limit" for hold in self.holds))
        for hold in self.holds:
            if hold.kind == "limit":
                continue
            if hold.kind == "tenant":
                self._tenants.setdefault(hold.key, {})[hold.name] = hold
            elif set(hold.name) & set("*?["):
                self._globs.append((re.compile(translate(hold.name)).match, hold))
            else:
                self._exact.setdefault(hold.name, []).append(hold)

    def __bool__(self) -> bool:
        """Something is held."""
        return bool(self.holds)

    @property
    def ids(self) -> list[str]:
        """Of the holds in force."""
        return [hold.id for hold in self.holds]

    @property
    def limits(self) -> tuple[Hold, ...]:
        """The concurrency limits among them, the oldest first."""
        return tuple(hold for hold in self.holds if hold.kind == "limit")

    def of(self, request: Any, queue: str) -> tuple[str, ...]:
        """The ids of the holds that match a task, the oldest first; concurrency limits are none of them.

        Cost: a look into a dict; no round trip.

        While a tenant is held, also what `tenant_of` costs.
        """
        name = request.name
        found = self._known.get(name)
        if found is None:
            found = self._match(name)
        if self._tenants:
            found = self._with_tenants(found, request.message)
        if not found:
            return ()
        return tuple(hold.id for hold in found if not hold.queue or hold.queue == queue)

    def _with_tenants(self, found: tuple[Hold, ...], message: Any) -> tuple[Hold, ...]:
        held = [of[tenant] for key, of in self._tenants.items() if (tenant := tenant_of(message, key)) in of]
        return tuple(hold for hold in self.holds if hold in found or hold in held) if held else found

    def _match(self, name: str) -> tuple[Hold, ...]:
        meant = [*self._exact.get(name, ()), *(hold for matches, hold in self._globs if matches(name))]
        found = tuple(hold for hold in self.holds if hold in meant) if meant else ()
        if len(self._known) >= MOST_NAMES:
            self._known.clear()
        self._known[name] = found
        return found

    def __str__(self) -> str:
        """For the log."""
        return ", ".join(str(hold) for hold in self.holds if hold.kind != "limit") or "nothing"


NONE = HoldRules()


def ask(pipe: Any, keys: Keys) -> None:
    """Has the holds read on a pipeline; `answer` takes the reply."""
    pipe.eval(READ, 1, keys.hold)


def answer(reply: Any) -> HoldRules:
    """The reply to `ask`. A fault is no reason to run nothing, or to miss a pause: nothing is held then."""
    if isinstance(reply, Exception):
        return HoldRules(error=f"{type(reply).__name__}: {reply}")
    read = parsed(reply)
    return HoldRules(read.holds, due=_due(read.holds, read.now_s)) if read.holds else NONE


def _due(holds: Iterable[Hold], now_s: float) -> tuple[str, ...]:
    return tuple(hold.id for hold in holds if hold.is_over(now_s, since_s=LATER_S))
