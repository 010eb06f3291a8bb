"""Rows of findings and heartbeats: the one schema, and values that the Logs Ingestion API takes."""

import json
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from detectors import __version__
from detectors.evaluation.episodes import Episode, EpisodeChange, Status, finding_id
from detectors.evaluation.policy import Suppression
from detectors.evaluation.window import MAX_LISTED, GroupResult, Range
from detectors.events import Source
from detectors.reporting.finding import Finding, as_json, columns, finding
from detectors.reporting.heartbeat import Heartbeat, RunProgress, count_up, heartbeat, measure_health
from detectors.rules.counters import Counters, Selected
from detectors.rules.rule import Trigger
from detectors.rules.tally import MAX_MEMBER_CHARACTERS, Key, Lengths, Tally
from detectors.sources.source import MAX_WHOLE
from detectors.storage.buckets import Watermark
from detectors.windows import microseconds
from local.monitor import misfits
from tests.builders import NAMESPACE, PIPELINE, SOURCE, START, SUBSCRIPTION, canonical_id

WINDOW_END = START + timedelta(hours=1)
NOW = WINDOW_END + timedelta(seconds=45)
GROUP = (canonical_id(),)

RESERVED = {
    "id",
    "title",
    "type",
    "tenantid",
    "uniqueid",
    "_resourceid",
    "_subscriptionid",
    "_itemid",
    "_resourcegroup",
    "_timereceived",
    "billedsize",
    "isbillable",
    "invalidtimegenerated",
}

FINDING_COLUMNS = {
    "TimeGenerated": "datetime",
    "FindingId": "string",
    "EpisodeId": "string",
    "Status": "string",
    "RuleId": "string",
    "RuleName": "string",
    "RuleVersion": "long",
    "Severity": "string",
    "RiskScore": "long",
    "WindowStart": "datetime",
    "WindowEnd": "datetime",
    "SubscriptionId": "string",
    "ResourceGroup": "string",
    "ResourceName": "string",
    "ResourceId": "string",
    "Group": "dynamic",
    "EventCount": "long",
    "MaxResponseLength": "long",
    "TotalResponseLength": "long",
    "AvgRequestLength": "real",
    "Triggers": "dynamic",
    "Suppression": "dynamic",
    "FirstEventTime": "datetime",
    "LastEventTime": "datetime",
    "Callers": "dynamic",
    "CallersTruncated": "boolean",
    "Members": "dynamic",
    "BucketCounts": "dynamic",
    "Evidence": "dynamic",
    "Techniques": "dynamic",
    "DetectorVersion": "string",
}

HEARTBEAT_COLUMNS = {
    "TimeGenerated": "datetime",
    "WindowStart": "datetime",
    "WindowEnd": "datetime",
    "Messages": "long",
    "Records": "long",
    "RecordsSelected": "long",
    "SelectedWithLength": "long",
    "SelectedByRule": "dynamic",
    "RecordsQuarantined": "long",
    "QuarantinedByReason": "dynamic",
    "UnknownRecords": "dynamic",
    "ResourcesSeen": "long",
    "Accounts": "dynamic",
    "Findings": "long",
    "OpenEpisodes": "long",
    "WindowsCaughtUp": "long",
    "WindowsSkipped": "long",
    "Reevaluated": "boolean",
    "Partitions": "dynamic",
    "MaxLagSeconds": "real",
    "ExpiredExceptions": "dynamic",
    "SilentAccounts": "dynamic",
    "OtherSilentAccounts": "long",
    "EmptyHours": "long",
    "TruncatedGroups": "dynamic",
    "OtherTruncatedGroups": "long",
    "FailedRules": "dynamic",
    "DetectorVersion": "string",
}


def _finding(
    tally: Tally, *, status: Status = Status.NEW, triggers: list[Trigger] | None = None, evidence: int = 1
) -> dict[str, Any]:
    result = GroupResult(
        rule_id="model_theft",
        group=GROUP,
        tally=tally,
        bucket_counts=[tally.count, 0, 0, 0, 0, 0],
        evidence=[Range(NAMESPACE, "llm-logs", str(number), 5, 90) for number in range(evidence)],
        triggers=triggers or [],
        severity="High",
    )
    episode = Episode("an-episode", "model_theft", GROUP, "20261123T0900Z", {})
    return as_json(finding(EpisodeChange(status, episode, result), WINDOW_END, NOW))


def _time(value: object) -> datetime:
    assert isinstance(value, str)
    return datetime.fromisoformat(value)


