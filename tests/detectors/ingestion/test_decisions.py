"""Deciding once for a combination says what deciding for each record alone says, in any order, whatever is cached."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.ingestion import counting
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.decisions import Decider, Decision
from detectors.ingestion.delta import Delta
from detectors.rules.catalogue import BY_ID, CATALOGUE
from detectors.rules.rule import MINUTE, Condition, Rule, Selection
from detectors.rules.tally import ACCOUNT_SEEN, Key, Tally
from detectors.sources.catalogue import BY_NAME
from detectors.sources.decoding import decode
from detectors.sources.source import CALLER, LogSource, Value
from detectors.windows import record_time
from tests.builders import START, assessment, bedrock, canonical_id, chat, event, message, resource_id
from tests.examples import examples

type Values = Mapping[str, Value]

MINUTES = {
    None: None,
    "2026-11-23T07:59:58.1234567Z": "2026-11-23T07:59Z",
    "2026-11-23T09:00:30+01:00": "2026-11-23T08:00Z",
}
"""Times as records write them, and the minutes that they fall into."""

POLICIES = ("topicPolicy", "contentPolicy", "wordPolicy")
ERRORS: list[Any] = [None, "AccessDeniedException", "ValidationException", 1, 1.0, True]
"""Other services write what they like where Bedrock names its error; some of it is equal, and so remembered as one."""


@dataclass(frozen=True)
class Sample:
    """A record as JSON, and what it says by the names that rules use."""

    source: str
    record: dict[str, Any]
    values: Values
    time: str | None


@st.composite
def azure(draw: st.DrawFn) -> Sample:
    """Draw a record of Azure OpenAI, of which any field may be missing."""
    values: dict[str, Value] = {
        "category": draw(st.sampled_from([None, "Audit", "RequestResponse"])),
        "operation": draw(st.sampled_from([None, "ListKey", "ChatCompletions_Create"])),
        "status": draw(st.sampled_from([None, "200", 200, "429"])),
        "request_length": draw(st.sampled_from([None, 0, 7, 9_000])),
        "response_length": draw(st.sampled_from([None, 0, 7, 9_000])),
    }
    name, object_id, ip = draw(st.sampled_from([None, "a", "b"])), draw(st.sampled_from(["", "dana", "eli"])), ""
    properties = {"objectId": object_id, "requestLength": values["request_length"]}
    properties["responseLength"] = length = values["response_length"]
    streaming, model = draw(st.booleans()), draw(st.sampled_from([None, "m"]))
    properties |= {"modelName": model} | ({"streamType": "Streaming"} if streaming else {})
    record: dict[str, Any] = {
        "category": values["category"],
        "operationName": values["operation"],
        "resultSignature": values["status"],
        "resourceId": name and resource_id(name, upper=draw(st.booleans())),
        "properties": draw(st.sampled_from([properties, json.dumps(properties)])),
    }
    if draw(st.booleans()):
        record["callerIpAddress"] = ip = "81.2.69.***"
    values["status"] = values["status"] and str(values["status"])
    values["resource"] = name and canonical_id(name)
    values["authentication"] = "entra" if object_id else "key"
    values["activity"] = "generation" if values["operation"] == "ChatCompletions_Create" else None
    values["streamed"] = ("yes" if length else "empty") if streaming else "no"
    values["response_length"] = None if values["streamed"] == "empty" else length
    values["row"] = "call" if object_id or length or model else "twin"
    values[CALLER] = object_id or (f"ip {ip}" if ip else None)
    return _timed(draw, "azure_openai", record, values, "time")


@st.composite
def aws(draw: st.DrawFn) -> Sample:
    """Draw a record of AWS Bedrock, of which any field may be missing."""
    user = draw(st.sampled_from([None, "arn:aws:iam::1:user/dana", "arn:aws:iam::1:user/eli"]))
    blocking = draw(st.lists(st.sampled_from(POLICIES), unique=True))
    trace = {"guardrail": {"input": {"gr-1": assessment(*blocking)}}}
    values: dict[str, Value] = {
        "account": draw(st.sampled_from([None, "1", "2"])),
        "model": draw(st.sampled_from([None, "m", "n"])),
        "error": draw(st.sampled_from(ERRORS)),
        "blocking_policies": len(blocking),
        "intervened": "yes" if blocking else None,
        "principal": user,
        "input_tokens": draw(st.sampled_from([None, 0, 7, 9_000])),
        "output_tokens": draw(st.sampled_from([None, 0, 7, 9_000])),
        CALLER: user,
    }
    record = bedrock(answer={"amazon-bedrock-trace": trace}, identity=user and {"arn": user})
    record["input"] = {"inputTokenCount": values["input_tokens"]}
    record["output"] |= {"outputTokenCount": values["output_tokens"]}
    record |= {"accountId": values["account"], "modelId": values["model"], "errorCode": values["error"]}
    return _timed(draw, "aws_bedrock", record, values, "timestamp")


def _timed(draw: st.DrawFn, source: str, record: dict[str, Any], values: Values, field: str) -> Sample:
    time = draw(st.sampled_from(list(MINUTES)))
    return Sample(source, {**record, field: time}, values, time)


SAMPLES = st.lists(st.one_of(azure(), aws()), min_size=1, max_size=12)
VALUES: Mapping[str, Sequence[str | int]] = {
    "category": ["Audit", "RequestResponse"],
    "operation": ["ListKey", "ChatCompletions_Create"],
    "resource": [canonical_id("a"), canonical_id("b")],
    "status": ["200", 200, "429"],
    "authentication": ["entra", "key"],
    "account": ["1", "2"],
    "model": ["m", "n"],
    "error": ["AccessDeniedException", "ValidationException"],
    "blocking_policies": [0, 1, 2],
    "intervened": ["yes"],
    "principal": ["arn:aws:iam::1:user/dana"],
    "activity": ["generation"],
    "streamed": ["yes", "empty", "no"],
    "row": ["call", "twin"],
    "request_length": [0, 7, 9_000],
    **{name: [0, 7, 9_000] for name in ("response_length", "input_tokens", "output_tokens")},
}
SAMPLED = [BY_NAME["azure_openai"], BY_NAME["aws_bedrock"]]


def _conditions(name: str) -> st.SearchStrategy[Condition]:
    some = st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=2).map(tuple)
    return st.one_of(
        st.builds(Condition, st.just(name), st.sampled_from(["is", "is_not"]), some),
        st.builds(Condition, st.just(name), st.just("known"), st.sampled_from([(True,), (False,)])),
        st.builds(Condition, st.just(name), st.just("at_least"), st.sampled_from([(1,), (8,)])),
    )


@st.composite
def selections(draw: st.DrawFn, source: LogSource) -> Selection:
    """Conditions on some fields of a source, and on some of its numbers."""
    fields = draw(st.lists(st.sampled_from(sorted(source.fields.keys() - {CALLER})), max_size=2, unique=True))
    numbers = sorted(source.number_wire)
    chosen = draw(st.lists(st.sampled_from(numbers), max_size=2, unique=True)) if numbers else []
    return Selection(
        source.name,
        tuple(draw(_conditions(name)) for name in fields),
        tuple(draw(_conditions(name)) for name in chosen),
    )


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    """Draw a few rules of one source each, with one or two selections, by one or two fields and perhaps by minute."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        source = draw(st.sampled_from(SAMPLED))
        fields = [name for name, field in source.fields.items() if field.column]
        by = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2, unique=True))
        per_minute = draw(st.booleans())
        columns = [source.fields[name].column for name in by] + [MINUTE] * per_minute
        like = BY_ID[draw(st.sampled_from(["model_theft", "large_transfer"]))]
        select = draw(st.lists(selections(source), min_size=1, max_size=2))
        made.append(
            replace(
                like,
                id=f"rule_{number}",
                select=tuple(select),
                group_by=tuple(by),
                group_fields=tuple(columns),
                per_minute=per_minute,
            )
        )
    return made


