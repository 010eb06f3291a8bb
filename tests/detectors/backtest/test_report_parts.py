"""What the report is made of: scales, thinning, words, and limits that keep a page small."""

import math
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from detectors.backtest.outcome import Quality, Timeline
from detectors.backtest.presentation import printable
from detectors.backtest.report import render
from detectors.backtest.report.episodes import MAX_ROWS
from detectors.backtest.report.page import template_environment
from detectors.backtest.report.scales import MAX_COLUMNS, STEP, ChartSpan, Scale, round_step
from detectors.rules.counters import Selected
from tests.builders import canonical_id
from tests.detectors.backtest.outcomes import BEGIN, MADE, THRESHOLDS, month, nothing, quality, timeline

PARAGRAPH = template_environment().from_string('<p title="{{ text }}">{{ text }}!</p>')

spans = st.builds(
    ChartSpan, first=st.integers(0, 3_000_000).map(lambda index: index * STEP), windows=st.integers(1, 200_000)
)


@settings(deadline=None)
@given(spans, st.data())
def test_thinning_out_keeps_every_peak(span: ChartSpan, data: st.DataObject) -> None:
    """A column shows the largest of its windows: a spike of ten minutes in a year must not vanish."""
    windows = data.draw(st.lists(st.integers(0, span.windows - 1), unique=True, max_size=40))
    points = [(span.first + STEP * window, data.draw(st.integers(0, 10**9))) for window in sorted(windows)]
    highest = span.highest(points)
    assert all(highest[span.column(at)] >= value for at, value in points)
    assert set(highest.values()) <= {value for _, value in points}
    assert all(0 <= column < min(span.windows, MAX_COLUMNS) for column in highest)


@settings(deadline=None)
@given(spans)
def test_time_is_named_at_a_few_places_within_the_chart(span: ChartSpan) -> None:
    """Never so many that names run into each other, however long the time is."""
    ticks = span.ticks()
    assert len(ticks) <= 7
    assert all(0 <= fraction < 1 for fraction, _ in ticks)


@pytest.mark.parametrize(
    ("windows", "names"),
    [
        (6, ["00:10", "00:20", "00:30", "00:40", "00:50", "01:00"]),
        (144, ["06:00", "12:00", "18:00", "2 Oct"]),
        (4_464, ["8 Oct", "15 Oct", "22 Oct", "29 Oct"]),
        (105_120, ["Oct 2027", "Apr 2028"]),
    ],
)
def test_times_are_named_in_utc_by_what_tells_them_apart(windows: int, names: list[str]) -> None:
    """Times of day within a day, days within a month, months within years."""
    begin = int((BEGIN + timedelta(minutes=10)).timestamp())
    shown = [name for _, name in ChartSpan(begin, windows).ticks()]
    assert [name for name in names if name not in shown] == []


@settings(deadline=None)
@given(st.floats(0, 1e12), st.floats(1, 1e12))
def test_a_scale_holds_peak_and_threshold(peak: float, threshold: float) -> None:
    """Both lie on the chart, in their order, and the axis names three to six values from 0 up."""
    scale = Scale.of(peak, threshold)
    assert 0 <= scale.height(peak) <= 1
    assert 0 < scale.height(threshold) <= 1
    assert (scale.height(peak) >= scale.height(threshold)) == (peak >= threshold) or math.isclose(peak, threshold)
    ticks = scale.ticks()
    assert ticks[0] == 0
    assert ticks == sorted(set(ticks))
    assert 2 <= len(ticks) <= 6
    assert scale.height(ticks[-1]) <= 1


@pytest.mark.parametrize(("peak", "is_log"), [(999, False), (1_000, True)])
def test_a_peak_far_above_the_threshold_makes_the_scale_logarithmic(peak: int, *, is_log: bool) -> None:
    """On an even scale a threshold of a tenth would lie on the base, with everything usual below it."""
    assert Scale.of(peak, 100).is_log == is_log


