"""Callers: an object id where there is one, else a masked address, and back again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from detectors.sources.callers import Caller, address, named, parse
from detectors.sources.text import storable
from tests.builders import PIPELINE, START, chat, event, of_rules


@pytest.mark.parametrize(
    ("object_id", "ip_address", "caller"),
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
    object_id: str | None, ip_address: str | None, caller: Caller
) -> None:
    """Key authentication has no object id; an unknown caller is counted as such."""
    record = {**chat(objectId=object_id), "callerIpAddress": ip_address}
    tallies = of_rules(BatchCounter(CATALOGUE).count([event(1, record)], START).tallies)
    assert tallies
    for tally in tallies.values():
        assert [parse(text) for text in tally.callers] == [caller]


texts = st.none() | st.text() | st.integers(0, 4).map(lambda times: "0d1e2f3a-" * 14 * times)


@given(name=texts, ip_address=texts)
def test_a_caller_is_short_whatever_a_record_holds(name: str | None, ip_address: str | None) -> None:
    """Its text is stored for every group, so nobody may blow it up; one of the two is always empty."""
    for text in (named(name), address(ip_address)):
        assert len(text) <= 131
        assert "" in parse(text)


@given(st.text(min_size=1, max_size=128).filter(lambda text: not text.endswith("*")))
def test_an_address_is_never_taken_for_a_name(ip_address: str) -> None:
    """It comes back as the address that it was, but for what nothing can store."""
    assert parse(address(ip_address)) == Caller("", storable(ip_address))


@pytest.mark.parametrize("masked", ["20.236.11.*", "20.236.11.**", "20.236.11.***"])
def test_an_address_is_one_network_however_many_digits_are_masked(masked: str) -> None:
    """Azure masks digit by digit: `.7`, `.70` and `.170` of one network differ in their stars alone."""
    assert parse(address(masked)) == Caller("", "20.236.11.***")


def test_long_names_that_begin_alike_stay_apart() -> None:
    """They are cut, and told apart by their hashes: nobody hides behind a long name."""
    one, other = named("a" * 500 + "1"), named("a" * 500 + "2")
    assert one != other
    assert one.startswith("a" * 100)
    assert len(one) == len(other) == 128
