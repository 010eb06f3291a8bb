"""The outcomes of other numbers: three small curves for each threshold swept."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from detectors.backtest.outcome import Outcome, Trial
from detectors.backtest.presentation import number, threshold_of, unit_of

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


@dataclass(slots=True)
class Dot:
    """A number that was tried (`x`: a fraction of the width) and its outcome (`y`: pixels from the top)."""

    x: float
    y: float
    tried: int
    value: int
    in_force: bool
    value_named: bool
    tried_named: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve; lengths are pixels, corners percent of width and height."""

    name: str
    title: str
    dots: list[Dot]
    corners: str
    top: int = _TOP
    bottom: int = _TOP + _HEIGHT
    height: int = _TOP + _HEIGHT + _BOTTOM


class SweptThreshold(NamedTuple):
    """A threshold, the numbers tried, and the curves of their outcomes."""

    rule_id: str
    threshold: str
    unit: str
    trials: list[Trial]
    curves: list[Curve]


def sweeps(outcome: Outcome) -> list[SweptThreshold]:
    """List each threshold that was swept."""
    made = []
    for (rule_id, name), group in groupby(outcome.trials, key=lambda trial: (trial.rule_id, trial.threshold)):
        trials, unit = list(group), unit_of(threshold_of(rule_id, name).measure)
        curves = [_curve(curve, unit, trials, [value(trial) for trial in trials]) for curve, value in _CURVES]
        made.append(SweptThreshold(rule_id, name, unit, trials, curves))
    return made


def _curve(name: str, unit: str, trials: Sequence[Trial], values: Sequence[int]) -> Curve:
    places = _places([trial.value for trial in trials])
    heights = [value / max(*values, 1) for value in values]
    facts = ", ".join(f"{number(value)} at {number(trial.value)}" for trial, value in zip(trials, values, strict=True))
    last = len(trials) - 1
    dots = [
        Dot(
            x=x,
            y=round(_TOP + _HEIGHT * (1 - height), 1),
            tried=trial.value,
            value=value,
            in_force=trial.in_force,
            value_named=trial.in_force or last < _ALL_NAMED or index in {0, last},
        )
        for index, (trial, value, x, height) in enumerate(zip(trials, values, places, heights, strict=True))
    ]
    _name_what_has_room(dots)
    corners = " ".join(f"{100 * x:.2f},{100 * (1 - y):.2f}" for x, y in zip(places, heights, strict=True))
    return Curve(name, f"{name} by threshold in {unit}: {facts}", dots, corners)


def _name_what_has_room(dots: Sequence[Dot]) -> None:
    """Label tried numbers below the base: the one in force first, then those that fit."""
    named: list[float] = []
    for dot in sorted(dots, key=lambda dot: not dot.in_force):
        dot.tried_named = all(abs(dot.x - other) >= _NAME_GAP for other in named)
        if dot.tried_named:
            named.append(dot.x)


def _places(tried: Sequence[int]) -> list[float]:
    """Place tried numbers on the width, as fractions of it; logarithmic if they are far apart."""
    scaled = [math.log1p(value) for value in tried] if max(tried) >= _LOG_FROM * max(min(tried), 1) else list(tried)
    low, high = min(scaled), max(scaled)
    if low == high:
        return [0.5 for _ in tried]
    return [_EDGE + (1 - 2 * _EDGE) * (value - low) / (high - low) for value in scaled]
