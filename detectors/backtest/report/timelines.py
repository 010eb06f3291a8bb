"""Small charts, one a group and threshold: the value of each window, the threshold as a line, episodes as bands."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from xml.etree.ElementTree import Element

from detectors.backtest.outcome import EpisodeSummary, Outcome, Timeline
from detectors.backtest.report.labels import resource_label
from detectors.backtest.report.markup import element, empty, note, section
from detectors.backtest.report.scales import STEP, Scale, Span, percent
from detectors.presentation import UNITS, amount, counted, measured, minute, number, resource_name, short
from detectors.rules import BY_ID
from detectors.rules.rule import Number, Rule
from detectors.windows import BUCKET, bucket_start

_TOP, _HEIGHT, _BOTTOM = 18, 112, 22
_AXIS = 44
_LABEL_GAP = 0.05

Numbered = Sequence[tuple[int, EpisodeSummary]]
"""Episodes with the numbers that the table of episodes gives them."""


def timelines(outcome: Outcome, episodes: Numbered) -> Element:
    """The section of timelines; all have one span of time, so that they can be compared."""
    if not outcome.timelines:
        return section("timelines", "Timelines", empty("No timelines: no rule selected a record."))
    span = _span(outcome)
    figures = [_figure(timeline, span, _of(timeline, episodes)) for timeline in outcome.timelines]
    hidden = outcome.timelines_left_out
    more = f" {counted(hidden, 'more group')} stayed further below and {'is' if hidden == 1 else 'are'} not drawn."
    return section(
        "timelines",
        "Timelines",
        note(
            "Those that came nearest to firing come first. Each value is of the hour that ends there, or the largest "
            "of the ten minutes that end there; times are UTC. Bands are episodes, numbered as in the table."
            f"{more if hidden else ''}"
        ),
        element("div", *figures, class_="charts"),
    )


def _span(outcome: Outcome) -> Span:
    """From the first to the last window that anything is known of."""
    ends = [at for timeline in outcome.timelines for at, _ in _by_window(timeline)]
    for episode in outcome.episodes:
        ends += [int(episode.first_window.timestamp()), int(episode.last_window.timestamp())]
    for at in (outcome.quality.first_time, outcome.quality.last_time):
        if at is not None:
            ends.append(int((bucket_start(at) + BUCKET).timestamp()))
    first = min(ends, default=0)
    return Span(first, (max(ends, default=0) - first) // STEP + 1)


def _by_window(timeline: Timeline) -> list[tuple[int, Number]]:
    """Values by window end: a minute stands where the ten minutes end that it is in."""
    if not BY_ID[timeline.rule_id].per_minute:
        return timeline.points
    return [(at - at % STEP + STEP, value) for at, value in timeline.points]


def _of(timeline: Timeline, episodes: Numbered) -> Numbered:
    wanted = (timeline.rule_id, timeline.resource)
    return [(index, episode) for index, episode in episodes if (episode.rule_id, episode.resource) == wanted]


def _figure(timeline: Timeline, span: Span, episodes: Numbered) -> Element:
    peak_at, peak = max(timeline.points, key=lambda point: point[1], default=(span.first, 0))
    scale = Scale.of(peak, timeline.at_least)
    unit = UNITS[timeline.measure]
    above = sum(value >= timeline.at_least for _, value in timeline.points)
    rule = BY_ID[timeline.rule_id]
    facts = (
        f"Peak {amount(peak, timeline.measure)} at {minute(datetime.fromtimestamp(peak_at, UTC))}; "
        f"{counted(above, 'minute' if rule.per_minute else 'window')} at or above {number(timeline.at_least)}"
        f"{_condition(rule, timeline.threshold)}."
    )
    heading = f"{rule.name}: {measured(rule, timeline.measure)}{' (log scale)' if scale.is_log else ''}"
    caption = element(
        "figcaption",
        element("h3", resource_label(rule, timeline.resource, in_full=True)),
        element("p", heading, class_="measure"),
        element("p", facts, class_="facts"),
    )
    title = f"{resource_name(timeline.resource)}, {heading}. {facts}"
    plot = _plot(timeline, span, scale, episodes, title)
    return element("figure", caption, element("div", _axis(scale, unit), plot, class_="chart"), class_="timeline")


def _condition(rule: Rule, threshold: str) -> str:
    """What must be reached as well."""
    others = [each.name for each in rule.thresholds if each.name != threshold]
    return f", which fires only with {' and '.join(others)}" if others and rule.requires == "all" else ""


def _y(fraction: float) -> float:
    """Pixels from the chart's top."""
    return round(_TOP + _HEIGHT * (1 - fraction), 1)


