"""Curves as a picture: SVG with logarithmic axes, that follows the reader's light or dark theme.

Written here, without a library: some lines and words are a few kB, where one that draws would be the largest package of
the project's development.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape

from .curves import Curve, number, unit

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 350, 34, 46
COLOURS = (("#0b62c4", "#6cb2ff"), ("#b3361b", "#ff8e75"), ("#1a7f37", "#5fd07f"), ("#8250df", "#c9a6ff"))
COLOURS += (("#9a6700", "#e8b84a"), ("#bf2d7d", "#ff87c3"), ("#0a7d8c", "#4fd6e6"), ("#6b4a2b", "#d3a57c"))
COLOURS += (("#24292f", "#ffffff"),)
"""Of the lines, for light and for dark; each line has a mark and a name of its own besides."""
DASHES = ("", "7 3", "3 3", "9 3 2 3", "4 2", "6 2 1 2", "12 4", "14 3 3 3", "2 2")
LINE_PX = 17


def picture(curve: Curve, measured_in: str = "ms") -> str:
    """One dimension's figures of one unit, and a dotted line for what grows as the size does."""
    series = {name: curve.of(name) for name in shown(curve) if unit(name) == measured_in}
    series = {name: {size: max(value, 1e-3) for size, value in of.items()} for name, of in series.items() if of}
    sizes = [size for of in series.values() for size in of]
    values = [value for of in series.values() for value in of.values()]
    across, up = (
        _Axis(min(sizes), max(sizes), LEFT, WIDTH - RIGHT),
        _Axis(min(values), max(values), HEIGHT - BOTTOM, TOP),
    )
    parts = [*_grid(across, up), *_as_the_size(across, up)]
    places = _apart({name: up(list(of.values())[-1]) for name, of in series.items()})
    for index, (name, of) in enumerate(series.items()):
        points = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in of.items())
        dash = f' stroke-dasharray="{DASHES[index % len(DASHES)]}"' if DASHES[index % len(DASHES)] else ""
        parts.append(f'<polyline class="c{index % len(COLOURS)}" points="{points}"{dash}/>')
        parts += [
            f'<circle class="d{index % len(COLOURS)}" cx="{across(size):.1f}" cy="{up(value):.1f}" r="3"/>'
            for size, value in of.items()
        ]
        label = f"{name.rpartition(', ')[0]}: {number(list(of.values())[-1])} {measured_in}"
        end, at = across(list(of)[-1]), up(list(of.values())[-1])
        parts.append(f'<path class="lead" d="M{end + 5:.1f} {at:.1f}L{WIDTH - RIGHT + 12} {places[name]:.1f}"/>')
        parts.append(_words(WIDTH - RIGHT + 16, places[name] + 4, label, f"d{index % len(COLOURS)}", "start"))
    parts.append(_words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, curve.name, "", "middle"))
    parts.append(_words(LEFT - 40, 18, measured_in, "", "start"))
    described = f"{curve.name}: {', '.join(series)} at {', '.join(f'{size:,}' for size in sorted(set(sizes)))}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(described)}">'
        f"<style>{_style()}</style><rect class='page' width='{WIDTH}' height='{HEIGHT}'/>{''.join(parts)}</svg>\n"
    )


def shown(curve: Curve) -> list[str]:
    """The figures that are drawn: of what was measured both ways, the processor's time in place of the clock's."""
    processors = {name.partition(",")[0] for name in curve.figures if "processor" in name and unit(name) == "ms"}
    pauses = {f"pause, {what}, ms" for what in ("the call", "the call, Redis's processor", "console's processor")}
    found = [name for name in curve.figures if name not in pauses]
    return [name for name in found if name.count(",") > 1 or name.partition(",")[0] not in processors]


class _Axis:
    """A logarithmic axis between two places."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high = low, max(high, low * 1.5)
        if first > last:  # upwards: some room on both ends
            self.low, self.high = self.low / 1.4, self.high * 1.4
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self._first + part * (self._last - self._first)

    @property
    def ticks(self) -> Iterable[float]:
        """Powers of ten, and where there are few of them also twice and five times those."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1.0,) if math.log10(self.high / self.low) > 2 else (1.0, 2.0, 5.0)
        found = (step * 10.0**power for power in range(first, last + 1) for step in steps)
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


def _grid(across: _Axis, up: _Axis) -> list[str]:
    parts = []
    for tick in across.ticks:
        x = across(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(_words(x, HEIGHT - BOTTOM + 17, f"{tick:,.0f}", "soft", "middle"))
    for tick in up.ticks:
        y = up(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_words(LEFT - 8, y + 4, f"{tick:,.12g}", "soft", "end"))
    return parts


def _as_the_size(across: _Axis, up: _Axis) -> list[str]:
    """A line of slope 1, from where it fits."""
    low = max(across.low, across.high * up.low / up.high * 1.3)
    foot = up.high / 1.3 * low / across.high
    ends = [(low, foot), (across.high, foot * across.high / low)]
    path = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in ends)
    x, y = across(math.sqrt(low * across.high)), up(math.sqrt(ends[0][1] * ends[1][1]))
    return [f'<path class="slope" d="M{path}"/>', _words(x - 8, y - 6, "as the size", "soft", "end")]


def _apart(places: Mapping[str, float]) -> dict[str, float]:
    """Heights at which words don't stand on one another, from the top; the lowest ones stay within the picture."""
    ordered = sorted(places.items(), key=lambda pair: pair[1])
    found: dict[str, float] = {}
    last = TOP - LINE_PX
    for name, y in ordered:
        last = found[name] = max(y, last + LINE_PX)
    over = max(0.0, last - (HEIGHT - BOTTOM))
    below = HEIGHT - BOTTOM + LINE_PX
    for name, _ in reversed(ordered):
        if over:
            below = found[name] = min(found[name], below - LINE_PX)
    return found


def _words(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _style() -> str:
    light = "".join(f".c{n}{{stroke:{one}}}.d{n}{{fill:{one}}}" for n, (one, _) in enumerate(COLOURS))
    dark = "".join(f".c{n}{{stroke:{one}}}.d{n}{{fill:{one}}}" for n, (_, one) in enumerate(COLOURS))
    return (
        "text{font:12px system-ui,sans-serif;fill:#1f2328}.soft{fill:#57606a}.page{fill:#fff}"
        "polyline{fill:none;stroke-width:2}path{fill:none}.grid{stroke:#d8dee4}.lead{stroke:#afb8c1}"
        f".slope{{stroke:#57606a;stroke-dasharray:1 5;stroke-width:1.5}}{light}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#a5b0bb}.page{fill:#0d1117}"
        f".grid{{stroke:#30363d}}.lead{{stroke:#57606a}}.slope{{stroke:#a5b0bb}}{dark}}}"
    )
