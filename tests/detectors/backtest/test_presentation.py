"""How numbers, sizes, times and names are written, on a terminal and on a page."""

import pytest

from detectors.backtest.presentation import duration, number, resource_short, short, size
from tests.builders import canonical_id


def test_numbers_are_written_exactly_and_on_axes_shortly() -> None:
    """A table is for reading off, an axis for a glance."""
    assert [number(value) for value in (1_000, 12.0, 12.25, None)] == ["1,000", "12", "12.2", "\u2013"]
    assert [short(value) for value in (0, 950, 1_000, 2_500, 1e6, 3e9)] == ["0", "950", "1k", "2.5k", "1M", "3G"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (3.21, "3.21 s"),
        (59.99, "60 s"),
        (60, "1 min"),
        (3_599.8, "1 h"),
        (10_991, "3 h 3 min"),
        (-75, "-1 min 15 s"),
        (172_800, "2 days"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    """A delay of three hours is not told to the second."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 KB"), (300, "0.3 KB"), (999_999, "1,000.0 KB"), (1_000_000, "1.0 MB"), (1_204_700_000_000, "1,204.7 GB")],
)
def test_sizes_are_in_steps_of_a_thousand(count: int, text: str) -> None:
    """As Azure bills them."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        (canonical_id("aoai-prod"), "rg-ai/aoai-prod"),
        ("arn:aws:iam::111122223333:user/dana m 111122223333", "user/dana m 111122223333"),
        ("something else", "something else"),
    ],
)
def test_a_resource_is_short_and_told_from_its_namesakes(resource: str, text: str) -> None:
    """An account by its group and name, a user by the last part of the ARN."""
    assert resource_short(resource) == text
