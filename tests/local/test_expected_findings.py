"""What is expected of the detector: at the edges of every rule, and against another telling of the rules."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from local.expected_findings import LIMITS, TUNING, Expectation, RowKey, expectation
from local.ground_truth import MINUTE_RULES, Fact, Truth, _holds, places
from local.samples import GENERATING
from local.traffic import Scenario
from tests import oracle
from tests.local.days import day, records

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
SECOND = int(START.timestamp())
MINUTES = timedelta(minutes=1)
ACCOUNT, AGENTS = ("/subscriptions/1/accounts/aoai-prod",), ("/subscriptions/1/accounts/aoai-agents",)
AZURE = "azure_openai"
(ROTATION_JOB,) = TUNING["exceptions"][0]["callers"]
DENIED, INVALID = "AccessDeniedException", "ValidationException"


def listing(caller: str = "pipeline", length: int | None = None, whose: tuple[str, ...] = ACCOUNT) -> Fact:
    """Return a key listing."""
    fields = {"category": "Audit", "operation": "ListKey", "resource": whose[0], "caller": caller}
    told = {"authentication": "entra" if caller else "key", "response_length": length, "streamed": "no", "row": "call"}
    return Fact(AZURE, SECOND, {**fields, **told})


def chat(request: int | None = 9_000, response: int | None = 100, status: str = "200", second: int = 0) -> Fact:
    """Return a chat completion, some seconds after the start."""
    return _call("ChatCompletions_Create", second, caller="u", status=status, lengths=(request, response))


def large(response: int, caller: str = "u") -> Fact:
    """Return an answer of that many bytes."""
    return _call("Embeddings_Create", 0, caller=caller, status="200", lengths=(10, response))


def _call(operation: str, second: int, *, caller: str, status: str, lengths: tuple[int | None, int | None]) -> Fact:
    fields = {"category": "RequestResponse", "operation": operation, "resource": ACCOUNT[0], "caller": caller}
    told = dict(zip(("request_length", "response_length"), lengths, strict=True))
    activity = "generation" if operation in GENERATING else None
    call = {"status": status, "activity": activity, "streamed": "no", "row": "call", "authentication": "entra"}
    return Fact(AZURE, SECOND + second, {**fields, **call, **told})


def bedrock(error: str | None = None, blocking: int = 0, model: str = "model", second: int = 0) -> Fact:
    """Return a call of a model, some seconds after the start."""
    user = "arn:aws:iam::1:user/u"
    fields = {"caller": user, "principal": user, "account": "1", "model": model, "blocking_policies": blocking}
    return Fact("aws_bedrock", SECOND + second, {**fields, "error": error, "intervened": "yes" if blocking else None})


def expected(*facts: Fact, at: datetime = START, before: Truth | None = None) -> Expectation:
    """Return what is expected if these arrive in one bucket."""
    truth = before or Truth()
    for fact in facts:
        truth.note(fact, at)
    return expectation(truth)


def fired(found: Expectation) -> dict[str, set[str]]:
    """Return what fired, by rule."""
    names: dict[str, set[str]] = {}
    for key, row in found.rows.items():
        names.setdefault(key.rule_id, set()).update(row.values)
    return names


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ([listing()] * 98 + [listing(length=999_999)], {}),
        ([listing()] * 100, {"model_theft": {"count"}}),
        ([listing(length=1_000_000)], {"model_theft": {"response_length"}}),
        ([chat()] * 9, {}),
        ([chat()] * 10, {"denial_of_service": {"count", "request_length"}}),
        ([chat(5_000)] * 9 + [chat(4_999)], {}),
        ([chat(5_000)] * 9 + [chat(None)], {"denial_of_service": {"count", "request_length"}}),
        ([chat()] * 9 + [chat(second=60)] * 9, {}),
        ([chat(10, 0)] * 9 + [chat(10, 0, "429"), chat(10, None), chat(10, 1)], {}),
        ([chat(10, 0)] * 10, {"insecure_output": {"count"}}),
        ([large(999_999)], {}),
        ([large(1_000_000)], {"large_transfer": {"response_length"}}),
        ([large(600_000_000), large(600_000_000, "v")], {"large_transfer": {"response_length"}}),
        ([large(500_000_000), large(499_999_999)], {"large_transfer": {"response_length"}}),
        ([large(500_000_000)] * 2, {"large_transfer": {"response_length", "caller_bytes"}}),
        ([bedrock(DENIED)] * 3 + [bedrock(DENIED, model="other")] * 3, {}),
        ([bedrock(DENIED)] * 4, {"bedrock_denied_models": {"count"}}),
        ([bedrock(INVALID)] * 3 + [bedrock(INVALID, second=60)] * 3, {}),
        (
            [bedrock(INVALID)] * 2 + [bedrock(INVALID, model="other")] * 2,
            {"bedrock_validation_exceptions": {"count"}},
        ),
        ([bedrock(blocking=1)] * 5, {}),
        ([bedrock(blocking=2)], {"bedrock_guardrail_violations": {"count"}}),
    ],
)
def test_what_is_expected_on_both_sides_of_a_limit(facts: list[Fact], what: dict[str, set[str]]) -> None:
    """By hand, for each rule."""
    assert fired(expected(*facts)) == what


def test_a_burst_is_expected_in_the_six_windows_that_hold_it() -> None:
    """One alert, six rows, one end."""
    found = expected(*[listing()] * 100)
    place = "model_theft", ACCOUNT
    assert list(found.rows) == [RowKey(*place, START + 10 * step * MINUTES) for step in range(1, 7)]
    assert (found.alerts, found.closed) == ({place: 1}, {place: 1})


def test_a_minute_is_expected_once_with_all_that_arrived_of_it() -> None:
    """Late records make it larger; the episode is about the resource, and ends an hour after the last of it."""
    before = Truth()
    for _ in range(10):
        before.note(chat(), START)
    found = expected(chat(), chat(second=60), at=START + 20 * MINUTES, before=before)
    ((key, row),) = found.rows.items()
    assert (key.group[-1], key.window_end, row.count) == ("2026-03-02T08:00Z", None, 11)
    assert (found.alerts, found.closed) == ({("denial_of_service", ACCOUNT): 1}, {("denial_of_service", ACCOUNT): 1})


def test_two_bursts_hours_apart_are_two_episodes() -> None:
    """And two that touch are one."""
    truth = Truth()
    for hours in (0, 1, 5):
        for _ in range(100):
            truth.note(listing(), START + timedelta(hours=hours))
    found = expectation(truth)
    assert found.alerts == found.closed == {("model_theft", ACCOUNT): 2}


@pytest.mark.parametrize(("others", "alerts"), [(99, 0), (100, 1)])
def test_what_the_rotation_job_explains_is_suppressed(others: int, alerts: int) -> None:
    """As long as what is left of it would not fire, on the account it is excused for."""
    facts = [listing(ROTATION_JOB, whose=AGENTS)] * 150 + [listing(whose=AGENTS)] * others
    found = expected(*facts)
    assert found.alerts.total() == alerts
    assert {row.suppressed for row in found.rows.values()} == {not alerts}
    assert found.closed.total() == 1


def test_an_episode_that_was_alerted_on_is_not_again_after_it_was_suppressed() -> None:
    """Strangers first, then the job alone, then strangers again, without a window between in which nothing fires."""
    truth = Truth()
    for minutes, caller in ((0, "stranger"), (50, ROTATION_JOB), (100, "stranger")):
        for _ in range(100):
            truth.note(listing(caller, whose=AGENTS), START + minutes * MINUTES)
    found = expectation(truth)
    assert [row.suppressed for row in found.rows.values()] == 6 * [False] + 4 * [True] + 6 * [False]
    assert found.alerts == found.closed == {("model_theft", AGENTS): 1}


@pytest.mark.parametrize(
    ("wanted", "holding", "failing"),
    [
        ("200", ["200"], ["429", None]),
        (["200", "201"], ["201"], ["429", None]),
        ({"not": "200"}, ["429"], ["200", None]),
        ({"not": ["200", "201"]}, ["429"], ["201", None]),
        ({"known": True}, ["429", 0], [None]),
        ({"known": False}, [None], ["429", 0]),
        ({"at_least": 2}, [2, 3], [1, None]),
        (0, [0], [1, None]),
    ],
)
def test_each_word_of_a_selection_means_what_it_says(
    wanted: object, holding: list[object], failing: list[object]
) -> None:
    """Told once more for rules that are still to come."""
    assert all(_holds(wanted, value) for value in holding)
    assert not any(_holds(wanted, value) for value in failing)


@pytest.mark.parametrize("facts", [[listing(ROTATION_JOB)] * 150, [listing(ROTATION_JOB, 1_000_000, AGENTS)]])
def test_the_rotation_job_is_excused_for_nothing_else(facts: list[Fact]) -> None:
    """Neither elsewhere nor for a large answer."""
    assert expected(*facts).alerts.total() == 1


@pytest.mark.parametrize(("hours", "fires"), [(23, False), (24, True)])
def test_a_newcomer_is_expected_after_a_day_of_others(hours: int, *, fires: bool) -> None:
    """In the six windows that hold its first reading; not again when it comes back."""
    before = Truth()
    before.note(listing("pipeline"), START)
    before.note(listing("newcomer"), START + timedelta(hours=hours))
    found = expected(listing("newcomer"), at=START + timedelta(hours=hours + 2), before=before)
    rows = [key for key in found.rows if key.rule_id == "new_key_lister"]
    assert len(rows) == (6 if fires else 0)
    assert {key.group for key in rows} == ({(*ACCOUNT, "newcomer")} if fires else set())


def test_nobody_without_a_name_is_new() -> None:
    """A reading without object id counts, and is nobody's."""
    assert {rule_id for rule_id, _ in places(listing(""))} == {"first_key_listing", "model_theft"}


def test_another_telling_of_the_rules_expects_the_same() -> None:
    """For every window of a small day, from its records; no exceptions there, and nobody is new within four hours."""
    messages, truth = day(Scenario(records=5_000, duration=timedelta(hours=4), malformed=0))
    arrivals = [oracle.Arrival(message.enqueued, record) for message, record in records(messages)]
    told: Counter[RowKey] = Counter()
    for step in range(1, 32):
        end = Scenario().start + 10 * step * MINUTES
        for (rule_id, group), one in oracle.window(arrivals, end).items():
            if rule_id != "new_key_lister" and oracle.fires(rule_id, one, LIMITS):
                told |= Counter({RowKey(rule_id, group, None if rule_id in MINUTE_RULES else end): one.count})
    rules = oracle.RULES - {"new_key_lister"}
    assert {key: row.count for key, row in expectation(truth).rows.items() if key.rule_id in rules} == told
    assert {key.rule_id for key in told} == rules
