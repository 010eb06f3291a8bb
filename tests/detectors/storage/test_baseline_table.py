"""The stored baseline: hosts share it, learn at the same time, and forget nothing of what the other learnt."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import ConflictError
from detectors.evaluation.baseline import MemoryBaseline, Sighting
from detectors.storage.baseline_table import MAX_CONFLICTS, TableBaseline
from detectors.storage.slices import slice_of
from detectors.storage.tables import MemoryTable
from detectors.windows import BUCKET
from tests.builders import START, canonical_id
from tests.examples import examples
from tests.intercepted_table import ShakyTable

RULE = "new_key_lister"
END = START + BUCKET


def _seen(member: str, name: str = "aoai-prod", *, days: int = 0) -> Sighting:
    return Sighting(RULE, (canonical_id(name), member), START + timedelta(days=days))


sightings = st.builds(
    _seen, st.sampled_from(["dana", "eli", "kim"]), st.sampled_from(["a", "b", "c"]), days=st.integers(-20, 0)
)


@examples(60)
@given(meetings=st.lists(st.lists(sightings, max_size=5), max_size=5))
def test_hosts_that_share_a_table_know_what_one_process_would(meetings: list[list[Sighting]]) -> None:
    """Each meeting by another host."""
    table, alone = MemoryTable(), MemoryBaseline()
    for met in meetings:
        assert TableBaseline(table).find_newcomers(met, END) == alone.find_newcomers(met, END)


def test_a_row_is_in_the_slice_of_its_resource() -> None:
    """So that a shard reads its own alone."""
    table = MemoryTable()
    TableBaseline(table).find_newcomers([_seen("dana", "a"), _seen("eli", "b")], END)
    wanted = {f"{slice_of((canonical_id(name),)):02d}" for name in "ab"}
    assert {row.partition for row in table.query("0", "z")} == wanted


def test_what_another_host_learns_meanwhile_is_not_lost() -> None:
    """The write is refused, and made again over what is there now."""
    table = MemoryTable()
    TableBaseline(table).find_newcomers([_seen("dana", days=-20)], END - timedelta(days=20))
    shaky = ShakyTable(table, before_write=[lambda: TableBaseline(table).find_newcomers([_seen("eli")], END)])
    assert [key.group[-1] for key in TableBaseline(shaky).find_newcomers([_seen("kim")], END)] == ["kim"]
    later = END + timedelta(days=1)
    assert TableBaseline(table).find_newcomers([_seen("eli"), _seen("kim"), _seen("dana")], later) == {}


def _refuse() -> None:
    raise ConflictError("precondition failed")


@pytest.mark.parametrize(("refused", "gives_up"), [(MAX_CONFLICTS, False), (MAX_CONFLICTS + 1, True)])
def test_a_fight_over_a_row_ends(refused: int, *, gives_up: bool) -> None:
    """After so many lost writes the step has to come again; it has learnt nothing then."""
    table = MemoryTable()
    shaky = TableBaseline(ShakyTable(table, before_write=[_refuse] * refused))
    if gives_up:
        with pytest.raises(ConflictError):
            shaky.find_newcomers([_seen("dana")], END)
    else:
        shaky.find_newcomers([_seen("dana")], END)
    assert bool(list(table.query("0", "z"))) is not gives_up
