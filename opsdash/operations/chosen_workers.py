"""Which workers are meant, and what they have answered: what the operations on workers' pools share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opsdash.errors import Invalid, Refused, Uncertain
from opsdash.model import Effect, Figure, Line
from opsdash.model.preview import Kind
from opsdash.operation import argument
from opsdash.services.workers.pools import ALL, Chosen
from opsdash.services.workers.remote_control import Answers
from opsdash.text import count

MOST_NAMES = 20_000
"""Characters of workers' names: some hundred."""
MOST_LINES = 8
"""Workers that a preview has a line for; it counts the others."""
MOST_LISTED = 5
MOST_SLOTS = 1_000
"""Processes, threads or green threads of one worker: more is a slip of the finger."""


@dataclass(frozen=True, kw_only=True)
class ChosenWorkers:
    """One worker, several or all, by name; for an operation to derive from, before ``Operation``."""

    hostname: str = argument(
        default="",
        positional=True,
        several=True,
        longest=MOST_NAMES,
        help="The worker, as opsdash workers names it; or several, or all.",
        label="Worker",
        placeholder="For example celery@host, or all",
    )

    @property
    def target(self) -> str:
        """``celery@host``, ``3 workers``, ``all workers``."""
        names = self.hostname.split()
        if names == [ALL]:
            return "all workers"
        return names[0] if len(names) == 1 else count(len(names), "worker") if names else ""


def whole_number(text: str) -> int:
    """A number without sign or fraction.

    Raises:
        ValueError: It is none.
    """
    typed = text.strip().replace(",", "")
    if not (0 < len(typed) <= 9 and typed.isascii() and typed.isdigit()):
        raise ValueError(f"{text[:20]!r} is not a whole number")
    return int(typed)


def checked_slots(number: int | None, field: str) -> int:
    """How many slots a pool is to have.

    Raises:
        Invalid: None was said, or one that can't be meant.
    """
    if number is None or not 1 <= number <= MOST_SLOTS:
        got = "" if number is None else f", got {number:,}"
        raise Invalid(f"expected a number from 1 to {MOST_SLOTS:,}{got}.", field=field)
    return number


def checked_bounds(most: int | None, least: int | None) -> tuple[int, int]:
    """The most and the least slots of an autoscaler.

    Raises:
        Invalid: As ``checked_slots``, or they are the wrong way round.
    """
    bounds = checked_slots(most, "most"), checked_slots(least, "least")
    if bounds[0] < bounds[1]:
        raise Invalid(f"expected at most {most:,}, the most slots; got {least:,}.", field="least")
    return bounds


def same(values: Iterable[Any]) -> Any:
    """What all of them are; None where they differ, or there are none."""
    found = list(values)
    return found[0] if found and all(value == found[0] for value in found) else None


def shown(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - MOST_LISTED:,} more" if len(listed) > MOST_LISTED else ""
    return ", ".join(listed[:MOST_LISTED]) + more


def lines(kind: Kind, texts: Iterable[str]) -> list[Line]:
    """One for each of a few workers; of more the first, and how many more there are."""
    found = list(texts)
    more = [Line("note", f"And {len(found) - MOST_LINES:,} more workers.")] if len(found) > MOST_LINES else []
    return [*(Line(kind, text) for text in found[:MOST_LINES]), *more]


def left_out(chosen: Chosen, unable: Mapping[str, str]) -> list[Line]:
    """Workers that will not do it, each with the reason, and those that do not answer."""
    found = lines("will_not", (f"{host}: {why}." for host, why in unable.items()))
    if chosen.silent:
        found.append(Line("warning", f"No answer from {shown(chosen.silent)}: no command is sent there."))
    return found


def figures(chosen: Chosen, unable: Mapping[str, str]) -> tuple[Figure, ...]:
    """How many do it, how many can't, how many are silent, and how many tasks run in those that do it."""
    doing = replace(chosen, pools=tuple(pool for pool in chosen.pools if pool.hostname not in unable))
    return (
        Figure(name="workers", label="will do it", value=len(doing.pools), unit="workers"),
        Figure(name="unable", label="can't", value=len(unable), unit="workers"),
        Figure(name="silent", label="without an answer", value=len(chosen.silent), unit="workers"),
        Figure(name="active", label="running", value=doing.active, unit="tasks"),
    )


def able(chosen: Chosen, unable: Mapping[str, str]) -> tuple[str, ...]:
    """Names of those that can do it.

    Raises:
        Refused: None can.
    """
    if hosts := tuple(host for host in chosen.hosts if host not in unable):
        return hosts
    (first, why), *more = unable.items()
    others = f" Nor can {shown(host for host, _ in more)}." if more else ""
    raise Refused(f"{first}: {why}.{others}", field="hostname")


def effect(answers: Answers, chosen: Chosen, unable: Mapping[str, str], done: Mapping[str, str], **more: Any) -> Effect:
    """What workers have answered, counted: done, refused in their own words, silent.

    Args:
        done: Hostname → what that worker does now, e.g. ``4 → 8 slots``.
        more: Further fields of the effect.

    Raises:
        Refused: All have refused. Uncertain: Nobody has answered.
    """
    if not done and answers.silent and not answers.failed:
        raise Uncertain(f"{shown(answers.silent)} did not answer the command, and may still do it.")
    if not done and not answers.silent:
        raise Refused(" ".join(_refusals(answers)), field="hostname")
    alike: dict[str, list[str]] = {}
    for host, what in done.items():
        alike.setdefault(what, []).append(host)
    parts = [f"{shown(hosts)}: {what}." for what, hosts in list(alike.items())[:MOST_LINES]]
    parts += [*_refusals(answers), *(f"{host}: {why}." for host, why in list(unable.items())[:MOST_LISTED])]
    if answers.silent:
        parts.append(f"No answer from {shown(answers.silent)}: they may still do it.")
    if chosen.silent:
        parts.append(f"No command sent to {shown(chosen.silent)}: no answer.")
    details = {
        "confirmed": answers.confirmed,
        "failed": answers.failed,
        "unable": dict(unable),
        "silent": answers.silent,
        "untold": chosen.silent,
        **more.pop("details", {}),
    }
    ok = not answers.failed and not answers.silent
    return Effect(affected=len(done), message=" ".join(parts), details=details, ok=ok, **more)


def _refusals(answers: Answers) -> list[str]:
    return [f"{host} refused: {why.removesuffix('.')}." for host, why in list(answers.failed.items())[:MOST_LISTED]]
