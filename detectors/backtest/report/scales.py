"""Where values and times lie on a chart, and which of them its axes name."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from detectors.rules.rule import Number
from detectors.windows import BUCKET

STEP = int(BUCKET.total_seconds())
MAX_COLUMNS = 720
"""The pixels of a chart on a wide screen, with two charts side by side."""

_TICKS = 6
_LOG_FROM = 10
_DAY = timedelta(days=1)
_TIME_STEPS = (
    *(timedelta(minutes=minutes) for minutes in (10, 30, 60, 120, 180, 360, 720)),
    *(timedelta(days=days) for days in (1, 2, 5, 7, 14, 30, 60, 91, 182, 365, 730, 1826, 3652)),
)


def percent(fraction: float) -> str:
    """Format a fraction of a chart's width or height as a percentage."""
    return f"{100 * fraction:.2f}%"


@dataclass(frozen=True, slots=True)
class ChartSpan:
    """The window ends that a chart shows, combined into columns.

    Attributes:
        first: the first window's end, seconds since 1970.
        windows: the number of windows, 1 or more.
    """

    first: int
    windows: int

    @property
    def columns(self) -> int:
        """The number of columns: one for each window, but at most one for each pixel."""
        return min(self.windows, MAX_COLUMNS)

    def column(self, at: int) -> int:
        """Find the column of a window's end; ends outside the chart fall on its edge."""
        window = min(max((at - self.first) // STEP, 0), self.windows - 1)
        return window * self.columns // self.windows

    def highest(self, points: Iterable[tuple[int, Number]]) -> dict[int, Number]:
        """Find the largest value of each column that has any: thinning out never hides a peak."""
        highest: dict[int, Number] = {}
        for at, value in points:
            column = self.column(at)
            highest[column] = max(value, highest.get(column, value))
        return highest

    def ticks(self) -> list[tuple[float, str]]:
        """List the ticks: a fraction of the width and its label, a time of day, or a date at midnight; in UTC."""
        begin = datetime.fromtimestamp(self.first, UTC)
        length = timedelta(seconds=self.windows * STEP)
        step = next((step for step in _TIME_STEPS if length <= step * _TICKS), length / _TICKS)
        at = begin + (datetime(1970, 1, 1, tzinfo=UTC) - begin) % step
        ticks = []
        while at < begin + length:
            ticks.append(((at - begin) / length, _time_label(at, step)))
            at += step
        return ticks


def _time_label(at: datetime, step: timedelta) -> str:
    if step >= timedelta(days=91):
        return f"{at:%b %Y}"
    return f"{at.day} {at:%b}" if step >= _DAY or (at.hour, at.minute) == (0, 0) else f"{at:%H:%M}"


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale for values from 0 to `top` on a height of 1: linear, or logarithmic with 0 at the base."""

    top: float
    is_log: bool

    @classmethod
    def of(cls, peak: float, threshold: float) -> "Scale":
        """Choose a scale that holds both; logarithmic if a linear one would press the threshold onto the base."""
        top = max(peak, threshold, 1)
        is_log = peak >= _LOG_FROM * max(threshold, 1)
        return cls(top=top * (1.5 if is_log else 1.08), is_log=is_log)

    def height(self, value: float) -> float:
        """Scale a value to a height: 0 at the base, 1 at the top."""
        return math.log1p(max(value, 0)) / math.log1p(self.top) if self.is_log else max(value, 0) / self.top

    def ticks(self) -> list[float]:
        """List three to five round values."""
        if self.is_log:
            powers = range(1, int(math.log10(self.top)) + 1)
            return [0, *(10**power for power in powers[:: -(-len(powers) // 4)])]
        step = round_step(self.top / 3)
        return [step * index for index in range(int(self.top / step) + 1)]


def round_step(least: float) -> float:
    """Find the smallest of 1, 2, 5, 10, … that is not below `least`; whole, as counts are."""
    power = 10.0 ** max(math.floor(math.log10(max(least, 1))), 0)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= min(least, 10 * power))
