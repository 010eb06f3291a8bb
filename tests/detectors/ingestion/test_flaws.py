"""The flaws of messages: all are counted, few are kept."""

from functools import partial

from detectors.ingestion.delta import Delta
from detectors.ingestion.flaws import MAX_FLAWS_OF_BATCH, Flaws
from detectors.rules.counters import Counters
from detectors.sources.decoding import MAX_FLAWS, Message, RecordFlaw


def _found(index: int) -> RecordFlaw:
    return RecordFlaw(index, "not_json", "this is not JSON", f"text {index}")


def _add(flaws: Flaws, count: int, reason: str = "future_time") -> list[int]:
    """Add flaws of a reason, and return the places whose excerpt was made."""
    made: list[int] = []

    def excerpt(index: int) -> str:
        made.append(index)
        return f"record {index}"

    for index in range(count):
        flaws.add(index, reason, "", partial(excerpt, index))
    return made


def test_what_decoding_found_comes_with_its_place_in_the_partition() -> None:
    """Also those that decoding counted and did not keep."""
    delta = Delta()
    Flaws(delta, Message([], [_found(3)], {"not_json": 40}), lambda index: 100 + index)
    assert [(placed.sequence, placed.flaw) for placed in delta.flaws] == [(103, _found(3))]
    assert delta.counters.quarantined == {"not_json": 41}


def test_the_first_of_a_reason_are_kept_and_no_excerpt_is_made_in_vain() -> None:
    """However many there are; another reason has room of its own."""
    delta = Delta()
    flaws = Flaws(delta, Message([]), lambda index: index)
    assert _add(flaws, MAX_FLAWS + 50) == list(range(MAX_FLAWS))
    assert _add(flaws, 2, "unreadable_field") == [0, 1]
    assert delta.counters.quarantined == {"future_time": MAX_FLAWS + 50, "unreadable_field": 2}
    assert len(delta.flaws) == MAX_FLAWS + 2
    assert flaws.flawed == set(range(MAX_FLAWS + 50))


def test_the_messages_of_a_batch_share_the_room() -> None:
    """A batch of broken messages must not fill memory."""
    delta = Delta()
    messages = MAX_FLAWS_OF_BATCH // MAX_FLAWS + 3
    for _ in range(messages):
        _add(Flaws(delta, Message([]), lambda index: index), MAX_FLAWS)
    assert len(delta.flaws) == MAX_FLAWS_OF_BATCH
    assert delta.counters == Counters(quarantined={"future_time": messages * MAX_FLAWS})
