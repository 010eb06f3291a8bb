"""What other numbers would have come to: three small curves for each threshold swept, and the same as a table."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from detectors.backtest.outcome import Outcome, Trial
from detectors.backtest.report.markup import Column, cell, element, empty, note, row, section, table
from detectors.backtest.report.scales import percent
from detectors.presentation import UNITS, number, short, threshold_of
from detectors.rules import BY_ID

_TOP, _HEIGHT, _BOTTOM = 24, 84, 22
_EDGE = 0.07
_LOG_FROM = 8
_ALL_NAMED = 8
_NAME_GAP = 0.13

_CURVES: tuple[tuple[str, Callable[[Trial], int]], ...] = (
    ("Findings", lambda trial: trial.findings),
    ("Episodes", lambda trial: trial.episodes),
    ("Resources", lambda trial: trial.resources),
)
_COLUMNS = (Column("Threshold at", is_number=True), *(Column(name, is_number=True) for name, _ in _CURVES))


def sweeps(outcome: Outcome) -> Element:
    """The section of sweeps."""
    if not outcome.trials:
        return section("sweep", "Other thresholds", empty("No sweep: no other numbers were tried."))
    groups = groupby(outcome.trials, key=lambda trial: (trial.rule_id, trial.threshold))
    return section(
        "sweep",
        "Other thresholds",
        note("What each number would have come to on the same records, all else as it is in force."),
        *(_sweep(rule_id, name, list(trials)) for (rule_id, name), trials in groups),
    )


def _sweep(rule_id: str, name: str, trials: Sequence[Trial]) -> Element:
    unit = UNITS[threshold_of(rule_id, name).measure]
    title = f"{BY_ID[rule_id].name}: {name}, {unit}"
    overrules = "Tried for every resource, also for those that have a number of their own in force."
    figures = [_figure(curve, unit, trials, [value(trial) for trial in trials]) for curve, value in _CURVES]
    rows = (
        row(
            _COLUMNS,
            [
                cell(_in_force() if trial.in_force else None, f" {number(trial.value)} {unit}"),
                *(cell(number(value(trial))) for _, value in _CURVES),
            ],
            class_="in-force" if trial.in_force else None,
        )
        for trial in trials
    )
    return element(
        "div",
        element("h3", title),
        note(overrules) if any(trial.overrules for trial in trials) else None,
        element("div", *figures, class_="curves"),
        table(f"Findings, episodes and resources by {name}", _COLUMNS, rows),
        class_="slim",
    )


def _in_force() -> Element:
    return element("span", "in force", class_="tag")


def _figure(curve: str, unit: str, trials: Sequence[Trial], values: Sequence[int]) -> Element:
    places = _places([trial.value for trial in trials])
    heights = [value / max(*values, 1) for value in values]
    corners = " ".join(f"{100 * x:.2f},{100 * (1 - y):.2f}" for x, y in zip(places, heights, strict=True))
    stretched = element(
        "svg",
        element("polyline", points=corners, class_="curve"),
        y=_TOP,
        width="100%",
        height=_HEIGHT,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
    )
    base = _TOP + _HEIGHT
    facts = ", ".join(f"{number(value)} at {number(trial.value)}" for trial, value in zip(trials, values, strict=True))
    plot = element(
        "svg",
        element("title", f"{curve} by threshold in {unit}: {facts}"),
        element("line", x1=0, x2="100%", y1=base, y2=base, class_="grid"),
        *(_mark(x) for x, trial in zip(places, trials, strict=True) if trial.in_force),
        stretched,
        *_dots(trials, values, places, heights),
        *_names(trials, places),
        class_="plot",
        role="img",
        height=base + _BOTTOM,
    )
    return element("figure", element("figcaption", curve), plot, class_="curve-chart")


def _places(tried: Sequence[int]) -> list[float]:
    """Fractions of the width, by the number that was tried; logarithmic if they are far apart."""
    scaled = [math.log1p(value) for value in tried] if max(tried) >= _LOG_FROM * max(min(tried), 1) else list(tried)
    low, high = min(scaled), max(scaled)
    if low == high:
        return [0.5 for _ in tried]
    return [_EDGE + (1 - 2 * _EDGE) * (value - low) / (high - low) for value in scaled]


def _mark(x: float) -> Element:
    return element("line", x1=percent(x), x2=percent(x), y1=_TOP - 6, y2=_TOP + _HEIGHT, class_="in-force-line")


def _dots(
    trials: Sequence[Trial], values: Sequence[int], places: Sequence[float], heights: Sequence[float]
) -> list[Element]:
    """A dot for each number tried, with its value above it; of many only the first, the last and the one in force."""
    dots = []
    last = len(trials) - 1
    for index, (trial, value, x, height) in enumerate(zip(trials, values, places, heights, strict=True)):
        y = round(_TOP + _HEIGHT * (1 - height), 1)
        kind = "dot in-force" if trial.in_force else "dot"
        dots.append(element("circle", cx=percent(x), cy=y, r=5 if trial.in_force else 3.5, class_=kind))
        if trial.in_force or last < _ALL_NAMED or index in {0, last}:
            dots.append(element("text", number(value), x=percent(x), y=y - 9, class_="dot-name"))
    return dots


def _names(trials: Sequence[Trial], places: Sequence[float]) -> list[Element]:
    """The numbers tried, below the base: the one in force first, then those that have room."""
    named: list[float] = []
    texts = []
    for trial, x in sorted(zip(trials, places, strict=True), key=lambda pair: not pair[0].in_force):
        if all(abs(x - other) >= _NAME_GAP for other in named):
            named.append(x)
            kind = "time in-force" if trial.in_force else "time"
            texts.append(element("text", short(trial.value), x=percent(x), y=_TOP + _HEIGHT + 18, class_=kind))
    return texts
