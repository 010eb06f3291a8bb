"""Writers of records: what they make is read back as what it was made of."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.examples.catalogue import WRITERS
from detectors.examples.writer import Fields
from detectors.rules.examples import WORDS
from detectors.sources.aws_bedrock import principal
from detectors.sources.azure_openai import GENERATING
from detectors.sources.catalogue import BY_NAME, SOURCES
from detectors.sources.decoding import decode
from detectors.sources.resources import kind_of
from detectors.sources.source import CALLER, LogSource, Value
from detectors.windows import record_time
from tests.builders import canonical_id

_names = st.text("abcdefghijklmnopqrstuvwxyz-äß✓", min_size=1, max_size=20)
_lengths = st.none() | st.integers(0, 2**63 - 1)
_resources = st.none() | st.text("abcdefghijklmnop-0123456789", min_size=1, max_size=20).map(canonical_id)


def _azure(caller: str, authentication: str, streamed: str, others: dict[str, Value]) -> dict[str, Value]:
    """Make a call; a streamed answer has a length or is empty, and no twin names its caller."""
    length = others["response_length"]
    told = {"no": length, "yes": length or None, "empty": None}[streamed]
    twin = authentication == "key" and streamed == "no" and not told
    return {
        **others,
        "caller": caller,
        "authentication": authentication,
        "activity": "generation" if others["operation"] in GENERATING else None,
        "streamed": "empty" if streamed == "yes" and not told else streamed,
        "response_length": told,
        "row": "twin" if twin and others["category"] != "Audit" else "call",
    }


def _activity(resource: str, caller: str, others: dict[str, Value]) -> dict[str, Value]:
    return {**others, "resource": resource, "resource_kind": kind_of(resource), "caller": caller}


def _aws(caller: str, others: dict[str, Value]) -> dict[str, Value]:
    return {**others, "caller": caller, "principal": principal(caller)}


def _bedrock(caller: str, blocking: int, others: dict[str, Value]) -> dict[str, Value]:
    intervened = "yes" if blocking else others["intervened"]
    return {**_aws(caller, others), "blocking_policies": blocking, "intervened": intervened}


_arns = st.one_of(
    _names.map(lambda name: f"arn:aws:iam::111122223333:user/{name}"),
    _names.map(lambda name: f"arn:aws:sts::111122223333:assumed-role/app/{name}"),
)
FIELDS: Mapping[str, st.SearchStrategy[dict[str, Value]]] = {
    "azure_openai": st.builds(
        _azure,
        _names,
        st.sampled_from(["entra", "key"]),
        st.sampled_from(["no", "yes", "empty"]),
        st.fixed_dictionaries(
            {
                "category": _names,
                "operation": st.none() | _names | st.sampled_from(sorted(GENERATING)),
                "resource": _resources,
                "status": st.none() | _names,
                "request_length": _lengths,
                "response_length": _lengths,
            }
        ),
    ),
    "azure_activity": st.builds(
        _activity,
        st.text("abcdefghijklmnop-0123456789", min_size=1, max_size=20).map(canonical_id),
        st.uuids().map(str) | st.ip_addresses(v=4).map(str),
        st.fixed_dictionaries(
            {
                "operation": _names.map(lambda name: f"MICROSOFT.{name.upper()}/ACTION"),
                "stage": st.sampled_from(["start", "end"]),
            }
        ),
    ),
    "aws_bedrock": st.builds(
        _bedrock,
        _arns,
        st.integers(0, 5),
        st.fixed_dictionaries(
            {
                "account": st.none() | _names,
                "model": st.none() | _names,
                "error": st.none() | _names,
                "intervened": st.none() | st.just("yes"),
                "input_tokens": _lengths,
                "output_tokens": _lengths,
            }
        ),
    ),
    "aws_cloudtrail": st.builds(
        _aws,
        _arns,
        st.fixed_dictionaries({"service": _names, "event": _names, "error": st.none() | _names, "account": _names}),
    ),
}
times = st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds without
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.name))


def _read(source: LogSource, record: Mapping[str, Any]) -> tuple[dict[str, Value], str | None]:
    """Return the fields of a record as its source reads it from a message, and its time."""
    (read,) = decode(msgspec.json.encode({"records": [record]})).records
    assert next(one for one in SOURCES if one.recognises(read)) is source
    values, time, request, response, caller, unreadable = source.observe(read)
    assert not unreadable
    traits = source.traits(*values)
    fields = {name: field.read(traits) for name, field in source.fields.items()}
    fields |= dict(zip(source.numbers, (request, response), strict=True) if source.number_wire else ())
    return {**fields, CALLER: caller}, time


@each_source
@given(data=st.data(), at=times)
def test_what_a_writer_writes_is_read_as_it_was(source: LogSource, data: st.DataObject, at: datetime) -> None:
    """Every field and number of the source, and the second of the time."""
    fields = data.draw(FIELDS[source.name])
    read, time = _read(source, WRITERS[source.name].write(fields, at))
    assert {name: value for name, value in read.items() if name in fields} == fields
    assert fields.keys() == source.fields.keys() | source.number_wire.keys()
    told = record_time(time)
    assert told is not None
    assert told.replace(microsecond=0) == at.replace(microsecond=0)


@each_source
def test_an_ordinary_record_says_all_that_rules_may_group_by(source: LogSource) -> None:
    """So that an example needs to say only what matters; and none of its texts is a short name any more."""
    fields = WRITERS[source.name].complete({}, 0)
    read, _ = _read(source, WRITERS[source.name].write(fields, datetime(2026, 11, 23, 8, tzinfo=UTC)))
    assert all(read[name] is not None for name, one in source.fields.items() if one.column)
    assert WRITERS[source.name].complete(fields, 0) == fields


@pytest.mark.parametrize(
    ("source", "given_fields", "becomes"),
    [
        ("azure_openai", {"resource": "aoai-lab"}, {"resource": "/subscriptions/"}),
        ("azure_openai", {"caller": "198.51.100.***"}, {"authentication": "key", "caller": "198.51.100.***"}),
        ("azure_openai", {"caller": "dana", "authentication": "key"}, {"caller": "81.2.69.***"}),
        ("azure_openai", {"category": "Audit"}, {"authentication": "entra"}),
        ("azure_openai", {"caller": None}, {"caller": None}),
        (
            "aws_bedrock",
            {"caller": "dana of data"},
            {
                "caller": "arn:aws:sts::111122223333:assumed-role/app-prod/dana-",
                "principal": "arn:aws:sts::111122223333:assumed-role/app-prod",
            },
        ),
        ("aws_bedrock", {"principal": "a job"}, {"caller": "arn:aws:sts::111122223333:assumed-role/a-job/an-"}),
        ("aws_bedrock", {"principal": "arn:aws:iam::1:user/dana"}, {"caller": "arn:aws:iam::1:user/dana"}),
        ("aws_bedrock", {"blocking_policies": 1}, {"intervened": "yes"}),
        ("aws_cloudtrail", {"principal": "a job"}, {"caller": "arn:aws:sts::111122223333:assumed-role/a-job/an-"}),
        ("azure_openai", {"operation": "Embeddings_Create", "activity": "generation"}, {"activity": None}),
        ("azure_openai", {"activity": None}, {"operation": "Embeddings_Create"}),
        ("azure_openai", {"streamed": "empty", "response_length": 0}, {"response_length": None}),
        ("azure_openai", {"row": "twin", "caller": "dana"}, {"caller": None, "authentication": "key"}),
        ("azure_activity", {"resource": "st", "resource_kind": "Microsoft.Storage/x"}, {"resource": "/subscriptions/"}),
        ("aws_bedrock", {"caller": "arn:aws:iam::1:root"}, {"caller": "arn:aws:iam::1:root"}),
    ],
)
def test_short_names_become_values_as_services_have_them(source: str, given_fields: Fields, becomes: Fields) -> None:
    """And what is one already stays."""
    fields = WRITERS[source].complete(given_fields, 0)
    assert all(str(fields[name]).startswith(str(value)) for name, value in becomes.items())


def test_callers_of_a_name_have_one_object_id() -> None:
    """Others have others; and an id is none that becomes another."""
    complete = WRITERS["azure_openai"].complete
    dana, again, other = (complete({"caller": name}, 0)["caller"] for name in ("dana", "dana", "kim"))
    assert dana == again != other
    assert complete({"caller": dana}, 0)["caller"] == dana


def test_key_listings_tell_no_status_and_no_length_unless_asked() -> None:
    """As in public samples of the category."""
    record = WRITERS["azure_openai"].write(
        WRITERS["azure_openai"].complete({"category": "Audit", "operation": "ListKey"}, 0),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert "resultSignature" not in record
    assert record["properties"].keys() == {"objectId"}


@each_source
def test_the_same_names_mean_something_else_to_another_customer(source: LogSource) -> None:
    """Who forgets to group by the subscription, or the AWS account, mixes them up."""
    complete = WRITERS[source.name].complete
    one, other, third = (complete({"caller": "dana"}, customer) for customer in range(3))
    assert one != other != third != one


@each_source
def test_every_source_has_a_writer_and_no_field_that_means_something_else_in_an_event(source: LogSource) -> None:
    """`times = 100` is no field."""
    assert WRITERS.keys() == BY_NAME.keys()
    assert not WORDS & (source.fields.keys() | source.number_wire.keys())