def _passes(condition: Condition, value: Value) -> bool:
    """Return what a rule file says, in the words of its head."""
    match condition.test:
        case "is":
            return value in condition.values
        case "is_not":
            return value is not None and value not in condition.values
        case "known":
            return condition.values == (value is not None,)
        case _:
            (least,) = condition.values
            assert isinstance(least, int)
            return isinstance(value, int | float) and value >= least


def _selects(rule: Rule, sample: Sample) -> bool:
    if sample.source == "azure_openai" and sample.values["category"] is sample.values["operation"] is None:
        return False  # a record of no source that is known
    return any(
        all(_passes(one, sample.values[one.field]) for one in (*selection.conditions, *selection.numbers))
        for selection in rule.select
        if selection.source == sample.source
    )


def _group(rule: Rule, sample: Sample) -> tuple[str, ...] | None:
    """Return the group of a record; None if it does not tell it."""
    found = [sample.values[name] for name in rule.group_by] + [MINUTES[sample.time]] * rule.per_minute
    if rule.distinct and sample.values[rule.distinct] is None:
        return None
    return None if None in found else tuple(map(str, found))


type Counts = Counter[tuple[str, tuple[str, ...], str]]
"""Records by rule, group and caller."""


def _expected(rules: Sequence[Rule], samples: Sequence[Sample]) -> tuple[Counts, set[int]]:
    """Return what each record comes to alone; and the places of those that a rule selects and cannot group."""
    counts, ungrouped = Counter[Any](), set[int]()
    for place, sample in enumerate(samples):
        for rule in rules:
            if _selects(rule, sample):
                group = _group(rule, sample)
                if group is None:
                    ungrouped.add(place)
                else:
                    counts[rule.id, group, sample.values[CALLER] or ""] += 1
    return counts, ungrouped


