"""Names from logs: whatever characters they hold, what is made of them can be stored, queued and posted."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.ingestion.delta import Delta
from detectors.rules.catalogue import CATALOGUE
from tests.builders import START, bedrock, chat, list_key

REFUSED = ("\ufffe", "\uffff", "\ud800", "\udfff")
"""Azure's queues refuse the first two as text, and no encoding has the others."""

characters = st.characters(codec=None, categories=None)


def _counted(character: str, *, broken: bool, escaped: bool) -> Delta:
    """Return a batch in which that character stands in every name; a broken message is read record by record."""
    caller = f"0d1e2f3a{character}"
    records = [
        list_key(f"aoai{character}", caller=caller),
        chat(f"aoai{character}", objectId=caller),
        {**chat(f"aoai{character}", objectId=""), "callerIpAddress": f"81.2.69.{character}"},
        {**list_key(), "resourceId": f"no resource{character}"},
        bedrock(f"arn:aws:iam::111122223333:user/dana{character}", errorCode="ThrottlingException"),
    ]
    text = json.dumps({"records": records}, ensure_ascii=escaped)
    body = text.encode(errors="surrogatepass")
    return BatchCounter(CATALOGUE).count([Event(1, START, body + b'{"' if broken else body)], START)


def _names(delta: Delta) -> set[str]:
    groups = {name for key in delta.tallies for name in key.group}
    callers = {caller for tally in delta.tallies.values() for caller in (*tally.callers, *tally.caller_bytes)}
    return groups | callers | set(delta.counters.accounts) | {placed.flaw.excerpt for placed in delta.flaws}


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("escaped", [False, True])
@example(REFUSED[0])
@example(REFUSED[1])
@example(REFUSED[2])
@given(character=characters)
def test_no_name_holds_what_a_queue_refuses(character: str, *, broken: bool, escaped: bool) -> None:
    """However a record is written and read; one such record would keep every window from being concluded."""
    for name in _names(_counted(character, broken=broken, escaped=escaped)):
        assert not any(refused in name for refused in REFUSED)


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("refused", ["\ufffe", "\uffff", "\ud800"])
def test_a_refused_character_is_shown_as_a_question_mark(refused: str, *, broken: bool) -> None:
    """The record counts all the same, and the rest of its names stays."""
    names = _names(_counted(refused, broken=broken, escaped=True))
    assert {name for name in names if name.startswith("0d1e2f3a")} == {"0d1e2f3a?"}
    assert {name.rsplit("/", 1)[-1] for name in names if name.startswith("/subscriptions")} == {"aoai?"}