@pytest.mark.parametrize(("least", "step"), [(0.2, 1), (1, 1), (1.1, 2), (3, 5), (7, 10), (36, 50), (333_333, 500_000)])
def test_steps_are_round(least: float, step: float) -> None:
    """1, 2, 5, 10: what people count in."""
    assert round_step(least) == step


@settings(deadline=None)
@given(st.text())
def test_no_text_can_become_markup_or_break_the_file(text: str) -> None:
    """Whatever is put into an element or an attribute, the element stays one, and the file can be written."""
    seen: list[object] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, attrs))

        def handle_data(self, data: str) -> None:
            seen.append(data)

    reader = Reader()
    reader.feed(PARAGRAPH.render(text=text))
    reader.close()
    assert seen[0] == ("p", [("title", printable(text))])
    assert "".join(f"{data}" for data in seen[1:]) == f"{printable(text)}!"
    assert printable(text).isprintable()
    assert printable(text).encode().decode() == printable(text)


def test_forty_timelines_of_a_month_stay_below_a_megabyte() -> None:
    """172,800 values are thinned out to what a screen can show, so that the page opens on a phone too."""
    full = [timeline(f"aoai-{index}", windows=4_320, full=True) for index in range(40)]
    page = render(month(timelines=full), MADE)
    assert len(page.encode()) < 1_000_000
    assert page.count('class="values"') == 40


def test_a_table_of_too_many_episodes_keeps_the_longest_and_says_so() -> None:
    """A threshold of 1 makes thousands; what is left out must not look like what did not happen."""
    one = month().episodes[0]
    many = [replace(one, windows=1 + index, peaks={"count": index}) for index in range(700)]
    page = render(month(episodes=many), MADE)
    assert f"{MAX_ROWS} of 700 episodes are on this page" in page
    assert page.count('<tr id="episode-') == MAX_ROWS
    assert 'id="episode-700"' in page
    assert 'id="episode-200"' not in page
    assert "<dd>700</dd>" in page


def test_a_dead_field_is_a_warning_that_says_what_cannot_fire() -> None:
    """At 0 of N no threshold on response lengths fires, whatever its number; at 1 of N it may."""
    dead = render(month(quality=quality()), MADE)
    assert "0 of 21,804 selected records told how long the response was." in dead
    assert "the threshold response_length cannot fire, whatever the number; only count can." in dead
    alive = quality(selected={"model_theft": Selected(21_804, 1)})
    assert "cannot fire" not in render(month(quality=alive), MADE)


def test_an_interrupted_backtest_says_so_before_its_numbers() -> None:
    """A part of the logs with no finding is no proof of anything."""
    page = render(month(interrupted=True), MADE)
    mark = page.index("reading was interrupted: 8,927 of 8,928 files were read to the end")
    assert mark < page.index("the detector would have posted")
    assert "reading was interrupted" not in render(month(), MADE)


def test_why_there_are_no_episodes_is_told_apart() -> None:
    """No data, no record of the kind, and nothing above the thresholds are three different answers."""
    unselected = Quality(files=1, files_read=1, records=7)
    quiet = Quality(files=1, files_read=1, records=7, selected={"model_theft": Selected(7, 7)})
    for read, reason in ((unselected, "no rule selected a record"), (quiet, "nothing reached a threshold")):
        outcome = nothing()
        outcome.quality = read
        assert f"No episodes: {reason}." in render(outcome, MADE)


def test_a_timeline_of_one_window_is_drawn() -> None:
    """A single file of a minute gives a single window."""
    at = int(datetime(2026, 11, 23, 8, 10, tzinfo=UTC).timestamp())
    outcome = nothing()
    outcome.timelines = [
        Timeline(
            rule_id="model_theft",
            threshold="response_length",
            measure="max_response_length",
            at_least=THRESHOLDS["model_theft"]["response_length"],
            resource=canonical_id(),
            points=[(at, 2_000_000)],
        )
    ]
    page = render(outcome, MADE)
    assert 'd="M0 100V7.4H1V100"' in page
    assert "Peak 2,000,000 bytes at 2026-11-23 08:10; 1 window at or above 1,000,000." in page
