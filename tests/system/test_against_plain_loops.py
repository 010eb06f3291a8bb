"""All that is posted, held against a recount by plain loops: late, delivered again, among malformed neighbours."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from detectors.evaluation.policy import Policy
from detectors.events import Event
from detectors.windows import BUCKET, window_ends
from tests import oracle
from tests.builders import SOURCE, START, chat, list_key
from tests.deployment import Deployment
from tests.examples import examples
from tests.oracle import Arrival, Place, RawRecord

NUMBERS = {
    "model_theft": {"count": 5, "response_length": 1_000_000},
    "denial_of_service": {"count": 3, "request_length": 5_000},
    "insecure_output": {"count": 3},
    "large_transfer": {"response_length": 1_000_000, "caller_bytes": 1_500_000},
}
"""Low, so that small cases cross them; the real ones have tests of their own."""

LAST_ARRIVAL = timedelta(minutes=60)
END = START + timedelta(minutes=130)

names = st.sampled_from(["aoai-prod", "aoai-dev"])
callers = st.sampled_from(["", "1e2f3a4b", "2e2f3a4b"])


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    """Draw a record that arrives in the first hour, up to three quarters of an hour after its own time."""
    at = START + timedelta(seconds=draw(st.integers(0, LAST_ARRIVAL // timedelta(seconds=1) - 1)))
    late = timedelta(seconds=draw(st.sampled_from([0, 3, 59, 60, 600]) | st.integers(0, 45 * 60)))
    time = f"{at - late:%Y-%m-%dT%H:%M:%S}{draw(st.sampled_from(['Z', '.9999999Z', '.5Z', '+00:00']))}"
    lengths: RawRecord = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "requestLength": st.sampled_from([0, 4_999, 5_000, 5_001, 20_000]),
                "responseLength": st.sampled_from([0, 0, 1, 500_000, 999_999, 1_000_000]),
                "streamType": st.sampled_from(["Streaming", "Non-Streaming"]),
                "modelName": st.just("gpt-4o"),
            },
        )
    )
    if draw(st.integers(0, 3)) == 0:
        return Arrival(at, {**list_key(draw(names), caller=draw(callers), **lengths), "time": time})
    record = chat(draw(names))
    operations = st.sampled_from(["ChatCompletions_Create"] * 3 + ["Responses_Create", "Embeddings_Create"])
    changes: RawRecord = {"operationName": draw(operations)}
    changes["category"] = draw(st.sampled_from(["RequestResponse"] * 5 + ["AzureOpenAIRequestUsage"]))
    changes["resultSignature"] = draw(st.sampled_from(["200", "200", "200", "429", 200]))
    fields: RawRecord = {"objectId": draw(callers), **lengths}
    return Arrival(
        at, {**record, **changes, "time": time, "properties": draw(st.sampled_from([fields, json.dumps(fields)]))}
    )


NEIGHBOURS: list[object] = [
    42,
    None,
    [],
    "text",
    {"properties": []},
    {"operationName": 5},
    {"resourceId": {}, "time": 7},
]
neighbours = st.lists(st.sampled_from(NEIGHBOURS), max_size=2)
damages = st.sampled_from([b"%s", b"%s", b"%s", b"\xef\xbb\xbf%s", b"%s\x00", b"%s\n"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Arrival], list[Event]]:
    """Draw what arrives, and the events that bring it, each with neighbours."""
    repeated = draw(st.lists(st.tuples(arrivals(), st.integers(1, 4)), min_size=1, max_size=25))
    every = sorted((arrival for arrival, times in repeated for _ in range(times)), key=lambda arrival: arrival.at)
    events = []
    for sequence, arrival in enumerate(every):
        body = json.dumps({"records": draw(st.permutations([arrival.record, *draw(neighbours)]))}).encode()
        events.append(Event(sequence, arrival.at, draw(damages) % body))
    return every, events


def _deliver(deployment: Deployment, events: Sequence[Event], again: Sequence[int]) -> None:
    """Each window's events at once behind some that were delivered before, then its evaluation."""
    for place, end in enumerate(window_ends(START + BUCKET, END)):
        first = sum(event.enqueued < end - BUCKET for event in events)
        last = sum(event.enqueued < end for event in events)
        if last > first:
            deployment.ingest(SOURCE, events[max(first - again[place], 0) : last])
        deployment.tick(end)


def _expected(every: Sequence[Arrival]) -> dict[tuple[Place, datetime | None], int]:
    """Count every row: one for each window that fires, but for minutes, which have one for all windows."""
    rows: dict[tuple[Place, datetime | None], int] = {}
    posted: dict[str, dict[Place, int]] = {}  # by resource, while anything of it fires
    for end in window_ends(START + BUCKET, END):
        groups = {place: group for place, group in oracle.window(every, end).items() if place[0] in NUMBERS}
        firing = {place: group.count for place, group in groups.items() if oracle.fires(place[0], group, NUMBERS)}
        minutes = {place: count for place, count in firing.items() if place[0] == "denial_of_service"}
        rows |= {(place, end): count for place, count in firing.items() if place not in minutes}
        posted = {resource: posted.get(resource, {}) for resource in {group[0] for _, group in minutes}}
        for place, count in minutes.items():
            if count > posted[place[1][0]].get(place, 0):
                rows[place, None] = posted[place[1][0]][place] = count
    return rows


@examples(60)
@given(stream=streams(), again=st.lists(st.integers(0, 6), min_size=13, max_size=13))
def test_what_is_posted_is_what_plain_loops_find(stream: tuple[list[Arrival], list[Event]], again: list[int]) -> None:
    """Every rule, every window, every minute, with its count; and nothing else."""
    every, events = stream
    deployment = Deployment(policy=Policy(NUMBERS))
    _deliver(deployment, events, again)
    rows: dict[tuple[Place, datetime | None], int] = {}
    for row in deployment.posted.newest().values():
        if row["Status"] != "Closed":
            end = None if "Minute" in row["Group"] else datetime.fromisoformat(row["WindowEnd"])
            rows[(row["RuleId"], tuple(row["Group"].values())), end] = row["EventCount"]
    assert rows == _expected(every)
