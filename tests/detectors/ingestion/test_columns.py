"""Adding up column by column: any split of a batch, merged again, is the whole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from detectors.ingestion.columns import Columns
from detectors.ingestion.decisions import Choice, Decision, Names, Target
from detectors.ingestion.delta import Tallies
from detectors.rules.catalogue import BY_ID
from detectors.rules.counters import Counters, Selected
from detectors.rules.rule import Rule
from detectors.rules.tally import Key, Observation
from detectors.sources.callers import named
from detectors.windows import record_time
from tests.builders import START
from tests.examples import examples

RULE = BY_ID["large_transfer"]
PER_MINUTE = replace(RULE, id="by_minute", group_fields=("ResourceId", "Minute"), per_minute=True)
EACH_CALLER = replace(RULE, id="by_caller", group_by=("resource", "caller"), group_fields=("ResourceId", "Caller"))
BOTH = replace(EACH_CALLER, id="by_both", group_fields=("ResourceId", "Caller", "Minute"), per_minute=True)
NAMES = Names(named)
EMPTY = replace(RULE, id="empty_answers")

MOMENTS = [record_time(f"2026-11-23T{clock}Z") for clock in ("07:59:59.9999999", "08:00:00", "08:00:59", "08:01:00")]
observations = st.lists(
    st.tuples(
        st.integers(0, 50),
        st.sampled_from(MOMENTS),
        st.sampled_from([None, 0, 9_000]),
        st.sampled_from([None, 0, 1, 700]),
        st.sampled_from(["dana", "eli", "kim"]),
    ),
    min_size=1,
    max_size=15,
)


def _is_empty(one: Observation) -> bool:
    return one[3] == 0


def _target(rule: Rule, *group: str | None, check: Callable[[Observation], bool] | None = None) -> Target:
    if check is None:
        return Target(Choice(rule), group, "")
    return Target(Choice(rule, check, lambda them: [one for one in them if check(one)]), group, "")


DECISION = Decision(
    NAMES,
    [
        _target(RULE, "a"),
        _target(PER_MINUTE, "a"),
        _target(EACH_CALLER, "a", None),
        _target(BOTH, "a", None),
        _target(EMPTY, "a", check=_is_empty),
    ],
    tokens=False,
    account=None,
)
OF_ANOTHER_RESOURCE = Decision(NAMES, [_target(RULE, "b")], tokens=False, account=None)


def _added_up(*parts: tuple[Decision, Sequence[Observation]]) -> tuple[Tallies, Counters]:
    columns = Columns()
    for decision, found in parts:
        columns.observations[decision] += found
    return columns.add_up()


def _merged(one: Tallies, other: Tallies) -> Tallies:
    merged = dict(one)
    for key, tally in other.items():
        merged[key] = merged[key].merged(tally) if key in merged else tally
    return merged


@examples(100)
@given(found=observations, cuts=st.lists(st.integers(0, 15), max_size=4))
def test_any_split_of_a_batch_merges_to_the_whole(found: list[Observation], cuts: list[int]) -> None:
    """For a rule by resource, by minute, by caller, by both, and one that takes some records only."""
    ends = sorted({0, *cuts, len(found)})
    pieces = [piece for first, last in pairwise(ends) if (piece := found[first:last])]
    parts = [_added_up((DECISION, piece)) for piece in pieces]
    whole, selected = _added_up((DECISION, found))
    assert reduce(_merged, [tallies for tallies, _ in parts]) == whole
    assert reduce(Counters.merged, [counters for _, counters in parts], Counters()) == selected


@examples(100)
@given(found=observations)
def test_each_record_is_in_the_group_of_its_minute_and_its_caller(found: list[Observation]) -> None:
    """Counted one by one here."""
    tallies, counters = _added_up((DECISION, found))
    for key, tally in tallies.items():
        members = [one for one in found if all(part in _texts(one) for part in key.group)]
        members = [one for one in members if key.rule_id != EMPTY.id or _is_empty(one)]
        assert (tally.count, sum(tally.callers.values())) == (len(members), len(members))
        assert tally.responses.total == sum(one[3] or 0 for one in members)
        assert (tally.first_sequence, tally.last_sequence) == (
            min(one[0] for one in members),
            max(one[0] for one in members),
        )
    assert counters.by_any_rule == Selected(len(found), sum(one[3] is not None for one in found))
    everybody = {key.group for key in tallies if key.rule_id == EACH_CALLER.id}
    assert everybody == {("a", one[4]) for one in found}


def _texts(one: Observation) -> set[str]:
    assert one[1] is not None
    return {"a", one[4], f"{one[1]:%Y-%m-%dT%H:%MZ}"}


def test_records_of_several_combinations_and_one_group_are_added_together() -> None:
    """And tallies of groups that were alike stay apart: what is added to one is not added to the other."""
    twin = Decision(NAMES, [_target(RULE, "a")], tokens=False, account="a")
    one: Observation = (1, MOMENTS[0], None, 700, "dana")
    tallies, _ = _added_up((DECISION, [one]), (twin, [one, one]), (OF_ANOTHER_RESOURCE, [one]))
    counts = {key: tally.count for key, tally in tallies.items()}
    assert counts[Key(RULE.id, ("a",))] == 3
    assert counts[Key(EACH_CALLER.id, ("a", "dana"))] == counts[Key(RULE.id, ("b",))] == 1
    assert tallies[Key(RULE.id, ("a",))].caller_bytes == {"dana": 2_100}


def test_a_combination_whose_group_is_not_known_adds_nothing() -> None:
    """To the rule that cannot group it; others count it."""
    ungrouped = Decision(
        NAMES, [Target(Choice(EMPTY), None, "no_resource"), _target(RULE, "a")], tokens=False, account=None
    )
    tallies, _ = _added_up((ungrouped, [(1, MOMENTS[0], None, 0, "dana")]))
    assert list(tallies) == [Key(RULE.id, ("a",))]


def test_a_record_is_looked_at_as_often_however_many_minutes_there_are() -> None:
    """A sender may give each record a minute of its own."""
    looked = []
    for step in (timedelta(), timedelta(minutes=1)):
        columns = Columns()
        columns.observations[DECISION] = observations = _Watched(
            (n, START + n * step, 9_000, 10, "dana") for n in range(50)
        )
        columns.add_up()
        looked.append(observations.iterations)
    assert looked[1] <= looked[0]


class _Watched(list[Observation]):
    """Counts how often somebody goes over it."""

    iterations = 0

    def __iter__(self) -> Iterator[Observation]:
        self.iterations += 1
        return super().__iter__()
