"""How an app's messages lie in Redis, who says so, and where two of them disagree. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from opsdash.values import frozen

SETTING, APP, WORKERS, BROKER, ASSUMED = "setting", "app", "workers", "broker", "assumed"
"""Where a fact was learnt: an ``OPSDASH_`` variable, the Celery app, what workers report, kombu's own keys, kombu's
defaults."""

DECIDES = {
    "prefix": "OPSDASH_KEY_PREFIX",
    "separator": "OPSDASH_SEPARATOR",
    "priority_steps": "OPSDASH_PRIORITY_STEPS",
    "db": "OPSDASH_REDIS_URL",
}
"""Fact in which all have to agree before anything is written → the setting that says it."""
_NAMES = {"prefix": "key prefix", "separator": "separator", "priority_steps": "priority steps", "db": "database"}


@frozen(kw_only=True)
class Layout:
    """The names under which kombu's Redis transport keeps messages. The defaults are kombu's.

    Attributes:
        prefix: ``global_keyprefix``, before every key.
        separator: ``sep``: between a queue and its priority step, and between the parts of a binding.
        priority_steps: Step 0 is the list named like the queue.
        unacked: Hash of what workers hold; ``unacked_index``: sorted set of the same by time. Without the prefix.
        visibility_timeout_s: After so long, what a worker holds is delivered again.
        transport: kombu's name of the driver.
        db: Number of the database; None where nobody says.
        control_exchange: Of Celery's remote control; its mailboxes are bound to ``{control_exchange}.pidbox``.
        doubted: App, settings, workers and the mailboxes in Redis don't all go by this separator.
        sources: Field → where it was learnt; a field that is not there was assumed.
    """

    prefix: str = ""
    separator: str = "\x06\x16"
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    unacked: str = "unacked"
    unacked_index: str = "unacked_index"
    visibility_timeout_s: float = 3_600.0
    transport: str = "redis"
    db: int | None = None
    control_exchange: str = "celery"
    doubted: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)

    def source_of(self, fact: str) -> str:
        """Where this field was learnt."""
        return self.sources.get(fact, ASSUMED)

    @property
    def proven(self) -> bool:
        """The separator is known, not assumed: a binding that is written with it disturbs no worker."""
        return self.source_of("separator") != ASSUMED and not self.doubted

    def lists(self, queue: str) -> dict[int, str]:
        """Priority step → Redis list of one queue. Source: kombu's ``Channel._q_for_pri``."""
        return {
            step: f"{self.prefix}{queue}{self.separator}{step}" if step else f"{self.prefix}{queue}"
            for step in self.priority_steps
        }

    def binding(self, exchange: str) -> str:
        """Set of the queues that are bound to an exchange. Source: kombu's ``Channel.keyprefix_queue``."""
        return f"{self.prefix}_kombu.binding.{exchange}"


@frozen(kw_only=True)
class Claim:
    """What one of them says of the layout.

    Attributes:
        source: ``setting``, ``app``, ``workers`` or ``broker``.
        name: Who that is, for people; a worker's hostname. Empty where the source says it.
        facts: Field of `Layout` → its value; only what it knows.
    """

    source: str
    facts: Mapping[str, Any]
    name: str = ""


@frozen(kw_only=True)
class Disagreement:
    """One fact of the layout that two of them say otherwise.

    Attributes:
        fact: ``prefix``, ``separator``, ``priority_steps`` or ``db``.
        said: Value, as text → who says it. Text as Python writes it, so that control characters are seen.
        setting: The variable that decides.
    """

    fact: str
    said: Mapping[str, tuple[str, ...]]
    setting: str

    @property
    def message(self) -> str:
        """One sentence: what differs, who says what, and what decides."""
        values = "; ".join(f"{value} by {_some(who)}" for value, who in self.said.items())
        if self.fact == "db":
            return f"The database differs: {values}. {self.setting} must name the one that the app uses."
        # It was said by the setting already: then that may be what is wrong.
        by_setting = any(self.setting in who for who in self.said.values())
        decide = f"correct {self.setting}" if by_setting else f"say it by {self.setting}"
        verb = "differ" if _NAMES[self.fact].endswith("s") else "differs"
        return f"The {_NAMES[self.fact]} {verb}: {values}. Make them agree, or {decide}."


def resolve(claims: tuple[Claim, ...]) -> Layout:
    """The layout, each fact from the first who knows it."""
    facts: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for claim in claims:
        for fact, value in claim.facts.items():
            if fact not in facts:
                facts[fact], sources[fact] = value, claim.source
    return Layout(**facts, sources=sources)


def disagreements(claims: tuple[Claim, ...]) -> tuple[Disagreement, ...]:
    """Every fact that has to be one and is not."""
    found = []
    for fact, setting in DECIDES.items():
        by_value: dict[str, list[str]] = {}
        for claim in claims:
            if fact in claim.facts:
                by_value.setdefault(_text(fact, claim.facts[fact]), []).append(
                    claim.name or _who(claim.source, setting)
                )
        if len(by_value) > 1:
            frozen = {value: tuple(names) for value, names in by_value.items()}
            found.append(Disagreement(fact=fact, said=frozen, setting=setting))
    return tuple(found)


def _who(source: str, setting: str) -> str:
    return {SETTING: setting, APP: "the Celery app", BROKER: "the bindings in Redis"}.get(source, source)


def _text(fact: str, value: Any) -> str:
    if fact == "priority_steps":
        return ", ".join(map(str, sorted(value)))
    return repr(value)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
