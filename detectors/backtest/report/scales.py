"""Where values and times lie on a chart, and which of them its axes name."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from detectors.rules.rule import Number
from detectors.windows import BUCKET

STEP = int(BUCKET.total_seconds())
MAX_COLUMNS = 720
"""As many as a chart has pixels on a wide screen, two charts side by side."""

_TICKS = 6
_LOG_FROM = 10
_DAY = timedelta(days=1)
_TIME_STEPS = (
    *(timedelta(minutes=minutes) for minutes in (10, 30, 60, 120, 180, 360, 720)),
    *(timedelta(days=days) for days in (1, 2, 5, 7, 14, 30, 60, 91, 182, 365, 730, 1826, 3652)),
)


def percent(fraction: float) -> str:
    """A place on a chart that is stretched to its page."""
    return f"{100 * fraction:.2f}%"


@dataclass(frozen=True, slots=True)
class ChartSpan:
    """The window ends that a chart shows, put together into columns.

    Attributes:
        first: the first window's end, seconds since 1970.
        windows: how many, 1 or more.
    """

    first: int
    windows: int

    @property
    def columns(self) -> int:
        """One a window, or as many as there are pixels."""
        return min(self.windows, MAX_COLUMNS)

    def column(self, at: int) -> int:
        """The column of a window's end; those outside fall on the edge."""
        window = min(max((at - self.first) // STEP, 0), self.windows - 1)
        return window * self.columns // self.windows

    def highest(self, points: Iterable[tuple[int, Number]]) -> dict[int, Number]:
        """The largest value of each column that has one: thinning out never hides a peak."""
        highest: dict[int, Number] = {}
        for at, value in points:
            column = self.column(at)
            highest[column] = max(value, highest.get(column, value))
        return highest

    def ticks(self) -> list[tuple[float, str]]:
        """Fractions of the width, and what to write there: times of day, at midnight dates; in UTC."""
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
    """Values from 0 to `top` on a height of 1, even or logarithmic with 0 at the base."""

    top: float
    is_log: bool

    @classmethod
    def of(cls, peak: float, threshold: float) -> "Scale":
        """A scale that holds both; logarithmic where an even one would press the threshold onto the base."""
        top = max(peak, threshold, 1)
        is_log = peak >= _LOG_FROM * max(threshold, 1)
        return cls(top=top * (1.5 if is_log else 1.08), is_log=is_log)

    def height(self, value: float) -> float:
        """From 0 at the base to 1 at the top."""
        return math.log1p(max(value, 0)) / math.log1p(self.top) if self.is_log else max(value, 0) / self.top

    def ticks(self) -> list[float]:
        """Three to five round values."""
        if self.is_log:
            powers = range(1, int(math.log10(self.top)) + 1)
            return [0, *(10**power for power in powers[:: -(-len(powers) // 4)])]
        step = round_step(self.top / 3)
        return [step * index for index in range(int(self.top / step) + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, … that is not below `least`; whole, as what is counted is."""
    power = 10.0 ** max(math.floor(math.log10(max(least, 1))), 0)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= min(least, 10 * power))