def _of_rules(delta: Delta) -> list[tuple[Key, Tally]]:
    return [(key, tally) for key, tally in delta.tallies.items() if key.rule_id != ACCOUNT_SEEN]


def _counted(counter: BatchCounter, batch: Sequence[Sample]) -> tuple[Counts, set[int]]:
    delta = counter.count([event(1, *[sample.record for sample in batch])], START)
    counts = Counter[Any]()
    for key, tally in _of_rules(delta):
        assert tally.count == sum(tally.callers.values())
        for caller, count in tally.callers.items():
            counts[key.rule_id, key.group, caller] += count
    return counts, {placed.flaw.index for placed in delta.flaws}


@examples(100)
@given(made=rules(), batches=st.lists(SAMPLES, min_size=1, max_size=3), room=st.sampled_from([1, 2, 20_000]))
def test_what_is_counted_is_what_each_record_says_alone(
    made: list[Rule], batches: list[list[Sample]], room: int
) -> None:
    """Whatever came before, and however often what was decided is forgotten."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counting, "_MAX_REMEMBERED", room)
        counter = BatchCounter(made)
        for batch in batches:
            assert _counted(counter, batch) == _expected(made, batch)


@examples(40)
@given(samples=SAMPLES)
def test_the_rules_of_the_catalogue_are_decided_as_for_each_record_alone(samples: list[Sample]) -> None:
    """All of them together, as they are deployed."""
    assert _counted(BatchCounter(CATALOGUE), samples) == _expected(CATALOGUE, samples)


@examples(60)
@given(made=rules(), samples=SAMPLES)
def test_a_decision_names_the_rules_that_select_a_record(made: list[Rule], samples: list[Sample]) -> None:
    """One after another from one decider: by traits first, then by the numbers of the record."""
    deciders = {source.name: Decider(source, made) for source in SAMPLED}
    for sample in samples:
        selecting = {rule.id for rule in made if _selects(rule, sample)}
        assert set(_deciding(deciders[sample.source], sample)) == selecting


def _deciding(decider: Decider, sample: Sample) -> Iterator[str]:
    (record,) = decode(message(sample.record)).records
    source = BY_NAME[sample.source]
    traits, time, request, response, caller, _ = source.observe(record)
    decision = decider.decide(traits) if source.recognises(record) else None
    for target in decision.targets if decision else ():
        if target.choice.takes((1, record_time(time), request, response, caller)):
            assert decider.may_select(record)
            yield target.choice.rule.id


def test_a_selection_without_conditions_takes_every_record_of_its_source() -> None:
    """And none of another."""
    rule = replace(BY_ID["model_theft"], select=(Selection("azure_openai", ()),))
    delta = BatchCounter([rule]).count([event(1, chat(), bedrock())], START)
    assert [tally.count for _, tally in _of_rules(delta)] == [1]


def test_each_number_that_a_selection_asks_for_has_to_hold() -> None:
    """Of one selection all of them; of two selections, all of one."""
    long = Condition("request_length", "at_least", (8,)), Condition("response_length", "is", (0,))
    known = Condition("response_length", "known", (True,)), Condition("request_length", "is", (0,))
    sizes = [(9, 0), (9, 7), (9, None), (0, 0), (0, 7), (0, None), (None, 0)]
    records = [chat(requestLength=request, responseLength=response) for request, response in sizes]
    one = replace(BY_ID["model_theft"], id="one", select=(Selection("azure_openai", (), long),))
    two = replace(one, id="two", select=(*one.select, Selection("azure_openai", (), known)))
    delta = BatchCounter([one, two]).count([event(1, *records)], START)
    assert {key.rule_id: tally.count for key, tally in _of_rules(delta)} == {"one": 1, "two": 3}


def test_what_differs_in_nothing_that_rules_ask_is_decided_once() -> None:
    """Its records are added up together: a status makes no difference to a rule that does not ask for it."""
    source = BY_NAME["azure_openai"]
    decider = Decider(source, [BY_ID["large_transfer"], BY_ID["refused_requests"]])

    def decided(status: str, resource: str) -> Decision | None:
        (record,) = decode(message({**chat(), "resultSignature": status, "resourceId": resource})).records
        return decider.decide(source.observe(record)[0])

    one, other = resource_id(), resource_id("other")
    assert decided("200", one) is decided("201", one.lower()) is not None
    assert decided("200", one) is not decided("400", one)
    assert decided("200", one) is not decided("200", other)
