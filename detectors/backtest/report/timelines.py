"""Small charts, one for each group and threshold: values by window, the threshold as a line, episodes as bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from detectors.backtest.outcome import EpisodeSummary, Outcome, Timeline
from detectors.backtest.presentation import amount, counted, measured, minute, number, resource_name, short, unit_of
from detectors.backtest.report.episodes import Numbered
from detectors.backtest.report.scales import STEP, ChartSpan, Scale
from detectors.rules.catalogue import BY_ID
from detectors.rules.rule import Number, Rule
from detectors.windows import BUCKET, bucket_start

_TOP, _HEIGHT, _BOTTOM = 18, 112, 22
_AXIS = 44
_LABEL_GAP = 0.05


class Tick(NamedTuple):
    """A value that the axis names, pixels from the chart's top."""

    y: float
    name: str


class Band(NamedTuple):
    """An episode: its columns from `begin` up to behind its last, and its middle as a fraction of the width."""

    episode: int
    begin: int
    end: int
    middle: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One timeline; lengths are pixels.

    Attributes:
        level: the height of the threshold's line.
        side: the side where the threshold is labelled.
        values: the values by column, for the script.
        path: the path through the values, in columns and percent of the height.
        bands: every episode of the group.
        named: the bands whose numbers fit above the chart.
    """

    rule: Rule
    resource: str
    at_least: int
    heading: str
    facts: str
    title: str
    unit: str
    span: ChartSpan
    ticks: list[Tick]
    level: float
    side: str
    values: str
    path: str
    bands: list[Band]
    named: list[Band]
    axis: int = _AXIS
    top: int = _TOP
    bottom: int = _TOP + _HEIGHT
    height: int = _TOP + _HEIGHT + _BOTTOM


def timelines(outcome: Outcome, episodes: Numbered) -> list[Chart]:
    """Draw every timeline; all have the same span of time, so that they can be compared."""
    span = _span(outcome)
    return [_chart(timeline, span, _of(timeline, episodes)) for timeline in outcome.timelines]


def _span(outcome: Outcome) -> ChartSpan:
    """Find the span from the first to the last known window."""
    ends = [at for timeline in outcome.timelines for at, _ in _by_window(timeline)]
    for episode in outcome.episodes:
        ends += [int(episode.first_window.timestamp()), int(episode.last_window.timestamp())]
    for at in (outcome.quality.first_time, outcome.quality.last_time):
        if at is not None:
            ends.append(int((bucket_start(at) + BUCKET).timestamp()))
    first = min(ends, default=0)
    return ChartSpan(first, (max(ends, default=0) - first) // STEP + 1)


def _by_window(timeline: Timeline) -> list[tuple[int, Number]]:
    """List values by window end; a minute counts at the end of its ten minutes."""
    if not BY_ID[timeline.rule_id].per_minute:
        return timeline.points
    return [(at - at % STEP + STEP, value) for at, value in timeline.points]


def _of(timeline: Timeline, episodes: Numbered) -> Numbered:
    wanted = (timeline.rule_id, timeline.resource)
    return [(index, episode) for index, episode in episodes if (episode.rule_id, episode.resource) == wanted]


def _chart(timeline: Timeline, span: ChartSpan, episodes: Numbered) -> Chart:
    rule = BY_ID[timeline.rule_id]
    peak_at, peak = max(timeline.points, key=lambda point: point[1], default=(span.first, 0))
    scale = Scale.of(peak, timeline.at_least)
    highest = span.highest(_by_window(timeline))
    above = sum(value >= timeline.at_least for _, value in timeline.points)
    facts = (
        f"Peak {amount(peak, timeline.measure)} at {minute(datetime.fromtimestamp(peak_at, UTC))}; "
        f"{counted(above, 'minute' if rule.per_minute else 'window')} at or above {number(timeline.at_least)}"
        f"{_condition(rule, timeline.threshold)}."
    )
    heading = f"{rule.name}: {measured(rule, timeline.measure)}{' (log scale)' if scale.is_log else ''}"
    bands = [_band(span, *numbered) for numbered in episodes]
    return Chart(
        rule=rule,
        resource=timeline.resource,
        at_least=timeline.at_least,
        heading=heading,
        facts=facts,
        title=f"{resource_name(timeline.resource)}, {heading}. {facts}",
        unit=unit_of(timeline.measure),
        span=span,
        ticks=[Tick(_y(scale.height(tick)), short(tick)) for tick in scale.ticks()],
        level=_y(scale.height(timeline.at_least)),
        side=_emptier_side(highest, span),
        values=" ".join(f"{column}:{number(value)}" for column, value in sorted(highest.items())),
        path=_path(highest, scale),
        bands=bands,
        named=_named(bands),
    )


def _condition(rule: Rule, threshold: str) -> str:
    """Name the other thresholds that must be reached too."""
    others = [each.name for each in rule.thresholds if each.name != threshold]
    return f", which fires only with {' and '.join(others)}" if others and rule.requires == "all" else ""


def _y(fraction: float) -> float:
    """Convert a fraction of the height to pixels from the chart's top."""
    return round(_TOP + _HEIGHT * (1 - fraction), 1)


def _emptier_side(highest: dict[int, Number], span: ChartSpan) -> str:
    """Choose the side where the curve leaves more room for a label."""
    width = span.columns // 4
    left = max((value for column, value in highest.items() if column <= width), default=0)
    right = max((value for column, value in highest.items() if column >= span.columns - width), default=0)
    return "left" if left < right else "right"


def _path(highest: dict[int, Number], scale: Scale) -> str:
    """Build the path, which drops to the base wherever a column has no value."""
    steps = []
    columns = sorted(highest)
    ends = {left for left, right in pairwise([*columns, -1]) if right != left + 1}
    begins = True
    for column in columns:
        y = f"{100 * (1 - scale.height(highest[column])):.1f}"
        steps.append(f"M{column} 100V{y}H{column + 1}" if begins else f"V{y}H{column + 1}")
        begins = column in ends
        if begins:
            steps.append("V100")
    return "".join(steps)


def _band(span: ChartSpan, index: int, episode: EpisodeSummary) -> Band:
    begin, end = (span.column(int(at.timestamp())) for at in (episode.first_window, episode.last_window))
    state = "suppressed" if episode.is_suppressed else "still open" if episode.is_open else "closed"
    title = f"Episode {index}, {minute(episode.first_window)} to {minute(episode.last_window)} UTC, {state}"
    middle = (begin + end + 1) / 2 / span.columns
    return Band(index, begin, end + 1, middle, title)


def _named(bands: Sequence[Band]) -> list[Band]:
    """Select the bands whose numbers do not overlap the previous one, and keep them off the edge."""
    named: list[Band] = []
    for band in sorted(bands, key=lambda band: band.begin):
        if not named or band.middle >= named[-1].middle + _LABEL_GAP:
            named.append(band)
    return [band._replace(middle=min(max(band.middle, 0.01), 0.99)) for band in named]
