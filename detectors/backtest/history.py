"""The history of every group, window by window, from which timelines are drawn. Bounded."""

from array import array
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from detectors.backtest.outcome import Timeline, group_name
from detectors.evaluation.policy import Policy
from detectors.evaluation.window import GroupTotal
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Number, Threshold, measure
from detectors.rules.tally import ACCOUNT_SEEN, Key

MAX_POINTS = 4_000_000
"""Values kept in all, 16 bytes each; beyond it, the groups farthest from their thresholds are dropped."""

_RECENT = 512
"""Recent minutes of one series: each minute is in six windows, and records may arrive late."""

MAX_TIMELINES = 40


class _SeriesKey(NamedTuple):
    """Names one series."""

    key: Key
    threshold: str


class _Series:
    """The values of one measure of one group over time, the largest for each time, and how near they came."""

    __slots__ = ("ends", "nearest", "recent", "values")

    def __init__(self) -> None:
        self.ends = array("q")
        self.values = array("d")
        self.nearest = 0.0
        self.recent: dict[int, Number] = {}

    def add(self, end: int, value: Number) -> None:
        """Note a value."""
        self.ends.append(end)
        self.values.append(value)

    def is_news(self, minute: int, value: Number) -> bool:
        """Check whether a minute is new, or its value has grown since the previous window."""
        if value <= self.recent.get(minute, -1):
            return False
        self.recent[minute] = value
        if len(self.recent) > _RECENT:
            del self.recent[next(iter(self.recent))]
        return True

    def points(self) -> list[tuple[int, float]]:
        """List the largest value of each time, in order."""
        return sorted(dict(sorted(zip(self.ends, self.values, strict=True))).items())


class History:
    """Values by group and threshold. Rules that look at newcomers have none.

    Attributes:
        left_out: how many series were dropped to stay within `MAX_POINTS`.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._series: dict[_SeriesKey, _Series] = {}
        self._points = 0
        self.left_out = 0

    def add(self, window_end: datetime, totals: Mapping[Key, GroupTotal]) -> None:
        """Note a window; windows must come in order."""
        for key, total in totals.items():
            if key.rule_id == ACCOUNT_SEEN:
                continue
            rule, effective = BY_ID[key.rule_id], self._policy.effective(key)
            if rule.first_seen_only or effective is None:
                continue
            at = datetime.fromisoformat(key.group[-1]) if rule.per_minute else window_end
            values = {threshold.name: measure(total.tally, threshold.measure) for threshold in rule.thresholds}
            near = {name: (value or 0) / effective.thresholds[name] for name, value in values.items()}
            if rule.requires == "all":  # a measure far above its threshold says nothing alone
                near = dict.fromkeys(near, min(near.values()))
            self._note(Key(rule.id, rule.episode_group(key.group)), int(at.timestamp()), values, near)
        if self._points > MAX_POINTS:
            self._let_go()

    def _note(self, key: Key, at: int, values: Mapping[str, Number | None], near: Mapping[str, float]) -> None:
        """Note the values of one group, by threshold."""
        for name, value in values.items():
            if value is None:
                continue
            series = self._series.setdefault(_SeriesKey(key, name), _Series())
            series.nearest = max(series.nearest, near[name])
            if not BY_ID[key.rule_id].per_minute or series.is_news(at, value):
                series.add(at, value)
                self._points += 1

    def timelines(self) -> list[Timeline]:
        """List the timelines that came closest to firing, closest first."""
        return [self._timeline(place) for place in self._nearest()[:MAX_TIMELINES]]

    @property
    def timelines_left_out(self) -> int:
        """How many series have no timeline."""
        return self.left_out + max(len(self._series) - MAX_TIMELINES, 0)

    def _timeline(self, place: _SeriesKey) -> Timeline:
        series = self._series[place]
        threshold = next(one for one in _thresholds_of(place.key) if one.name == place.threshold)
        points = series.points()
        whole = all(value == int(value) for _, value in points)
        return Timeline(
            rule_id=place.key.rule_id,
            threshold=place.threshold,
            measure=threshold.measure,
            at_least=self._threshold(place),
            resource=group_name(place.key),
            points=[(end, int(value) if whole else value) for end, value in points],
        )

    def _nearest(self) -> list[_SeriesKey]:
        return sorted(self._series, key=lambda place: (-self._series[place].nearest, place))

    def _threshold(self, place: _SeriesKey) -> int:
        effective = self._policy.effective(place.key)
        assert effective is not None  # else it has no series
        return effective.thresholds[place.threshold]

    def _let_go(self) -> None:
        """Keep the half of the series that came closest."""
        places = self._nearest()
        for place in places[len(places) // 2 :]:
            self._points -= len(self._series.pop(place).ends)
            self.left_out += 1


def _thresholds_of(key: Key) -> tuple[Threshold, ...]:
    return BY_ID[key.rule_id].thresholds
