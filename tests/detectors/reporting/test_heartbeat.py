"""What the heartbeat says of a window: sums, the longest lag, partitions that are known, exceptions that expired."""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from detectors.evaluation.silence import MAX_SILENT, SilentAccount
from detectors.evaluation.suppressions import Scope, SuppressionRule
from detectors.evaluation.window import Crowd
from detectors.events import Source
from detectors.reporting.heartbeat import (
    MAX_CROWDS,
    MAX_EXPIRED,
    Heartbeat,
    RunProgress,
    WindowHealth,
    count_up,
    heartbeat,
    measure_health,
)
from detectors.rules.counters import Counters
from detectors.sources.resources import MAX_ACCOUNT_BYTES
from detectors.storage.buckets import Watermark
from detectors.windows import BUCKET, microseconds
from tests.builders import NAMESPACE, SOURCE, START

SILENT = Source(NAMESPACE, "llm-logs", "1")


def test_the_lag_of_a_partition_is_the_longest_of_the_window() -> None:
    """Whichever bucket had it, the first or the last."""
    watermarks = {SOURCE: Watermark(1, microseconds(START))}
    for lags_ms in ([30_000, 0, 5_000], [5_000, 0, 30_000]):
        counted = count_up((SOURCE, Counters(lag_ms=lag_ms)) for lag_ms in lags_ms)
        health = measure_health(counted, watermarks.items())
        assert [partition.lag_seconds for partition in health.partitions] == [30.0]
        assert health.counters.lag_ms == 30_000


def test_a_partition_that_brought_nothing_is_listed_with_its_last_arrival() -> None:
    """It may be silent, or stuck: somebody should be able to see which."""
    watermarks = {SOURCE: Watermark(9, microseconds(START)), SILENT: Watermark(4, microseconds(START))}
    health = measure_health(count_up([(SOURCE, Counters(messages=1, lag_ms=1))] * 6), watermarks.items())
    assert [(found.partition, found.last_sequence, found.lag_seconds) for found in health.partitions] == [
        ("0", 9, 0.001),
        ("1", 4, None),
    ]


def _beat(
    expired: Sequence[SuppressionRule] = (),
    silent: Sequence[SilentAccount] = (),
    at: datetime = START,
    crowds: Sequence[Crowd] = (),
) -> Heartbeat:
    health = WindowHealth(Counters(), [])
    return heartbeat(
        at,
        START,
        health,
        RunProgress(),
        resources_seen=0,
        findings=0,
        open_episodes=0,
        expired=expired,
        silent=silent,
        crowds=crowds,
    )


def test_exceptions_that_expired_are_listed_with_whom_to_ask() -> None:
    """And how many callers they were for; not the callers."""
    gone = SuppressionRule(
        Scope("model_theft", "*/prod"), frozenset({"one", "two"}), "Tests.", "us", date(2026, 11, 22)
    )
    assert _beat([gone]).expired_exceptions == [
        {"RuleId": "model_theft", "Resource": "*/prod", "Callers": 2, "Owner": "us", "Expires": "2026-11-22"}
    ]
    assert _beat([]).expired_exceptions == []


def test_of_many_expired_exceptions_the_first_are_listed() -> None:
    """The row stays small."""
    days = [date(2026, 11, 22) - timedelta(days=age) for age in range(MAX_EXPIRED + 1)]
    listed = _beat([SuppressionRule(Scope(), frozenset(), "Tests.", "us", day) for day in days]).expired_exceptions
    assert [row["Expires"] for row in listed] == [day.isoformat() for day in days[:MAX_EXPIRED]]


def test_of_many_silent_accounts_the_first_are_listed_and_the_others_counted() -> None:
    """The row stays below the limit of a column, with the longest ids that are watched."""
    names = [f"{number:03}".rjust(MAX_ACCOUNT_BYTES, "a") for number in range(MAX_SILENT + 7)]
    longer = "b" * (MAX_ACCOUNT_BYTES + 1)
    beat = _beat(silent=[SilentAccount(name, START, 63) for name in [longer, *names]])
    first = {"ResourceId": names[0], "LastSeen": "2026-11-23T08:00:00+00:00", "UsualGapHours": 63}
    assert beat.silent_accounts[0] == first
    assert (len(beat.silent_accounts), beat.other_silent_accounts) == (MAX_SILENT, 8)
    assert len(json.dumps(beat.silent_accounts)) < 64 * 1024


def test_however_many_accounts_are_silent_each_is_listed_in_its_turn() -> None:
    """Beside the latest, which every heartbeat lists."""
    names = [f"{number:04}" for number in range(1_234)]
    silent = [SilentAccount(name, START, 63) for name in names]
    told = set[str]()
    for window in range(24):
        beat = _beat(silent=silent, at=START + window * BUCKET)
        listed = [str(one["ResourceId"]) for one in beat.silent_accounts]
        assert listed[: MAX_SILENT // 2] == names[: MAX_SILENT // 2]
        assert (len({*listed}), beat.other_silent_accounts) == (MAX_SILENT, len(names) - MAX_SILENT)
        told |= {*listed}
    assert told == {*names}


def test_of_many_groups_of_others_the_largest_are_listed_and_the_column_stays_small() -> None:
    """With the longest names that lead groups."""
    crowds = [Crowd("model_theft", f"{number:03}{'\U0001f600' * 2_000}", number) for number in range(MAX_CROWDS + 5)]
    beat = _beat(crowds=crowds)
    assert [one["Records"] for one in beat.truncated_groups] == [*range(MAX_CROWDS + 4, 4, -1)]
    assert beat.other_truncated_groups == 5
    assert len(json.dumps(beat.truncated_groups, ensure_ascii=False).encode()) < 64 * 1024
