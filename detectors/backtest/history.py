"""How every group went, window by window: what timelines are drawn from, and suggestions made from. Bounded."""

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import NamedTuple

from detectors.backtest.outcome import Suggestion, Timeline, subject
from detectors.counting import Key
from detectors.evaluation import Thresholds, Total
from detectors.rules import BY_ID
from detectors.rules.rule import Number, Threshold, measure

MAX_POINTS = 4_000_000
"""Values kept in all, 16 bytes each; beyond it the groups that are farthest from their thresholds are let go of."""

MAX_TIMELINES = 40
MIN_WINDOWS = 24
"""Windows with records that a suggestion needs."""


class _Place(NamedTuple):
    """What a series is of."""

    key: Key
    threshold: str


class _Series:
    """The values of one measure of one group, and the largest."""

    __slots__ = ("ends", "largest", "values")

    def __init__(self) -> None:
        self.ends = array("q")
        self.values = array("d")
        self.largest = 0.0

    def add(self, end: int, value: Number) -> None:
        self.ends.append(end)
        self.values.append(value)
        self.largest = max(self.largest, value)


class History:
    """Values by group and threshold, for the thresholds in force.

    Attributes:
        left_out: groups that were let go of to stay within `MAX_POINTS`.
    """

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._series: dict[_Place, _Series] = {}
        self._points = 0
        self.left_out = 0

    def add(self, window_end: datetime, totals: Mapping[Key, Total]) -> None:
        """Note a window; windows must come in their order."""
        end = int(window_end.timestamp())
        for key, total in totals.items():
            for threshold in _thresholds_of(key):
                value = measure(total.tally, threshold.measure)
                if value is not None and key.rule_id in self._thresholds:
                    self._series.setdefault(_Place(key, threshold.name), _Series()).add(end, value)
                    self._points += 1
        if self._points > MAX_POINTS:
            self._let_go()

    def timelines(self) -> list[Timeline]:
        """Those that came nearest to their threshold, nearest first."""
        return [self._timeline(place) for place in self._nearest()[:MAX_TIMELINES]]

    @property
    def timelines_left_out(self) -> int:
        """How many series have no timeline."""
        return self.left_out + max(len(self._series) - MAX_TIMELINES, 0)

    def suggestions(self, swept: Sequence[tuple[str, str]]) -> list[Suggestion]:
        """For each resource, a number for each of some thresholds (rule id and name); the largest first."""
        made = [
            _suggestion(place, series)
            for place, series in self._series.items()
            if (place.key.rule_id, place.threshold) in swept
        ]
        return sorted(made, key=lambda one: (one.rule_id, one.threshold, -one.largest, one.resource))

    def _timeline(self, place: _Place) -> Timeline:
        series = self._series[place]
        threshold = next(one for one in _thresholds_of(place.key) if one.name == place.threshold)
        whole = all(value == int(value) for value in series.values)
        return Timeline(
            rule_id=place.key.rule_id,
            threshold=place.threshold,
            measure=threshold.measure,
            at_least=self._at_least(place),
            resource=subject(place.key),
            points=[
                (end, int(value) if whole else value) for end, value in zip(series.ends, series.values, strict=True)
            ],
        )

    def _nearest(self) -> list[_Place]:
        return sorted(self._series, key=lambda place: (-self._series[place].largest / self._at_least(place), place))

    def _at_least(self, place: _Place) -> int:
        return self._thresholds[place.key.rule_id][place.threshold]

    def _let_go(self) -> None:
        """Keep the half of the series that came nearest."""
        places = self._nearest()
        for place in places[len(places) // 2 :]:
            self._points -= len(self._series.pop(place).ends)
            self.left_out += 1


def _thresholds_of(key: Key) -> tuple[Threshold, ...]:
    return BY_ID[key.rule_id].thresholds


def _suggestion(place: _Place, series: _Series) -> Suggestion:
    values = sorted(series.values)
    middle = median(values)
    return Suggestion(
        rule_id=place.key.rule_id,
        threshold=place.threshold,
        resource=subject(place.key),
        windows=len(values),
        median=round(middle, 1),
        largest=_whole(values[-1]),
        value=_fence(values) if len(values) >= MIN_WINDOWS else None,
    )


def _fence(values: Sequence[float]) -> int:
    """The first whole number above Tukey's outer fence: the upper quartile and three interquartile ranges.

    Up to a quarter of the windows may be an attack without moving it. Where quartiles coincide, as for a pipeline
    that does the same every hour, half as much again as the upper quartile.
    """
    lower, upper = values[len(values) // 4], values[-(-3 * len(values) // 4) - 1]
    return int(max(upper + 3 * (upper - lower), upper * 1.5)) + 1


def _whole(value: float) -> Number:
    return int(value) if value == int(value) else value
