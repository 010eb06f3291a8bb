"""The generated day is held against a recount that shares no code with the generator."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from local.samples import Attack, Kind
from local.traffic import Bucket, Message, Scenario, Traffic, Truth

type Record = dict[str, Any]

SCENARIO = Scenario(records=6_000, seed=7, malformed=44)
# A key reading that is whole, wherever it stands: its text has exactly one level of braces inside.
WHOLE_READING = re.compile(rb'\{"AssetIdentity":[^{}]*\{[^{}]*\}[^{}]*\}')
SIGNS = {
    b"blob data ]": Kind.BLOB_DATA,
    b"{'category'": Kind.SINGLE_QUOTES,
    b"Timeout\n": Kind.RAW_NEWLINE,
    b'"responseLength":"3"': Kind.TEXT_LENGTH,
    b'"responseLength":3.0': Kind.FLOAT_LENGTH,
    b'\\"responseLength\\":\\"3\\"': Kind.TEXT_LENGTH,
    b'\\"responseLength\\":3.0': Kind.FLOAT_LENGTH,
}


@pytest.fixture(scope="module")
def traffic() -> tuple[list[Message], Truth]:
    """Generate the small day once for every test that only looks at it."""
    day = Traffic(SCENARIO)
    return list(day), day.truth


@pytest.fixture(scope="module")
def sound_traffic() -> tuple[list[Message], Truth]:
    """The same for a day on which nothing is malformed."""
    day = Traffic(Scenario(records=6_000, seed=11, malformed=0))
    return list(day), day.truth


def unpack(body: bytes) -> list[Any]:
    """Give the records of a well-formed message, whatever its envelope."""
    document = json.loads(body)
    if isinstance(document, dict):
        document = document.get("records", [document])
    assert isinstance(document, list)
    return document


def records(messages: list[Message]) -> Iterator[tuple[Message, Record]]:
    """Give each record of sound messages with the message it came in."""
    for message in messages:
        for record in unpack(message.body):
            yield message, record


def is_reading(record: Record) -> bool:
    """Tell a ListKey audit record."""
    return (record["category"], record["operationName"]) == ("Audit", "ListKey")


def properties(record: Record) -> Record:
    """Give the properties of a record, which may be JSON in a string."""
    value = record["properties"]
    decoded = json.loads(value) if isinstance(value, str) else value
    return decoded if isinstance(decoded, dict) else {}


def bucket_of(message: Message, record: Record) -> Bucket:
    """Give the resource and the 10-minute bucket of arrival that a reading counts for."""
    seconds = int(message.enqueued.timestamp()) // 600 * 600
    return record["resourceId"].lower(), datetime.fromtimestamp(seconds, UTC)


def kind_of(body: bytes) -> Kind | None:
    """Tell what is wrong with a message from its bytes alone."""
    signs = [kind for sign, kind in SIGNS.items() if sign in body]
    if body.startswith(b"\xef\xbb\xbf"):
        signs.append(Kind.BYTE_ORDER_MARK)
    if body.endswith(b"\x00"):
        signs.append(Kind.TRAILING_NUL)
    try:
        found = unpack(body)
    except UnicodeDecodeError:
        signs.append(Kind.NOT_JSON)
    except json.JSONDecodeError:
        # Cut off, unless something else was found that explains it.
        signs = signs or [Kind.TRUNCATED]
    else:
        if not all(isinstance(record, dict) for record in found):
            signs.append(Kind.NUMBER_RECORD)
        elif any(is_reading(record) and record["resourceId"] is None for record in found):
            signs.append(Kind.NULL_RESOURCE)
    assert len(signs) < 2, "a message has one defect at most"
    return signs[0] if signs else None


def busiest_hours(readings: Counter[Bucket]) -> dict[str, int]:
    """Give for each resource the largest sum of six consecutive buckets."""
    busiest: dict[str, int] = defaultdict(int)
    for resource, first in readings:
        hour = sum(readings[resource, first + timedelta(minutes=10 * step)] for step in range(6))
        busiest[resource] = max(busiest[resource], hour)
    return busiest


def test_the_same_scenario_gives_the_same_messages(traffic: tuple[list[Message], Truth]) -> None:
    """A finding on generated data can be reproduced from its scenario."""
    again = Traffic(SCENARIO)

    assert list(again) == traffic[0]
    assert again.truth == traffic[1]


def test_iterating_twice_counts_once() -> None:
    """The truth is of one day, however often it was generated."""
    day = Traffic(Scenario(records=3_000))
    first = list(day)
    truth = day.truth

    assert list(day) == first
    assert day.truth == truth


def test_another_seed_gives_another_day(traffic: tuple[list[Message], Truth]) -> None:
    """The seed reaches the ids, not only the order."""
    other = Traffic(Scenario(records=6_000, seed=8))

    assert {message.body for message in other} & {message.body for message in traffic[0]} == {
        message.body for message in traffic[0] if kind_of(message.body) is Kind.NOT_JSON
    }
    assert not {*other.truth.attacked.values()} & {*traffic[1].attacked.values()}


def test_the_truth_is_not_known_before_the_end() -> None:
    """A partial count must not pass for the truth."""
    day = Traffic(Scenario(records=3_000))
    next(iter(day))

    with pytest.raises(RuntimeError, match="all messages"):
        _ = day.truth


def test_messages_arrive_in_order_in_every_partition(traffic: tuple[list[Message], Truth]) -> None:
    """Event Hubs never goes back in time within a partition."""
    arrivals: dict[int, list[datetime]] = defaultdict(list)
    for message in traffic[0]:
        arrivals[message.partition].append(message.enqueued)

    assert sorted(arrivals) == [0, 1, 2, 3]
    for enqueued in arrivals.values():
        assert all(earlier <= later for earlier, later in pairwise(enqueued))
        assert SCENARIO.start <= enqueued[0]
        assert enqueued[-1] < SCENARIO.start + SCENARIO.duration


def test_a_recount_of_sound_messages_is_the_truth(sound_traffic: tuple[list[Message], Truth]) -> None:
    """Messages, records, readings by bucket and the largest lengths are what stdlib json finds."""
    messages, truth = sound_traffic
    found = list(records(messages))
    readings = [(message, record) for message, record in found if is_reading(record)]
    lengths: dict[str, int] = {}
    for _, record in readings:
        resource = record["resourceId"].lower()
        if (length := properties(record).get("responseLength")) is not None:
            lengths[resource] = max(length, lengths.get(resource, 0))

    assert truth.messages == len(messages)
    assert truth.records == len(found) == 6_000
    assert truth.list_keys == Counter(bucket_of(*reading) for reading in readings)
    assert truth.max_response_length == lengths
    assert truth.malformed == {}


def test_a_recount_of_malformed_messages_is_the_truth(traffic: tuple[list[Message], Truth]) -> None:
    """Every kind occurs as often as said, with as many whole key readings as said."""
    messages, truth = traffic
    seen: Counter[Kind] = Counter()
    certain: dict[Kind | None, Counter[Bucket]] = defaultdict(Counter)
    for message in messages:
        kind = kind_of(message.body)
        seen.update([kind] if kind else [])
        for reading in map(json.loads, WHOLE_READING.findall(message.body)):
            if reading["resourceId"] is not None:
                certain[kind][bucket_of(message, reading)] += 1

    assert seen == dict.fromkeys(Kind, 4)
    assert {kind: damage.messages for kind, damage in truth.malformed.items()} == seen
    assert certain[None] == truth.list_keys
    for kind in Kind:
        assert certain[kind] == truth.malformed[kind].certain, kind
    assert truth.malformed[Kind.NOT_JSON].certain.total() == 0
    assert truth.malformed[Kind.TEXT_LENGTH].certain.total() == 12


def test_what_is_expected_depends_on_what_is_repaired(traffic: tuple[list[Message], Truth]) -> None:
    """A detector that quarantines a kind is held to the rest only."""
    truth = traffic[1]
    kinds = [Kind.BYTE_ORDER_MARK, Kind.TRAILING_NUL]

    assert truth.expected([]) == truth.list_keys
    assert truth.expected(kinds).total() == truth.list_keys.total() + 16
    assert truth.expected().total() == truth.list_keys.total() + sum(
        damage.certain.total() for damage in truth.malformed.values()
    )


def test_the_day_has_about_as_many_records_as_asked_for(traffic: tuple[list[Message], Truth]) -> None:
    """The malformed messages come on top, and are few."""
    written = sum(message.body.count(b'"category"') for message in traffic[0])

    assert traffic[1].records == SCENARIO.records
    assert written == pytest.approx(SCENARIO.records, rel=0.05)


def test_only_attacked_accounts_cross_the_thresholds(traffic: tuple[list[Message], Truth]) -> None:
    """Two by the count of an hour, one by the length alone, and no other."""
    truth = traffic[1]
    busiest = busiest_hours(truth.expected())
    harvested, slow, exfiltrated = (truth.attacked[attack] for attack in Attack)

    assert busiest[harvested] >= 400
    assert 150 <= busiest[slow] <= 220
    assert busiest[exfiltrated] < 50
    assert truth.max_response_length == {exfiltrated: 3_400_000}
    assert all(count < 50 for resource, count in busiest.items() if resource not in (harvested, slow))


def test_the_slow_attack_takes_an_hour_to_be_seen(traffic: tuple[list[Message], Truth]) -> None:
    """No single bucket of it comes near the threshold."""
    truth = traffic[1]
    slow = truth.attacked[Attack.SLOW]

    assert max(count for (resource, _), count in truth.list_keys.items() if resource == slow) < 60


def test_other_rules_have_nothing_to_find(sound_traffic: tuple[list[Message], Truth]) -> None:
    """Ordinary chat is neither long on average in any busy minute nor answered with nothing."""
    minutes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for _, record in records(sound_traffic[0]):
        if record["operationName"] == "ChatCompletions_Create" and (detail := properties(record)):
            minutes[record["resourceId"].lower(), record["time"][:16]].append(detail["requestLength"])
            assert record["resultSignature"] != "200" or detail["responseLength"] > 0

    assert sum(map(len, minutes.values())) > 2_000
    assert all(sum(lengths) / len(lengths) < 5_000 for lengths in minutes.values() if len(lengths) >= 10)


def test_same_named_accounts_live_in_different_subscriptions(
    sound_traffic: tuple[list[Message], Truth],
) -> None:
    """Grouping without the subscription would mix an attacked account with a quiet one."""
    messages, truth = sound_traffic
    ids = {
        record["resourceId"].lower()
        for _, record in records(messages)
        if record["category"] in {"Audit", "RequestResponse"}
    }
    harvested = truth.attacked[Attack.HARVEST]
    twins = {one for one in ids if one.split("/")[4:] == harvested.split("/")[4:]}

    assert len(ids) == 12
    assert len({one.split("/")[2] for one in ids}) == 3
    assert len(twins) == 2
    assert harvested in twins


def test_the_quirks_of_real_hubs_occur(sound_traffic: tuple[list[Message], Truth]) -> None:
    """Spellings, types, envelopes and neighbours vary as in the wild, among key readings too."""
    messages, _ = sound_traffic
    found = [record for _, record in records(messages)]
    readings = [record for record in found if is_reading(record)]
    requests = [record for record in found if record["category"] == "RequestResponse"]

    for some in (readings, requests):
        ids = [record["resourceId"] for record in some]
        assert sum(one.isupper() for one in ids) > len(ids) / 2
        assert any(one.islower() for one in ids)
        assert any(not one.isupper() and not one.islower() for one in ids)
        assert {type(record["properties"]) for record in some} >= {str, dict}
    assert any(record["durationMs"] < 0 for record in requests)
    assert {record["resultSignature"] for record in requests} == {"200", "429", "400"}
    assert {len(record["time"]) for record in requests} == {20, 24, 28}
    assert {type(record["properties"]) for record in found} == {str, dict, list, type(None)}
    assert {message.body[:2] for message in messages} == {b'{"', b"[{"}
    assert any(not message.body.startswith((b'{"records"', b"[")) for message in messages)
    assert any("ListKey" in str(record["properties"]) and not is_reading(record) for record in found)


def test_records_arrive_seconds_to_minutes_after_their_own_time(
    sound_traffic: tuple[list[Message], Truth],
) -> None:
    """The lag is what the arrival buckets have to bear."""
    lags = [
        (message.enqueued - datetime.fromisoformat(record["time"])).total_seconds()
        for message, record in records(sound_traffic[0])
        if record["time"]
    ]

    assert min(lags) >= 3
    assert max(lags) < 300
    assert sum(lag < 60 for lag in lags) > len(lags) / 2
    assert any(lag > 180 for lag in lags)


def test_request_times_are_dotnet_ticks_of_the_same_moment(
    sound_traffic: tuple[list[Message], Truth],
) -> None:
    """Ticks are tenths of microseconds since year 1."""
    compared = 0
    for _, record in records(sound_traffic[0]):
        if record["category"] == "RequestResponse" and (detail := properties(record)):
            ticks = detail["requestTime"]
            moment = datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)
            assert abs(moment - datetime.fromisoformat(record["time"])) < timedelta(seconds=1)
            compared += 1

    assert compared > 4_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": datetime(2026, 3, 2)},  # noqa: DTZ001 - that is what is wrong
        {"duration": timedelta(hours=3)},
        {"records": 2_999},
        {"partitions": 0},
        {"malformed": -1},
    ],
)
def test_a_scenario_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Better no day than one without its attacks."""
    with pytest.raises(ValueError, match=r"must be|need"):
        Scenario(**wrong)


def test_the_smallest_scenario_still_has_its_attacks() -> None:
    """Four hours and 3,000 records hold every attack."""
    day = Traffic(Scenario(records=3_000, duration=timedelta(hours=4), partitions=1, malformed=11))
    last = list(day)[-1]
    busiest = busiest_hours(day.truth.expected())

    assert last.enqueued < day.scenario.start + timedelta(hours=4)
    assert busiest[day.truth.attacked[Attack.HARVEST]] >= 100
    assert busiest[day.truth.attacked[Attack.SLOW]] >= 100
    assert {*day.truth.malformed} == {*Kind}