@pytest.mark.parametrize("table", [Finding, Heartbeat])
def test_every_column_has_a_name_that_log_analytics_takes(table: type[msgspec.Struct]) -> None:
    """2 to 45 characters, a letter first, then letters, digits and underscores, and none of the reserved names."""
    names = list(columns(table))
    assert [name for name in names if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{1,44}", name)] == []
    assert {name.lower() for name in names}.isdisjoint(RESERVED)
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize(("table", "expected"), [(Finding, FINDING_COLUMNS), (Heartbeat, HEARTBEAT_COLUMNS)])
def test_the_columns_are_the_contract(table: type[msgspec.Struct], expected: dict[str, str]) -> None:
    """Name, type and order: the rule that takes rows drops what it does not know, without a word."""
    assert list(columns(table).items()) == list(expected.items())


def test_a_finding_says_what_happened() -> None:
    """Every column has its value."""
    tally = Tally(
        count=120,
        requests=Lengths(4, 10, 6),
        responses=Lengths(3, 2_000_000, 1_500_000),
        first_time=microseconds(START),
        last_time=microseconds(START) + 1,
        first_sequence=5,
        last_sequence=90,
        callers={PIPELINE: 20, "ip 81.2.69.***": 100},
    )
    triggers = [Trigger("count", "count", 120, 100)]
    found = _finding(tally, triggers=triggers)
    assert found == {
        "TimeGenerated": "2026-11-23T09:00:45Z",
        "FindingId": finding_id(Key("model_theft", GROUP), WINDOW_END),
        "EpisodeId": "an-episode",
        "Status": "New",
        "RuleId": "model_theft",
        "RuleName": "Potential Azure OpenAI Model Theft",
        "RuleVersion": 1,
        "Severity": "High",
        "RiskScore": 47,
        "WindowStart": "2026-11-23T08:00:00Z",
        "WindowEnd": "2026-11-23T09:00:00Z",
        "SubscriptionId": SUBSCRIPTION,
        "ResourceGroup": "rg-ai",
        "ResourceName": "aoai-prod",
        "ResourceId": canonical_id(),
        "Group": {"ResourceId": canonical_id()},
        "EventCount": 120,
        "MaxResponseLength": 1_500_000,
        "TotalResponseLength": 2_000_000,
        "AvgRequestLength": 2.5,
        "Triggers": [{"Name": "count", "Measure": "count", "Value": 120, "Threshold": 100}],
        "Suppression": None,
        "FirstEventTime": "2026-11-23T08:00:00Z",
        "LastEventTime": "2026-11-23T08:00:00.000001Z",
        "Callers": [
            {"ObjectId": "", "IpAddress": "81.2.69.***", "Count": 100},
            {"ObjectId": PIPELINE, "IpAddress": "", "Count": 20},
        ],
        "CallersTruncated": False,
        "Members": [],
        "BucketCounts": [120, 0, 0, 0, 0, 0],
        "Evidence": [
            {"Namespace": NAMESPACE, "Hub": "llm-logs", "Partition": "0", "FirstSequence": 5, "LastSequence": 90}
        ],
        "Techniques": ["AML.T0044", "LLM10"],
        "DetectorVersion": __version__,
    }
    assert list(found) == list(FINDING_COLUMNS)


def test_a_window_without_any_record_closes_an_episode() -> None:
    """All counts are 0, and what no record carried is empty, not 0."""
    found = _finding(Tally(), status=Status.CLOSED, evidence=0)
    assert (found["Status"], found["EventCount"], found["BucketCounts"]) == ("Closed", 0, [0] * 6)
    empty = ["MaxResponseLength", "TotalResponseLength", "AvgRequestLength", "FirstEventTime", "LastEventTime"]
    assert [found[name] for name in empty] == [None] * 5
    assert (found["Triggers"], found["Callers"], found["Evidence"]) == ([], [], [])
    assert found["CallersTruncated"] is False
    assert (found["ResourceId"], found["WindowEnd"]) == (canonical_id(), "2026-11-23T09:00:00Z")


def test_what_an_exception_explains_says_so() -> None:
    """Who answers for it, and until when."""
    result = GroupResult(
        "denial_of_service",
        (canonical_id(), "2026-11-23T08:05Z"),
        Tally(count=12),
        [12, 0, 0, 0, 0, 0],
        [],
        [],
        suppression=Suppression("load test", "platform team", date(2027, 3, 31)),
    )
    episode = Episode("an-episode", "denial_of_service", GROUP, "20261123T0900Z", {})
    found = as_json(finding(EpisodeChange(Status.SUPPRESSED, episode, result), WINDOW_END, NOW))
    assert (found["Status"], found["Group"]) == (
        "Suppressed",
        {"ResourceId": canonical_id(), "Minute": "2026-11-23T08:05Z"},
    )
    assert found["Suppression"] == {"Reason": "load test", "Owner": "platform team", "Expires": "2027-03-31"}
    assert found["FindingId"] == finding_id(result.key, START)
    assert misfits(found, FINDING_COLUMNS) == []


def test_callers_are_listed_by_bytes_where_bytes_are_known() -> None:
    """The heaviest first, though it called once; also one whose records found no room."""
    tally = Tally(
        count=9, callers={"many": 7, "ip 81.2.69.***": 1}, other_callers=1, caller_bytes={"thief": 900, "many": 5}
    )
    assert _finding(tally)["Callers"] == [
        {"ObjectId": "thief", "IpAddress": "", "Count": 0, "Bytes": 900},
        {"ObjectId": "many", "IpAddress": "", "Count": 7, "Bytes": 5},
        {"ObjectId": "", "IpAddress": "81.2.69.***", "Count": 1},
    ]


def test_a_length_of_0_is_not_a_missing_one() -> None:
    """The record that carried it says something."""
    found = _finding(Tally(count=1, requests=Lengths(1, 0, 0), responses=Lengths(1, 0, 0)))
    lengths = ("MaxResponseLength", "TotalResponseLength", "AvgRequestLength")
    assert [found[name] for name in lengths] == [0, 0, 0]


@pytest.mark.parametrize(
    ("callers", "other", "listed", "truncated"),
    [(50, 0, 50, False), (51, 0, 50, True), (50, 1, 50, True), (300, 7, 50, True), (0, 0, 0, False)],
)
def test_callers_are_bounded_and_marked(callers: int, other: int, listed: int, truncated: bool) -> None:  # noqa: FBT001
    """Those with most records first; whoever reads them sees that some are missing."""
    tally = Tally(count=1, callers={f"id-{n:03d}": n + 1 for n in range(callers)}, other_callers=other)
    found = _finding(tally)
    assert (len(found["Callers"]), found["CallersTruncated"]) == (listed, truncated)
    counts = [caller["Count"] for caller in found["Callers"]]
    assert counts == sorted(counts, reverse=True)
    assert not counts or counts[0] == callers


@pytest.mark.parametrize("callers", [0, 49, 50, 51, 200])
@pytest.mark.parametrize("weighed", [0, 30, 200])
def test_a_shortened_tally_gives_the_same_finding(callers: int, weighed: int) -> None:
    """A result carries no more callers than its finding lists, and nobody can tell from the row."""
    tally = Tally(
        count=400,
        callers={f"id-{n:03d}": n % 7 + 1 for n in range(callers)},
        other_callers=max(0, weighed - callers),
        caller_bytes={f"id-{n:03d}": n % 11 for n in range(weighed)},
    )
    assert _finding(tally.shortened(MAX_LISTED)) == _finding(tally)


def test_members_are_listed_by_count_and_bounded() -> None:
    """Those with most records first; of a rule that counts none there are none."""
    tally = Tally(count=9, members={"aoai-lab": 1, "aoai-prod": 7, "aoai-dev": 1})
    assert _finding(tally)["Members"] == [
        {"Name": "aoai-prod", "Count": 7},
        {"Name": "aoai-dev", "Count": 1},
        {"Name": "aoai-lab", "Count": 1},
    ]
    many = Tally(count=99, members={f"aoai-{n:03d}": n % 7 + 1 for n in range(99)})
    assert len(_finding(many)["Members"]) == MAX_LISTED
    assert _finding(many.shortened(MAX_LISTED)) == _finding(many)


def test_callers_of_equal_count_have_an_order() -> None:
    """The same finding gives the same row, however the tally came together."""
    one, other = (_finding(Tally(count=2, callers=dict.fromkeys(order, 1))) for order in ("ab", "ba"))
    assert one == other


def test_evidence_is_bounded() -> None:
    """A hub may have hundreds of partitions."""
    assert MAX_LISTED == 50
    assert len(_finding(Tally(count=1), evidence=50)["Evidence"]) == 50
    assert len(_finding(Tally(count=1), evidence=200)["Evidence"]) == 50


def _largest() -> dict[str, Any]:
    tally = Tally(
        count=2**62,
        requests=Lengths(1, MAX_WHOLE, MAX_WHOLE),
        responses=Lengths(1, MAX_WHOLE, MAX_WHOLE),
        first_time=0,
        last_time=microseconds(NOW),
        callers={f"{n:03d}{'\N{SNOWMAN}' * 125}": MAX_WHOLE for n in range(80)},
        other_callers=5,
        caller_bytes={f"{n:03d}{'\N{SNOWMAN}' * 125}": MAX_WHOLE for n in range(40, 120)},
        other_bytes=MAX_WHOLE,
        members={f"{n:03d}{'\N{SNOWMAN}' * (MAX_MEMBER_CHARACTERS - 3)}": MAX_WHOLE for n in range(100)},
    )
    return _finding(tally, triggers=[Trigger("count", "count", 1e300, 1)] * 2, evidence=300)


def _beat() -> dict[str, Any]:
    counters = Counters(
        messages=3,
        records=10,
        selected={"model_theft": Selected(6, 2), "another": Selected(1, 0)},
        quarantined={"not_json": 2, "no_resource": 1},
        lag_ms=1500,
        accounts=[canonical_id()],
        by_any_rule=Selected(6, 2),
        unknown={"log": 1, "data, id": 4},
    )
    silent = Source(NAMESPACE, "llm-logs", "1")
    watermarks = {silent: Watermark(7, microseconds(START)), SOURCE: Watermark(90, microseconds(START))}
    health = measure_health(count_up([(SOURCE, counters)]), watermarks.items())
    progress = RunProgress(windows_caught_up=2, windows_skipped=1, reevaluated=True)
    return as_json(heartbeat(WINDOW_END, NOW, health, progress, resources_seen=4, findings=1, open_episodes=5))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (partial(_finding, Tally(count=1)), FINDING_COLUMNS),
        (partial(_finding, Tally(), status=Status.CLOSED, evidence=0), FINDING_COLUMNS),
        (_largest, FINDING_COLUMNS),
        (_beat, HEARTBEAT_COLUMNS),
    ],
    ids=["finding", "closed", "largest", "heartbeat"],
)
def test_a_row_is_plain_json_that_fits_its_columns(
    make: Callable[[], dict[str, Any]], expected: dict[str, str]
) -> None:
    """No value needs an encoder, none is NaN, every column is there, and no field reaches the 64 KB of a column."""
    made = make()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert list(made) == list(expected)
    assert misfits(made, expected) == []
    assert all(len(json.dumps(value, ensure_ascii=False).encode()) < 64 * 1024 for value in made.values())


