"""The generated day is held against a recount that shares no code with the generator."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from local.expected_findings import FIRST_SEEN, expectation
from local.ground_truth import Group, Truth
from local.samples import Kind
from local.traffic import Message, Scenario, Traffic
from tests import oracle
from tests.local.days import WHOLE, bucket_of, day, is_reading, properties, records, unpack

SCENARIO = Scenario(records=6_000, seed=7, malformed=44)
SOUND = Scenario(records=6_000, seed=11, malformed=0)
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
def traffic() -> tuple[Sequence[Message], Truth]:
    """Generate the small day once for every test that only looks at it."""
    return day(SCENARIO)


@pytest.fixture(scope="module")
def sound_traffic() -> tuple[Sequence[Message], Truth]:
    """Provide the same for a day on which nothing is malformed."""
    return day(SOUND)


def _is_ordinary(place: tuple[str, Group]) -> bool:
    """Whether it is about an account with ordinary load."""
    return "/accounts/aoai-" in place[1][0]


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


def test_the_same_scenario_gives_the_same_messages(traffic: tuple[Sequence[Message], Truth]) -> None:
    """A finding on generated data can be reproduced from its scenario."""
    again = Traffic(SCENARIO)

    assert tuple(again) == traffic[0]
    assert again.truth == traffic[1]


def test_iterating_twice_counts_once() -> None:
    """The truth is of one day, however often it was generated."""
    day = Traffic(Scenario(records=6_000))
    first = list(day)
    truth = day.truth

    assert list(day) == first
    assert day.truth == truth


def test_another_seed_gives_another_day(traffic: tuple[Sequence[Message], Truth]) -> None:
    """The seed reaches the ids, not only the order."""
    other, truth = day(Scenario(records=6_000, seed=8))
    accounts = [
        {key[1][0] for sums in found.sums.values() for key in sums if _is_ordinary(key)}
        for found in (truth, traffic[1])
    ]

    bodies = [
        {message.body for message in messages if b"/accounts/aoai-" in message.body.lower()}
        for messages in (other, traffic[0])
    ]
    assert not bodies[0] & bodies[1]
    assert len(bodies[0]) > 100
    assert len(accounts[0]) == len(accounts[1]) == 12
    assert not accounts[0] & accounts[1]


def test_the_truth_is_not_known_before_the_end() -> None:
    """A partial count must not pass for the truth."""
    day = Traffic(Scenario(records=6_000))
    next(iter(day))

    with pytest.raises(RuntimeError, match="all messages"):
        _ = day.truth


def test_messages_arrive_in_order_in_every_partition(traffic: tuple[Sequence[Message], Truth]) -> None:
    """Event Hubs never goes back in time within a partition."""
    arrivals: dict[int, list[datetime]] = defaultdict(list)
    for message in traffic[0]:
        arrivals[message.partition].append(message.enqueued)

    assert sorted(arrivals) == [0, 1, 2, 3]
    for enqueued in arrivals.values():
        assert all(earlier <= later for earlier, later in pairwise(enqueued))
        assert SCENARIO.start <= enqueued[0]
        assert enqueued[-1] < SCENARIO.start + SCENARIO.duration


def test_a_recount_of_sound_messages_is_the_truth(sound_traffic: tuple[Sequence[Message], Truth]) -> None:
    """Messages, records, and what each rule counts for whom in which bucket, are what stdlib json finds."""
    messages, truth = sound_traffic
    found = list(records(messages))
    recount = Counter((*place, bucket_of(message)) for message, record in found for place in oracle.places(record))
    told = Counter({place: count for place, count in truth.counts().items() if place[0] in oracle.RULES})

    assert truth.messages == len(messages)
    assert truth.records == len(found) == 6_000
    assert told == recount
    assert {rule_id for rule_id, *_ in recount} == oracle.RULES
    assert not truth.malformed


def test_lengths_and_callers_of_sound_messages_are_the_truth(sound_traffic: tuple[Sequence[Message], Truth]) -> None:
    """Not only how many records a group has: how long they are, and how much went to whom."""
    messages, truth = sound_traffic
    found: dict[tuple[str, Group, datetime], oracle.Group] = defaultdict(oracle.Group)
    for message, record in records(messages):
        for place in oracle.places(record):
            found[*place, bucket_of(message)].records.append(record)
    assert len(found) > 2_000
    for (rule_id, group, bucket), recounted in found.items():
        one = truth.sums[bucket][rule_id, group]
        assert sorted(one.numbers["request_length"].elements()) == sorted(recounted.requests)
        assert sorted(one.numbers["response_length"].elements()) == sorted(recounted.responses)
        received = Counter({caller.removeprefix("ip "): total for caller, total in one.received.items()})
        assert +received == +Counter(recounted.bytes_by_caller())


def test_a_recount_of_malformed_messages_is_the_truth(traffic: tuple[Sequence[Message], Truth]) -> None:
    """Every kind occurs as often as said, and each record that is whole counts as one of a sound message."""
    messages, truth = traffic
    seen: Counter[Kind] = Counter()
    recount: Counter[tuple[str, Group, datetime]] = Counter()
    for message in messages:
        kind = kind_of(message.body)
        seen.update([kind] if kind else [])
        found = [json.loads(text) for text in WHOLE.findall(message.body)] if kind else unpack(message.body)
        recount.update((*place, bucket_of(message)) for record in found for place in oracle.places(record))

    assert seen == dict.fromkeys(Kind, 4)
    assert truth.malformed == seen
    told = Counter({place: count for place, count in truth.counts().items() if place[0] in oracle.RULES})
    assert told == recount


def test_the_day_has_about_as_many_records_as_asked_for(traffic: tuple[Sequence[Message], Truth]) -> None:
    """The malformed messages come on top, and are few."""
    signs = b'"category"', b'"schemaType"'
    written = sum(message.body.count(sign) for message in traffic[0] for sign in signs)

    assert traffic[1].records == SCENARIO.records
    assert written == pytest.approx(SCENARIO.records, rel=0.05)


def test_same_named_accounts_live_in_different_subscriptions(
    sound_traffic: tuple[Sequence[Message], Truth],
) -> None:
    """Grouping without the subscription would mix an attacked account with one whose traffic only looks like it."""
    messages, truth = sound_traffic
    ids = {
        record["resourceId"].lower()
        for _, record in records(messages)
        if record.get("category") in {"Audit", "RequestResponse"}
    }
    for rule_id, subject in truth.attacked.items():
        if subject in ids:
            twins = {one for one in ids if one.split("/")[4:] == subject.split("/")[4:]}
            assert twins == {subject, truth.resembling[rule_id]}
    assert len({one for one in ids if "/aoai-" in one}) == 12
    assert len({one.split("/")[2] for one in ids}) == 5


def test_the_quirks_of_real_hubs_occur(sound_traffic: tuple[Sequence[Message], Truth]) -> None:
    """Spellings, types, envelopes and neighbours vary as in the wild, among key readings too."""
    messages, _ = sound_traffic
    found = [record for _, record in records(messages)]
    readings = [record for record in found if is_reading(record)]
    requests = [record for record in found if record.get("category") == "RequestResponse"]

    for some in (readings, requests):
        ids = [record["resourceId"] for record in some]
        assert sum(one.isupper() for one in ids) > len(ids) / 2
        assert any(one.islower() for one in ids)
        assert any(not one.isupper() and not one.islower() for one in ids)
        assert {type(record["properties"]) for record in some} >= {str, dict}
    assert any(record["durationMs"] < 0 for record in requests)
    assert {record["resultSignature"] for record in requests} == {"200", "400", "401", "403", "429"}
    assert {len(record["time"]) for record in requests} == {20, 24, 28}
    assert {type(record["properties"]) for record in found if "category" in record} == {str, dict, list, type(None)}
    assert {message.body[:2] for message in messages} == {b'{"', b"[{"}
    assert any(not message.body.startswith((b'{"records"', b"[")) for message in messages)
    assert any("ListKey" in str(record.get("properties")) and not is_reading(record) for record in found)


def test_records_arrive_seconds_to_minutes_after_their_own_time(
    sound_traffic: tuple[Sequence[Message], Truth],
) -> None:
    """The lag is what the arrival buckets have to bear."""
    lags = [
        (message.enqueued - datetime.fromisoformat(time)).total_seconds()
        for message, record in records(sound_traffic[0])
        if (time := record.get("time") or record.get("timestamp"))
    ]

    assert min(lags) >= 3
    assert max(lags) < 300
    assert sum(lag < 60 for lag in lags) > len(lags) / 2
    assert any(lag > 180 for lag in lags)


def test_request_times_are_dotnet_ticks_of_the_same_moment(
    sound_traffic: tuple[Sequence[Message], Truth],
) -> None:
    """Ticks are tenths of microseconds since year 1."""
    compared = 0
    for _, record in records(sound_traffic[0]):
        if record.get("category") == "RequestResponse" and (detail := properties(record)):
            ticks = detail["requestTime"]
            moment = datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)
            assert abs(moment - datetime.fromisoformat(record["time"])) < timedelta(seconds=1)
            compared += 1

    assert compared > 3_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": datetime(2026, 3, 2)},  # noqa: DTZ001 - that is what is wrong
        {"start": datetime(2026, 3, 2, second=1, tzinfo=UTC)},
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
    """Four hours and 3,000 records hold every attack, but for the newcomer, who needs a day of others before."""
    messages, truth = day(Scenario(records=6_000, duration=timedelta(hours=4), partitions=1, malformed=11))
    alerted = {(rule_id, group[0]) for rule_id, group in expectation(truth).alerts}

    assert messages[-1].enqueued < Scenario().start + timedelta(hours=4)
    assert alerted == {one for one in truth.attacked.items() if one[0] not in FIRST_SEEN}
    assert {*truth.malformed} == {*Kind}


def test_a_day_that_is_too_small_for_its_attacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules whose examples have more records need a larger one."""
    monkeypatch.setattr("local.traffic._FEWEST_RECORDS", 1)
    with pytest.raises(ValueError, match="records of attacks and look-alikes need a day of"):
        list(Traffic(Scenario(records=100)))