def _axis(scale: Scale, unit: str) -> Element:
    """The values' names, left of the plot; they keep their size when the plot is stretched."""
    names = [
        element("text", short(tick), x=_AXIS - 6, y=_y(scale.height(tick)) + 4, text_anchor="end")
        for tick in scale.ticks()
    ]
    top = element("text", unit, x=_AXIS - 6, y=10, text_anchor="end", class_="unit")
    return element("svg", top, *names, class_="axis", width=_AXIS, height=_TOP + _HEIGHT + _BOTTOM, aria_hidden="true")


def _plot(timeline: Timeline, span: Span, scale: Scale, episodes: Numbered, title: str) -> Element:
    highest = span.highest(_by_window(timeline))
    stretched = element(
        "svg",
        *(_band(span, *numbered) for numbered in episodes),
        element("path", d=_path(highest, scale), class_="values"),
        y=_TOP,
        width="100%",
        height=_HEIGHT,
        viewBox=f"0 0 {span.columns} 100",
        preserveAspectRatio="none",
    )
    level = _y(scale.height(timeline.at_least))
    return element(
        "svg",
        element("title", title),
        *(_line(_y(scale.height(tick)), "grid") for tick in scale.ticks()),
        stretched,
        _line(level, "threshold"),
        _threshold_name(timeline.at_least, level, highest, span),
        *_times(span),
        *_numbers(span, episodes),
        class_="plot",
        role="img",
        height=_TOP + _HEIGHT + _BOTTOM,
        data_values=" ".join(f"{column}:{number(value)}" for column, value in sorted(highest.items())),
        data_first=span.first,
        data_step=STEP,
        data_windows=span.windows,
        data_columns=span.columns,
        data_top=_TOP,
        data_bottom=_TOP + _HEIGHT,
        data_unit=UNITS[timeline.measure],
    )


def _line(y: float, name: str) -> Element:
    return element("line", x1=0, x2="100%", y1=y, y2=y, class_=name)


def _threshold_name(at_least: int, level: float, highest: dict[int, Number], span: Span) -> Element:
    """On the side where the curve leaves more room."""
    width = span.columns // 4
    left = max((value for column, value in highest.items() if column <= width), default=0)
    right = max((value for column, value in highest.items() if column >= span.columns - width), default=0)
    x, side = ("0%", "left") if left < right else ("100%", "right")
    return element("text", f"threshold {number(at_least)}", x=x, y=level - 5, class_=f"threshold-name {side}")


def _path(highest: dict[int, Number], scale: Scale) -> str:
    """Steps down to the base wherever a column has no value."""
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


def _edges(span: Span, episode: EpisodeSummary) -> tuple[int, int]:
    """The columns from an episode's first window up to behind its last."""
    first, last = (int(at.timestamp()) for at in (episode.first_window, episode.last_window))
    return span.column(first), span.column(last) + 1


def _band(span: Span, index: int, episode: EpisodeSummary) -> Element:
    begin, end = _edges(span, episode)
    state = "suppressed" if episode.is_suppressed else "still open" if episode.is_open else "closed"
    text = f"Episode {index}, {minute(episode.first_window)} to {minute(episode.last_window)} UTC, {state}"
    return element("rect", element("title", text), class_="episode", x=begin, width=end - begin, height=100)


def _numbers(span: Span, episodes: Numbered) -> list[Element]:
    """Links to the table's rows, above the bands; a number that would stand on the one before is left out."""
    links = []
    free = 0.0
    for index, episode in sorted(episodes, key=lambda numbered: numbered[1].first_window):
        middle = sum(_edges(span, episode)) / 2 / span.columns
        if middle >= free:
            name = element("text", f"{index}", x=percent(min(max(middle, 0.01), 0.99)), y=12, class_="episode-name")
            links.append(element("a", name, href=f"#episode-{index}", aria_label=f"Episode {index}"))
            free = middle + _LABEL_GAP
    return links


def _times(span: Span) -> list[Element]:
    base = _TOP + _HEIGHT
    made = []
    for index, (fraction, name) in enumerate(span.ticks()):
        x = percent(fraction)
        made.append(element("line", x1=x, x2=x, y1=base, y2=base + 5, class_="tick"))
        anchor = "start" if fraction < 0.03 else "end" if fraction > 0.95 else "middle"  # noqa: PLR2004 - inside the plot
        kind = "time minor" if index % 2 else "time"
        made.append(element("text", name, x=x, y=base + 18, text_anchor=anchor, class_=kind))
    return made
