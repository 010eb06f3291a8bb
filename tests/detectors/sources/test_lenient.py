"""Reading of parsed JSON what is certain, and naming what is not."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.sources import lenient
from detectors.sources.source import MAX_WHOLE, NOTHING, Scalar, Whole
from tests.examples import examples


class Inner(msgspec.Struct, rename="camel"):
    """What is nested."""

    object_id: str | None = None
    request_length: Whole | None = None


class Outer(msgspec.Struct, rename="camel"):
    """A field of each kind that sources have."""

    operation_name: str | None = None
    model_id: Scalar = None
    answer: msgspec.Raw = NOTHING
    properties: Inner | str | None = None


@pytest.mark.parametrize(
    ("written", "number"),
    [(0, 0), (7, 7), (3.0, 3), ("3", 3), (MAX_WHOLE, MAX_WHOLE), (str(MAX_WHOLE), MAX_WHOLE)],
)
def test_a_whole_number_is_read_however_it_is_written(written: object, number: int) -> None:
    """Up to the largest that storage holds."""
    assert lenient.whole(written) == number


@pytest.mark.parametrize(
    "written", [-1, 2.5, True, False, None, "", "-1", "3.0", "٣", "9" * 20, MAX_WHOLE + 1, float("inf"), [], {}]
)
def test_what_is_no_whole_number_is_none(written: object) -> None:
    """Neither rounded nor guessed."""
    assert lenient.whole(written) is None


def test_fields_are_read_by_their_names_in_json_and_others_are_left() -> None:
    """One level down too; what is missing keeps its default."""
    value = {"operationName": "ListKey", "properties": {"objectId": "dana", "more": 1}, "operation_name": "x"}
    assert lenient.read(Outer, value) == (Outer(operation_name="ListKey", properties=Inner(object_id="dana")), ())


def test_what_cannot_be_read_is_named_and_costs_only_itself() -> None:
    """With the name of the field that holds it, wherever it is."""
    value = {"operationName": 5, "modelId": 5, "properties": {"objectId": [], "requestLength": -1}}
    read, unreadable = lenient.read(Outer, value)
    assert read == Outer(properties=Inner())
    assert unreadable == ("operationName", "objectId", "requestLength")


@pytest.mark.parametrize("value", [[], 5, True])
def test_a_nested_value_of_another_kind_is_named_by_its_own_name(value: object) -> None:
    """A text is read: properties may be JSON in one."""
    assert lenient.read(Outer, {"properties": value}) == (Outer(), ("properties",))
    assert lenient.read(Outer, {"properties": "{}"}) == (Outer(properties="{}"), ())


def test_null_is_as_good_as_missing() -> None:
    """Not something to look at."""
    value = dict.fromkeys(("operationName", "modelId", "properties"))
    assert lenient.read(Outer, value) == (Outer(), ())


def test_halves_of_surrogate_pairs_do_not_get_in() -> None:
    """They cannot be encoded, and so not be stored."""
    read, _ = lenient.read(Outer, {"operationName": "a\ud83d", "modelId": "b\udc00"})
    assert (read.operation_name, read.model_id) == ("a?", "b?")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@examples(100)
@given(
    value=st.dictionaries(
        st.sampled_from(["operationName", "modelId", "answer", "properties", "objectId"]), json_values
    )
)
def test_any_object_gives_a_record_that_can_be_stored(value: dict[str, Any]) -> None:
    """Each field is read, or named, or says nothing; an answer stays the JSON that it was."""
    read, unreadable = lenient.read(Outer, value)
    msgspec.json.encode(read)
    assert read.operation_name is not None or value.get("operationName") is None or "operationName" in unreadable
    assert json.loads(bytes(read.answer)) == value.get("answer")
