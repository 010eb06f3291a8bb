"""The stored baseline: hosts share it, learn at the same time, and forget nothing of what the other learnt."""

import zlib
from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import ConflictError
from detectors.evaluation.baseline import MemoryBaseline, SeenMembers, Sighting
from detectors.storage import baseline_table
from detectors.storage.baseline_table import MAX_CONFLICTS, MEMBERS, ROW_BYTES, TableBaseline
from detectors.storage.slices import slice_of
from detectors.storage.tables import MemoryTable, Row, bytes_of
from detectors.windows import BUCKET, microseconds
from tests.builders import START, canonical_id
from tests.examples import examples
from tests.intercepted_table import ShakyTable

RULE = "new_key_lister"
_PACK = msgspec.msgpack.Encoder().encode
END = START + BUCKET


def _seen(member: str, name: str = "aoai-prod", *, days: int = 0) -> Sighting:
    return Sighting(RULE, (canonical_id(name), member), START + timedelta(days=days))


sightings = st.builds(
    _seen, st.sampled_from(["dana", "eli", "kim"]), st.sampled_from(["a", "b", "c"]), days=st.integers(-20, 0)
)


@examples(60)
@given(meetings=st.lists(st.lists(sightings, max_size=5), max_size=5), room=st.sampled_from([1, 150, ROW_BYTES]))
def test_hosts_that_share_a_table_know_what_one_process_would(meetings: list[list[Sighting]], room: int) -> None:
    """Each meeting by another host, however many entities a row holds."""
    table, alone = MemoryTable(), MemoryBaseline()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline_table, "ROW_BYTES", room)
        for met in meetings:
            assert TableBaseline(table).find_newcomers(met, END) == alone.find_newcomers(met, END)


def test_many_entities_are_in_few_rows_and_each_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows split as they grow, and none is larger than is said."""
    room = 500
    monkeypatch.setattr(baseline_table, "ROW_BYTES", room)
    table = MemoryTable()
    for first in range(0, 9_000, 3_000):
        seen = [_seen("dana", f"aoai-{number}") for number in range(first, first + 3_000)]
        TableBaseline(table).find_newcomers(seen, END)
    TableBaseline(table).find_newcomers([_seen("eli", f"aoai-{number}") for number in range(100)], END)
    rows = list(table.query("0", "z"))
    held = [key for row in rows for key, _ in MEMBERS.unpack(row)]
    assert len(held) == len(set(held)) == 9_000
    sizes = [len(bytes_of(row.values["Entities"])) for row in rows]
    assert room / 4 < sum(sizes) / len(rows) <= max(sizes) <= room


def test_what_changes_is_written_and_nothing_else() -> None:
    """The row of that entity alone."""
    table = MemoryTable()
    TableBaseline(table).find_newcomers([_seen("dana", f"aoai-{number}") for number in range(9_000)], END)
    before = {row.etag for row in table.query("0", "z")}
    TableBaseline(table).find_newcomers([_seen("eli", "aoai-7")], END)
    assert len({row.etag for row in table.query("0", "z")} - before) == 1
    TableBaseline(table).find_newcomers([_seen("eli", "aoai-7")], END)
    assert len({row.etag for row in table.query("0", "z")} - before) == 1


@pytest.mark.parametrize("changes", [False, True])
def test_rows_of_an_earlier_release_say_what_they_said(*, changes: bool) -> None:
    """They held one entity each, by a hash; what is learnt of it later counts, and others come beside it."""
    table, sighting = MemoryTable(), _seen("dana", days=-20)
    seen = SeenMembers(microseconds(sighting.bucket)).with_sightings([sighting])
    values = {"Key": _PACK(sighting.entity_key), "Seen": zlib.compress(_PACK(seen))}
    table.insert(Row(f"{slice_of(sighting.group):02d}", f"{RULE}|{'0f' * 16}", values))
    if changes:
        TableBaseline(table).find_newcomers([_seen("dana", days=-1), _seen("kim", "another", days=-1)], END)
    newcomers = TableBaseline(table).find_newcomers([_seen("dana"), _seen("eli"), _seen("kim", "another")], END)
    assert {key.group[-1]: days for key, days in newcomers.items()} == {"eli": 20}


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


def test_who_makes_up_accounts_does_not_grow_the_table_for_good(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that come while there is no room stay unknown, those before them are still learnt of, and it is told."""
    monkeypatch.setattr(baseline_table, "MAX_ENTITIES", 2)
    table = MemoryTable()
    known = TableBaseline(table)
    for days in (-200, -150):
        known.find_newcomers([_seen("dana", "old-0", days=days)], END + timedelta(days=days))
    made_up = [_seen("eve", f"made-up-{number}", days=-150) for number in range(200)]
    known.find_newcomers(made_up, END - timedelta(days=150))
    assert "the baseline is full, so " in caplog.text
    assert max(_entities(table).values()) == 2
    hour = timedelta(hours=1)
    assert len(known.find_newcomers([_seen("kim", "old-0")], END)) == 1
    again = Sighting(RULE, (canonical_id("old-0"), "kim"), START + 2 * hour)
    assert known.find_newcomers([again], END + 2 * hour) == {}
    assert sum(_entities(table).values()) > 20  # ten past the hour nothing is looked through
    known.find_newcomers([_seen("kim", "old-0"), _seen("dana", "new")], END + 2 * hour - BUCKET)
    assert sum(_entities(table).values()) == 2


def _entities(table: MemoryTable) -> Counter[str]:
    """Count those that are known, by slice."""
    counts: Counter[str] = Counter()
    for row in table.query("0", "z"):
        counts[row.partition] += len(MEMBERS.unpack(row))
    return counts
