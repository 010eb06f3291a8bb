"""Each attack, and each look-alike, counted by hand in the messages of a small day."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from local.attacks import ROTATION_JOB
from local.host import ROOT
from local.near_misses import TESTER
from local.samples import Attack
from local.traffic import Message, Scenario
from tests.local.days import Record, day, is_chat, is_reading, properties, records

SCENARIO = Scenario(records=4_000, malformed=0)
POLICY = re.compile(r'"(\w+)Policy": \{"\w+": \[([^\]]*)\]')
type Found = list[tuple[Message, Record]]


def about(subject: str) -> Found:
    """Return the records of an account, or of a user of Bedrock."""
    return [
        (message, record)
        for message, record in records(day(SCENARIO)[0])
        if subject in {(record.get("resourceId") or "").lower(), record.get("identity", {}).get("arn")}
    ]


def attacked(attack: Attack) -> Found:
    """Return the records of whom an attack is about."""
    return about(day(SCENARIO)[1].attacked[attack])


def busiest_hour(found: Found) -> int:
    """Return the most records that arrived within any hour."""
    arrivals = [message.enqueued for message, _ in found]
    return max(sum(begin <= one < begin + timedelta(hours=1) for one in arrivals) for begin in arrivals)


def readings(found: Found) -> Found:
    """Return the key readings among records."""
    return [(message, record) for message, record in found if is_reading(record)]


def callers(found: Found) -> Counter[str]:
    """Return records by object id."""
    return Counter(properties(record).get("objectId", "") for _, record in found)


def lengths(found: Found, name: str) -> list[int]:
    """Return the lengths that records tell."""
    return [length for _, record in found if (length := properties(record).get(name)) is not None]


def chats_by_minute(found: Found) -> dict[str, list[int]]:
    """Return the request lengths of chat completions, by the minute of their own time."""
    minutes: dict[str, list[int]] = {}
    for _, record in found:
        if is_chat(record):
            minutes.setdefault(record["time"][:16], []).append(properties(record).get("requestLength", 0))
    return minutes


def errors(found: Found, code: str) -> Iterator[Record]:
    """Return the calls that Bedrock refused for this reason."""
    return (record for _, record in found if record.get("errorCode") == code)


def blocking(found: Found) -> list[list[str]]:
    """Return the policies that blocked, of each call of Bedrock in which one did."""
    said = [POLICY.findall(json.dumps(record.get("output", {}))) for _, record in found]
    blocked = [[name for name, items in policies if "BLOCKED" in items] for policies in said]
    return [names for names in blocked if names]


def test_keys_are_listed_in_a_burst_slowly_and_with_large_answers() -> None:
    """By one, by two in turns, and five times only; the answers of no other account have a length."""
    harvest, slow, taken = (readings(attacked(one)) for one in (Attack.HARVEST, Attack.SLOW, Attack.EXFILTRATION))
    assert callers(harvest).most_common(1)[0][1] == 420
    assert busiest_hour(harvest) >= 420
    assert sum(count for _, count in callers(slow).most_common(2)) == 360
    assert 170 <= busiest_hour(slow) <= 200
    large = [length for length in lengths(taken, "responseLength") if length >= 1_000]
    assert sorted(large) == [1_800_000, 2_200_000, 2_600_000, 3_000_000, 3_400_000]
    assert busiest_hour(taken) < 50
    assert lengths(harvest + slow, "responseLength") == []


def test_the_rotation_is_by_the_job_that_the_tuning_file_excuses() -> None:
    """Enough to fire, and few enough without the job not to; pattern and object id are those of the file."""
    (excused,) = tomllib.loads((ROOT / "local/tuning.toml").read_text())["exceptions"]
    found = readings(attacked(Attack.ROTATION))
    assert callers(found)[ROTATION_JOB] == 150
    assert len(found) - 150 < 20
    assert excused["callers"] == [ROTATION_JOB]
    assert found[0][1]["resourceId"].lower().endswith(excused["resource"].removeprefix("*"))
    assert SCENARIO.start.date() < excused["expires"]


def test_a_newcomer_lists_keys_once_when_all_others_are_known_for_a_day() -> None:
    """The one whose first reading comes more than a day after that of anybody else, there or elsewhere."""
    first: dict[tuple[str, str], datetime] = {}
    for message, record in readings(list(records(day(SCENARIO)[0]))):
        first.setdefault((record["resourceId"].lower(), properties(record)["objectId"]), message.enqueued)
    since = {account: min(at for (one, _), at in first.items() if one == account) for account, _ in first}
    late = [key for key, at in first.items() if at - since[key[0]] >= timedelta(days=1)]
    ((account, newcomer),) = late
    assert account == day(SCENARIO)[1].attacked[Attack.NEWCOMER]
    assert callers(readings(about(account)))[newcomer] == 1
    last_hour = [
        found for found in readings(about(account)) if first[account, newcomer] - found[0].enqueued < timedelta(hours=1)
    ]
    assert len(callers(last_hour)) > 1


def test_five_minutes_of_one_account_are_full_of_long_prompts() -> None:
    """Forty in each; nowhere else have ten chats of a minute 5,000 bytes on average."""
    flooded = {
        minute: sent
        for minute, sent in chats_by_minute(attacked(Attack.FLOOD)).items()
        if len(sent) >= 10 and sum(sent) / len(sent) >= 5_000
    }
    assert [len([length for length in sent if length >= 12_000]) for sent in flooded.values()] == [40] * 5


def test_sixteen_answers_of_one_account_are_empty() -> None:
    """To a caller with a key, whom only a masked address names, within an hour."""
    found = [
        (message, record) for message, record in attacked(Attack.EMPTY) if properties(record).get("responseLength") == 0
    ]
    assert len(found) == busiest_hour(found) == 16
    assert {(record["resultSignature"], record["callerIpAddress"]) for _, record in found} == {
        ("200", "198.51.100.***")
    }


def test_one_answer_is_large_and_one_caller_gets_a_gigabyte() -> None:
    """The gigabyte comes in forty answers to one object id, within an hour."""
    download, bulk = attacked(Attack.DOWNLOAD), attacked(Attack.BULK)
    assert [length for length in lengths(download, "responseLength") if length >= 1_000_000] == [1_800_000]
    large = [found for found in bulk if properties(found[1]).get("responseLength", 0) >= 1_000_000]
    assert len(large) == busiest_hour(large) == 40
    assert len(callers(large)) == 1
    assert 1_000_000_000 < sum(lengths(large, "responseLength")) < 1_100_000_000


def test_three_users_of_bedrock_are_up_to_something() -> None:
    """Six denials of one model within the hour, eight invalid requests in a minute, two requests that two block."""
    denied = list(errors(attacked(Attack.DENIED), "AccessDeniedException"))
    assert len(denied) == busiest_hour(attacked(Attack.DENIED)) == 6
    assert len({record["modelId"] for record in denied}) == 1
    invalid = list(errors(attacked(Attack.INVALID), "ValidationException"))
    assert (len(invalid), len({record["timestamp"][:16] for record in invalid})) == (8, 1)
    assert blocking(attacked(Attack.GUARDED)) == [["topic", "content"], ["word", "topic"]]


@pytest.fixture(scope="module")
def workshop() -> Found:
    """Provide the records of the account that nobody attacks and that has no ordinary load."""
    name = "/aoai-workshop"
    (account,) = {
        record["resourceId"].lower()
        for _, record in records(day(SCENARIO)[0])
        if (record.get("resourceId") or "").lower().endswith(name)
    }
    return about(account)


def test_the_quiet_account_has_one_reading_too_few(workshop: Found) -> None:
    """99 within the hour, the largest answer a byte below the limit, by pipelines that were there at the start."""
    found = readings(workshop)
    assert busiest_hour(found) == 99
    assert lengths(found, "responseLength") == [999_999]
    assert len(callers(found)) == len(callers(found[:3])) == 3


def test_the_quiet_account_has_minutes_just_below_the_limits(workshop: Found) -> None:
    """Nine long prompts, and twelve that fall a byte short of 5,000 on average."""
    minutes = [sent for sent in chats_by_minute(workshop).values() if len(sent) > 5]
    assert [(len(sent), sum(sent)) for sent in minutes] == [(9, 99_000), (12, 59_999)]


def test_the_quiet_account_has_one_empty_answer_too_few(workshop: Found) -> None:
    """Nine; those that were throttled are empty as well, and no answers."""
    empty = [found for found in workshop if properties(found[1]).get("responseLength") == 0]
    assert Counter(record["resultSignature"] for _, record in empty) == {"200": 9, "429": 5}
    assert busiest_hour(empty) == 14


def test_the_quiet_account_has_no_large_answer(workshop: Found) -> None:
    """The largest is a byte below the limit."""
    assert max(lengths([found for found in workshop if not is_reading(found[1])], "responseLength")) == 999_999


def test_the_quiet_user_of_bedrock_stays_below_every_limit() -> None:
    """Three denials for each of two models, three invalid requests in each of two minutes, one policy that blocks."""
    found = about(TESTER)
    denied, invalid = errors(found, "AccessDeniedException"), errors(found, "ValidationException")
    assert list(Counter(record["modelId"] for record in denied).values()) == [3, 3]
    assert list(Counter(record["timestamp"][:16] for record in invalid).values()) == [3, 3]
    assert blocking(found) == [["topic"], ["topic"]]
    assert any("ANONYMIZED" in json.dumps(record) for _, record in found)
