"""Made-up logs for backtests: hours of some accounts and AWS identities, with all that is wrong in logs.

Drawn by chance, as drawing each value with Hypothesis gives logs in which hardly anything fires.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, get_args

from hypothesis import strategies as st

from tests.builders import assessment, bedrock, chat, list_key, of_another_service, refused
from tests.detectors.backtest.replays import RESPONSE_LENGTH, Stamp, stamped

NAMES = ("aoai-prod", "aoai-dev", "aoai-lab")
HOUR, DAY = timedelta(hours=1), timedelta(hours=25)
BROKEN = (b"{'cut'}", b"[42]", b"[null, {}]", b'{"records": null}', b'{"a": "\xff"}', b"{}{}")
POLICIES = ("topicPolicy", "contentPolicy", "wordPolicy")
CALLERS = ("caller-0", "caller-1", "caller-1", "caller-2", "")


@dataclass(frozen=True)
class Entry:
    """One line of a log.

    Attributes:
        line: without a line break.
        record: what the line holds; None if that is no JSON object.
        after: how long after `START` its time is; None without one.
    """

    line: bytes
    record: dict[str, Any] | None = None
    after: timedelta | None = None


def entry(record: dict[str, Any], after: timedelta | None = None) -> Entry:
    """Return a line that holds a record."""
    return Entry(json.dumps(record).encode(), record, after)


def azure_record(random: Random) -> dict[str, Any]:
    """Draw a key listing, or a request, long or short, that may be answered with nothing; without a time of its own."""
    name, fields = random.choice(NAMES), {"objectId": random.choice(CALLERS)}
    record = list_key(name) if random.random() < 0.4 else chat(name)
    length = random.choice([None, None, None, 0, 0, 700, RESPONSE_LENGTH - 1, RESPONSE_LENGTH, 2**40])
    lengths = {} if length is None else {"responseLength": length}
    if record["category"] == "RequestResponse":
        record["operationName"] = random.choice(["ChatCompletions_Create"] * 4 + ["Embeddings_Create"])
        record["resultSignature"] = random.choice(["200", "200", "429"])
        asked = random.choice([None, 4_999, 5_000, 20_000])
        lengths |= {} if asked is None else {"requestLength": asked}
    record["resourceId"] = random.choice([str.upper, str.lower, str.title])(record["resourceId"])
    record["properties"] = random.choice([{**fields, **lengths}, json.dumps({**fields, **lengths})])
    return record


def bedrock_record(random: Random) -> dict[str, Any]:
    """Return a call that was answered, refused, or blocked by policies of a guardrail; without a time of its own."""
    user, model = f"arn:aws:iam::1:user/{random.choice(['dana', 'eli'])}", random.choice("mn")
    kind = random.choice(["AccessDeniedException", "ValidationException", "ThrottlingException", ""])
    if kind:
        return refused(kind, user, modelId=model)
    blocking = random.sample(POLICIES, random.randrange(len(POLICIES) + 1))
    trace = {"guardrail": {"input": {"gr-1": assessment(*blocking, contextualGroundingPolicy="NONE")}}}
    return bedrock(user, answer={"amazon-bedrock-trace": trace}, modelId=model)


def _burst(random: Random) -> list[Entry]:
    """One record of either cloud, or several of them within seconds or minutes, with their times in any form."""
    is_bedrock = random.random() < 0.25
    record = (bedrock_record if is_bedrock else azure_record)(random)
    first = random.choice(
        [
            timedelta(milliseconds=random.randrange(5 * 3_600_000)),
            timedelta(minutes=10) * random.randrange(20),
            timedelta(milliseconds=3_600_000 - random.randrange(2)),
            timedelta(minutes=30, seconds=random.randrange(240)),  # many bursts at once
        ]
    )
    first += random.choice([timedelta()] * 3 + [DAY])
    step = timedelta(seconds=random.choice([0, 1, 15, 700]))
    return [_stamped(record, first + step * number, random) for number in range(random.choice([1, 1, 2, 4]))]


def _stamped(record: dict[str, Any], after: timedelta, random: Random) -> Entry:
    field = "timestamp" if "schemaType" in record else "time"
    stamps: tuple[Stamp, ...] = get_args(Stamp)
    return entry({**record, field: stamped(after, random.choice(stamps))}, after)


def _other(random: Random) -> list[Entry]:
    """Return a line that no rule counts, for one reason or another."""
    after = HOUR * random.random()
    made = (
        entry({**of_another_service(), "time": stamped(after)}, after),
        entry({**list_key(), "time": None}),
        entry({**chat(), "time": "yesterday"}),
        entry({**refused("AccessDeniedException"), "timestamp": 1_700_000_000}),
        entry({**list_key(), "time": "2026-11-23T08:00:00Z", "resourceId": "nowhere"}, timedelta()),
        entry({"category": "FunctionAppLogs", "operationName": "x", "time": 7, "properties": []}),
        Entry(random.choice(BROKEN)),
    )
    return [random.choice(made)]


def log(random: Random, bursts: int) -> list[Entry]:
    """So many bursts, in any order."""
    return [one for _ in range(bursts) for one in (_burst if random.random() < 0.85 else _other)(random)]


def moved(one: Entry, later: timedelta) -> bytes:
    """Return the line with another time, if it has one."""
    if one.record is None or one.after is None:
        return one.line
    field = "timestamp" if "timestamp" in one.record else "time"
    return json.dumps({**one.record, field: stamped(one.after + later)}).encode()


entries = st.builds(log, st.randoms(use_true_random=True), st.sampled_from([60, 30, 8, 2, 0]))
"""Some hours, in any order, and the same hours of the next day."""