def test_times_are_utc_and_in_order() -> None:
    """Sentinel compares them with its own."""
    found = _finding(Tally(count=1))
    times = [_time(found[name]) for name in ("WindowStart", "WindowEnd", "TimeGenerated")]
    assert times == [START, WINDOW_END, NOW]
    assert all(time.utcoffset() == timedelta() for time in times)


def test_a_heartbeat_says_what_an_evaluation_saw() -> None:
    """Sums over rules and reasons, and the canary of lengths."""
    assert _beat() == {
        "TimeGenerated": "2026-11-23T09:00:45Z",
        "WindowStart": "2026-11-23T08:00:00Z",
        "WindowEnd": "2026-11-23T09:00:00Z",
        "Messages": 3,
        "Records": 10,
        "RecordsSelected": 6,
        "SelectedWithLength": 2,
        "SelectedByRule": [
            {"RuleId": "another", "Records": 1, "WithLength": 0},
            {"RuleId": "model_theft", "Records": 6, "WithLength": 2},
        ],
        "RecordsQuarantined": 3,
        "QuarantinedByReason": [{"Reason": "no_resource", "Records": 1}, {"Reason": "not_json", "Records": 2}],
        "UnknownRecords": [{"Fields": "data, id", "Records": 4}, {"Fields": "log", "Records": 1}],
        "ResourcesSeen": 4,
        "Accounts": [canonical_id()],
        "Findings": 1,
        "OpenEpisodes": 5,
        "WindowsCaughtUp": 2,
        "WindowsSkipped": 1,
        "Reevaluated": True,
        "Partitions": [
            {
                "Namespace": NAMESPACE,
                "Hub": "llm-logs",
                "Partition": "0",
                "LastSequence": 90,
                "LastArrival": "2026-11-23T08:00:00Z",
                "LagSeconds": 1.5,
            },
            {
                "Namespace": NAMESPACE,
                "Hub": "llm-logs",
                "Partition": "1",
                "LastSequence": 7,
                "LastArrival": "2026-11-23T08:00:00Z",
                "LagSeconds": None,
            },
        ],
        "MaxLagSeconds": 1.5,
        "ExpiredExceptions": [],
        "SilentAccounts": [],
        "OtherSilentAccounts": 0,
        "EmptyHours": None,
        "TruncatedGroups": [],
        "OtherTruncatedGroups": 0,
        "FailedRules": [],
        "DetectorVersion": __version__,
    }
