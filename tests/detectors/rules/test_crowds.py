"""The room of whoever leads groups: first come first kept, the others together, and nothing lost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.rules.crowds import (
    MAX_GROUPS,
    MAX_MINUTES,
    OTHERS,
    ROOMS,
    Room,
    condensed,
    is_crowd,
    merge_bounded,
    others_of,
)
from detectors.rules.tally import Key, Tally
from tests.examples import examples

MODELS = "bedrock_denied_models"


def _tally(sequence: int, count: int = 1, caller: str = "dana") -> Tally:
    return Tally(count=count, first_sequence=sequence, last_sequence=sequence, callers={caller: count})


def _key(model: object, lead: str = "mallory", rule_id: str = MODELS) -> Key:
    return Key(rule_id, (lead, f"{model}", "1"))


def test_the_first_groups_of_a_lead_are_kept_and_others_are_counted_together() -> None:
    """In the order of the events that brought them first, whatever the order in which they are told."""
    held: dict[Key, Tally] = {}
    merge_bounded(held, [(_key(place), _tally(place)) for place in reversed(range(MAX_GROUPS + 5))])
    merge_bounded(held, [(_key(0), _tally(99)), (_key("late"), _tally(99, 3)), (_key(7, "eve"), _tally(99))])
    others = Key(MODELS, ("mallory", OTHERS, OTHERS))
    assert held.keys() == {others, _key(7, "eve"), *map(_key, range(MAX_GROUPS))}
    assert (held[_key(0)].count, held[others].count, held[others].callers) == (2, 8, {"dana": 8})


def test_minutes_have_more_room() -> None:
    """An hour has sixty, and late logs bring older ones."""
    held: dict[Key, Tally] = {}
    merge_bounded(held, [(Key("denial_of_service", ("a", f"{minute}")), _tally(minute)) for minute in range(300)])
    assert len(held) == MAX_MINUTES + 1
    assert held[Key("denial_of_service", ("a", OTHERS))].count == 300 - MAX_MINUTES


def test_a_group_of_one_field_is_never_one_of_others() -> None:
    """It is its own lead."""
    held: dict[Key, Tally] = {}
    merge_bounded(held, [(Key("model_theft", (f"{number}",)), _tally(number)) for number in range(300)])
    assert len(held) == 300
    assert not any(is_crowd(key.group) for key in held)
    assert others_of(("a",)) == ("a",)


def test_a_lead_that_filled_a_segment_gets_no_more_names() -> None:
    """Neither groups nor callers; others do."""
    held: dict[Key, Tally] = {}
    added = [(_key(1), _tally(1)), (_key(1, "eve"), _tally(1)), (Key("model_theft", ("mallory",)), _tally(1))]
    merge_bounded(held, added, {"mallory"})
    assert {key: (tally.count, list(tally.callers), tally.other_callers) for key, tally in held.items()} == {
        Key(MODELS, ("mallory", OTHERS, OTHERS)): (1, [], 1),
        Key("model_theft", ("mallory",)): (1, [], 1),
        _key(1, "eve"): (1, ["dana"], 0),
    }


parts = st.dictionaries(
    st.builds(_key, st.integers(0, 9), st.sampled_from("abc"), st.sampled_from([MODELS, "bedrock_token_burst"])),
    st.builds(_tally, st.integers(0, 9), st.integers(1, 9), st.sampled_from(["dana", "eli"])),
)


@examples(100)
@given(tallies=parts, room=st.builds(Room, st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)))
def test_a_message_that_is_condensed_loses_no_record(tallies: dict[Key, Tally], room: Room) -> None:
    """Whatever room it gets; nor a caller's record."""
    kept = condensed(tallies, room)
    for rule_id in (MODELS, "bedrock_token_burst"):
        before, after = ([tally for key, tally in some.items() if key.rule_id == rule_id] for some in (tallies, kept))
        assert sum(tally.count for tally in after) == sum(tally.count for tally in before)
        named = sum(sum(tally.callers.values()) + tally.other_callers for tally in after)
        assert named == sum(tally.count for tally in before)
        leads = Counter(key.group[0] for key in kept if key.rule_id == rule_id and key.group[0] != OTHERS)
        assert len(leads) <= room.leads
        assert max(leads.values(), default=0) <= room.groups + 1
    assert all(len(tally.callers) <= room.names for tally in kept.values())


def test_the_largest_groups_of_a_message_are_kept() -> None:
    """Of the largest leads."""
    tallies = {_key(model, lead): _tally(1, model + 5 * (lead == "b")) for lead in "ab" for model in range(1, 4)}
    kept = condensed(tallies, Room(1, 1, 1))
    assert {key.group: tally.count for key, tally in kept.items()} == {
        ("b", "3", "1"): 8,
        ("b", OTHERS, OTHERS): 13,
        (OTHERS, OTHERS, OTHERS): 6,
    }


@pytest.mark.parametrize("rules", [1, 20])
def test_the_last_room_fits_always(rules: int) -> None:
    """A group for each rule, without names."""
    tallies = {_key(n, f"{n}", f"rule-{n % rules}"): _tally(n, 1, f"{n}") for n in range(500)}
    kept = condensed(tallies, ROOMS[-1])
    assert {key.group for key in kept} == {(OTHERS,) * 3}
    assert (len(kept), sum(tally.count for tally in kept.values())) == (rules, 500)
