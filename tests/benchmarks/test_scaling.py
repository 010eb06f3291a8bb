"""The simulation of scaling: nothing is lost in it, and it says what its inputs imply."""

import pytest

from benchmarks.scaling import BURST, RATES, measure, partitions_for, simulate

EVENT_SECONDS = 0.0005


@pytest.mark.parametrize("rate", RATES)
def test_every_event_is_counted_before_the_hours_are_over(rate: int) -> None:
    """With the partitions that the page advises, even the burst is."""
    delays = simulate(rate, partitions_for(rate, EVENT_SECONDS), EVENT_SECONDS)
    assert len(delays.counted) == len(delays.arrivals)
    assert all(found >= counted for found, counted in zip(delays.found, delays.counted, strict=True))


def test_a_finding_comes_a_minute_after_a_bucket() -> None:
    """Whatever arrives in a bucket is found together; at rest, at the end of that bucket."""
    delays = simulate(100, 4, EVENT_SECONDS)
    assert {(second + found) % 600 for second, found in enumerate(delays.found)} == {60}
    assert (min(delays.found), max(delays.found)) == (61, 660)


def test_too_few_partitions_fall_behind() -> None:
    """An instance more does not help where there is no partition for it."""
    rate = 100_000
    enough = partitions_for(rate, EVENT_SECONDS)
    few, many = (simulate(rate, partitions, EVENT_SECONDS) for partitions in (enough // 4, enough))
    assert few.instances <= enough // 4
    assert max(few.counted) > 60 > max(many.counted)


def test_as_many_instances_come_as_are_needed() -> None:
    """One at rest; in a burst the unprocessed events ask for more, four at a time."""
    assert simulate(100, 4, EVENT_SECONDS).instances == 1
    assert simulate(1_000_000, 64, EVENT_SECONDS).instances >= 1_000_000 * BURST / 50 * EVENT_SECONDS


def test_half_of_the_events_are_told_apart_from_half_of_the_time() -> None:
    """Seconds with a burst hold more events than others, and count for more."""
    delays = simulate(1_000, 4, EVENT_SECONDS)
    assert delays.quantile(list(range(len(delays.arrivals))), 0.5) > len(delays.arrivals) / 2


def test_the_tables_name_the_limit_that_comes_first() -> None:
    """A hub of the Standard tier carries a thousand records a second and five times that in bursts, not a million."""
    needs, bursts = measure(EVENT_SECONDS)
    assert [row["limit"] for row in needs.rows][:2] == ["none", "none"]
    assert "units of Standard" in str(needs.rows[-1]["limit"])
    assert [row["records_per_second"] for row in bursts.rows] == list(RATES)
