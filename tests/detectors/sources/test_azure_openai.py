"""Azure OpenAI's diagnostic logs: what a record says, in each of the forms that services write."""

import json
from typing import Any

import pytest

from detectors.sources.azure_openai import SOURCE, Properties, Traits, properties_of
from detectors.sources.decoding import decode
from tests.builders import PIPELINE, canonical_id, chat, list_key, message, resource_id

ADDRESS = "81.2.69.***"


def _record(record: dict[str, Any]) -> Any:  # noqa: ANN401 - the fields of all sources
    (decoded,) = decode(message(record)).records
    return decoded


def _traits(record: dict[str, Any]) -> Traits:
    traits: Traits = SOURCE.traits(*SOURCE.observe(_record(record))[0])
    return traits


def test_a_key_listing_says_who_listed_the_keys_of_what() -> None:
    """Its traits begin with the source's name, and its numbers are not there."""
    traits, time, request, response, caller, unreadable = SOURCE.observe(_record(list_key()))
    assert traits == ("azure_openai", "Audit", "ListKey", resource_id(), None, "entra", "no", "call")
    assert (time, request, response) == ("2026-11-23T07:59:58.1234567Z", None, None)
    assert (caller, unreadable) == (PIPELINE, frozenset())


@pytest.mark.parametrize("as_text", [True, False])
def test_properties_say_the_same_as_an_object_and_as_text(*, as_text: bool) -> None:
    """Services write both."""
    properties = {"objectId": "dana", "requestLength": 5, "responseLength": 0}
    record = {**chat(), "properties": json.dumps(properties) if as_text else properties}
    _, _, request, response, caller, unreadable = SOURCE.observe(_record(record))
    assert (request, response, caller, unreadable) == (5, 0, "dana", frozenset())


@pytest.mark.parametrize(("object_id", "caller"), [("dana", "dana"), ("", ADDRESS), (None, ADDRESS)])
def test_the_caller_is_the_object_id_or_else_the_address(object_id: str | None, caller: str) -> None:
    """With a key there is no identity; how the caller is kept tells which of the two it is."""
    record = chat(objectId=object_id)
    traits = _traits(record)
    assert SOURCE.observe(_record(record))[4] == caller
    assert traits.authentication == ("entra" if object_id else "key")
    assert SOURCE.name_of_caller(traits)(caller) == (caller if object_id else f"ip {ADDRESS}")


def test_a_record_of_nobody_has_no_caller() -> None:
    """Neither identity nor address."""
    record = chat(objectId="")
    del record["callerIpAddress"]
    assert SOURCE.observe(_record(record))[4] == ""


@pytest.mark.parametrize("spelling", [str.upper, str.lower, str.title])
def test_a_resource_is_one_in_every_spelling(spelling: Any) -> None:  # noqa: ANN401 - a method of str
    """As the canonical id of the account; a record without one, or with another text, tells none."""
    read = SOURCE.fields["resource"].read
    assert read(_traits({**chat(), "resourceId": spelling(resource_id())})) == canonical_id()
    assert [read(_traits({**chat(), "resourceId": other})) for other in (None, "", "nowhere")] == [None] * 3


@pytest.mark.parametrize("text", ["what", "[1]", "7", '{"responseLength": ', "\x00"])
def test_properties_that_cannot_be_read_are_told_by_their_name(text: str) -> None:
    """What they may have said is not known, so a rule that asks for it gives the benefit of doubt."""
    assert properties_of(_record({**chat(), "properties": text})) == (Properties(), frozenset({"properties"}))


def test_a_length_that_cannot_be_one_costs_only_itself() -> None:
    """By its own name; the rest is read."""
    text = json.dumps({"objectId": "dana", "requestLength": "7", "responseLength": -1})
    found, unreadable = properties_of(_record({**chat(), "properties": text}))
    assert found == Properties(object_id="dana", request_length=7)
    assert unreadable == {"responseLength"}


def test_only_azure_ai_accounts_are_watched_for_silence() -> None:
    """In their canonical form, once each."""
    others = ["/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/fn", None, ""]
    assert SOURCE.watched([resource_id("a"), resource_id("a", upper=False), *others]) == {canonical_id("a")}


def test_of_two_object_ids_the_older_field_is_the_caller() -> None:
    """Newer records have both, and one alone is enough."""
    both = chat(objectId="dana", callerObjectId="erin")
    assert SOURCE.observe(_record(both))[4] == "dana"
    assert SOURCE.observe(_record(chat(objectId="", callerObjectId="erin")))[4] == "erin"


@pytest.mark.parametrize(
    ("stream", "length", "said"), [("Streaming", 0, "empty"), ("Streaming", 5, "yes"), ("Non-Streaming", 0, "no")]
)
def test_a_streamed_answer_of_length_0_is_told_from_others(stream: str, length: int, said: str) -> None:
    """Services log all streamed answers so."""
    assert _traits(chat(streamType=stream, responseLength=length)).streamed == said


@pytest.mark.parametrize(
    ("told", "row"),
    [({}, "twin"), ({"responseLength": 5}, "call"), ({"modelName": "m"}, "call"), ({"objectId": "d"}, "call")],
)
def test_one_thing_that_only_a_call_says_makes_it_a_call(told: dict[str, Any], row: str) -> None:
    """The second row of a call has a length of its request alone."""
    record = {**chat(), "properties": {"requestLength": 9, "responseLength": 0, **told}}
    assert _traits(record).row == row


def test_only_an_account_is_watched() -> None:
    """Other services log to the same hub."""
    traits = _traits(list_key())
    assert SOURCE.account(traits) == canonical_id()
    other = traits._replace(
        resource_id=resource_id().replace("CognitiveServices", "KeyVault").replace("COGNITIVESERVICES", "KEYVAULT")
    )
    assert other != traits
    assert SOURCE.account(other) is None


@pytest.mark.parametrize("name", ["row", "authentication", "caller"])
@pytest.mark.parametrize("unreadable", ["objectId", "callerObjectId", "properties"])
def test_a_caller_that_cannot_be_read_leaves_open_what_follows_from_it(name: str, unreadable: str) -> None:
    """A rule that asks for it may have selected the record."""
    assert unreadable in SOURCE.fields[name].wire
