"""What a backtest of a log must find, by plain loops over its records. Shares no code with the detector."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from detectors.backtest.replay import BacktestRequest
from detectors.evaluation.policy import Policy, PolicyChange
from detectors.evaluation.suppressions import Scope, SuppressionRule
from tests import oracle
from tests.builders import START, canonical_id
from tests.detectors.backtest.logs import Entry
from tests.detectors.backtest.replays import SWEEPS
from tests.oracle import Arrival, Group, Place, RawRecord

NUMBERS: dict[str, dict[str, int]] = {
    "model_theft": {"count": 4, "response_length": 1_000},
    "denial_of_service": {"count": 2, "request_length": 5_000},
    "insecure_output": {"count": 2},
    "large_transfer": {"response_length": 2**40, "caller_bytes": 1_700},
    "new_key_lister": {"count": 1, "learning_days": 1},
    "bedrock_denied_models": {"count": 2},
    "bedrock_validation_exceptions": {"count": 2},
    "bedrock_guardrail_violations": {"count": 1},
}
"""Low, so that small logs cross them; the real ones have tests of their own."""

LAB, DEV = canonical_id("aoai-lab"), canonical_id("aoai-dev")
DEV_COUNT = 3
SOMEBODY = "caller-1"
CHANGES = (PolicyChange("a test", Scope("*", DEV), severity="High", thresholds={"count": DEV_COUNT}),)
EXEMPTIONS = (
    SuppressionRule(Scope("model_theft", LAB), frozenset({SOMEBODY}), "The rotation.", "platform", date(2999, 1, 1)),
    SuppressionRule(Scope("denial_of_service", DEV), frozenset(), "A load test.", "quality", date(2999, 1, 1)),
    SuppressionRule(Scope("*"), frozenset({"caller-2"}), "Long ago.", "nobody", date(2020, 1, 1)),
)
MINUTES = {"denial_of_service", "bedrock_validation_exceptions"}
"""Rules that post a minute once."""

TUNED = Policy(NUMBERS, CHANGES, EXEMPTIONS)
EVERYTHING = BacktestRequest(TUNED, (*SWEEPS, ("denial_of_service", "count", (1, 2, 5))))
"""All rules with low numbers, others for one account, exceptions, and sweeps."""

TEN = timedelta(minutes=10)


class Row(NamedTuple):
    """A finding, as far as plain loops know."""

    end: datetime
    place: Place
    records: int
    is_suppressed: bool


def arrivals(log: Iterable[Entry]) -> list[Arrival]:
    """Return the records that can be counted: those of lines arrive at their own time."""
    return [Arrival(START + one.after, one.record) for one in log if one.record is not None and one.after is not None]


def rows(log: Iterable[Entry]) -> set[Row]:
    """Every finding but for those that close an episode: each window that fires, and each minute once."""
    every = arrivals(log)
    end = START + TEN
    found: set[Row] = set()
    while every and end <= max(one.at for one in every) + oracle.HOUR:
        new = oracle.newcomers(every, end, timedelta(days=NUMBERS["new_key_lister"]["learning_days"]))
        for place, group in _window(every, end).items():
            if _fires(place, group, new) and not (place[0] in MINUTES and _minute(place) < end - TEN):
                found.add(Row(end, place, group.count, _is_explained(place, group)))
        end += TEN
    return found


def selected(log: Iterable[Entry]) -> Mapping[str, tuple[int, int]]:
    """By rule: records, and how many of them tell a response length."""
    records, told = Counter[str](), Counter[str]()
    for one in arrivals(log):
        for rule_id, _ in places(one.record):
            records[rule_id] += 1
            told[rule_id] += oracle.properties(one.record).get("responseLength") is not None
    return {rule_id: (count, told[rule_id]) for rule_id, count in records.items()}


def places(record: RawRecord) -> Iterator[Place]:
    """Every rule that counts a record of either cloud, and the group under which it does."""
    yield from oracle.places(record)
    if record.get("schemaType") != "ModelInvocationLog":
        return
    user, model, account = record["identity"]["arn"], record["modelId"], record["accountId"]
    match record.get("errorCode"):
        case "AccessDeniedException":
            yield "bedrock_denied_models", (user, model, account)
        case "ValidationException":
            at = oracle.minute({"time": record["timestamp"]})
            yield "bedrock_validation_exceptions", (user, account, f"{at}")
        case None:
            guardrail = record["output"]["outputBodyJson"]["amazon-bedrock-trace"]["guardrail"]["input"]["gr-1"]
            blocking = sum("BLOCKED" in f"{policy}" for policy in guardrail.values())
            if blocking > 1:
                yield "bedrock_guardrail_violations", (user, model, account, f"{blocking}")


def _window(every: Iterable[Arrival], end: datetime) -> Mapping[Place, Group]:
    groups: dict[Place, Group] = {}
    for one in every:
        if end - oracle.HOUR <= one.at < end:
            for place in places(one.record):
                groups.setdefault(place, Group()).records.append(one.record)
    return groups


def _minute(place: Place) -> datetime:
    return datetime.strptime(place[1][-1], "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)


def _least(place: Place) -> Mapping[str, int]:
    least = dict(NUMBERS[place[0]])
    return least | {"count": DEV_COUNT} if "count" in least and place[1][0] == DEV else least


def _fires(place: Place, group: Group, new: set[Place]) -> bool:
    rule_id, least = place[0], _least(place)
    if rule_id in oracle.AZURE_RULES - {"new_key_lister"}:
        return oracle.fires(rule_id, group, {rule_id: least})
    return group.count >= least["count"] and (rule_id != "new_key_lister" or place in new)


def _is_explained(place: Place, group: Group) -> bool:
    """Whether an exception in force covers it: the one for everybody, or without its caller nothing had fired."""
    rule_id, (resource, *_) = place
    if rule_id == "model_theft" and resource == LAB:
        least = _least(place)
        others = [one for one in group.records if oracle.properties(one).get("objectId") != SOMEBODY]
        is_long = max(group.responses, default=0) >= least["response_length"]
        return len(others) < least["count"] and not (is_long and others)
    return rule_id == "denial_of_service" and resource == DEV
