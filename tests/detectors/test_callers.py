"""Callers: an object id where there is one, else a masked address, and back again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.callers import Caller, azure_caller, parse
from detectors.records import Properties, Record, storable
from tests.builders import PIPELINE


@pytest.mark.parametrize(
    ("object_id", "address", "caller"),
    [
        (PIPELINE, None, Caller(PIPELINE, "")),
        (PIPELINE, "81.2.69.***", Caller(PIPELINE, "")),
        ("", "81.2.69.***", Caller("", "81.2.69.***")),
        (None, "2001:db8::***", Caller("", "2001:db8::***")),
        ("", "", Caller("", "")),
        (None, None, Caller("", "")),
    ],
)
def test_a_caller_is_an_object_id_or_else_a_masked_address(
    object_id: str | None, address: str | None, caller: Caller
) -> None:
    """Key authentication has no object id; an unknown caller is counted as such."""
    text = azure_caller(Record(caller_ip_address=address), Properties(object_id=object_id))
    assert parse(text) == caller


texts = st.none() | st.text() | st.integers(0, 4).map(lambda times: "0d1e2f3a-" * 14 * times)


@given(object_id=texts, address=texts)
def test_a_caller_is_short_whatever_a_record_holds(object_id: str | None, address: str | None) -> None:
    """Its text is stored for every group, so nobody may blow it up; one of the two is always empty."""
    text = azure_caller(Record(caller_ip_address=address), Properties(object_id=object_id))
    assert len(text) <= 131
    assert "" in parse(text)


@given(st.text(min_size=1, max_size=128))
def test_an_address_is_never_taken_for_an_object_id(address: str) -> None:
    """It comes back as the address that it was, but for what nothing can store."""
    text = azure_caller(Record(caller_ip_address=address), Properties(object_id=""))
    assert parse(text) == Caller("", storable(address))
