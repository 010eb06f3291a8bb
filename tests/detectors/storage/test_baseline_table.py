"""The stored baseline: hosts share it, learn at the same time, and forget nothing of what the other learnt."""

import zlib
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import ConflictError, StorageError
from detectors.evaluation.baseline import MemoryBaseline, SeenMembers, Sighting
from detectors.rules.tally import Key
from detectors.storage import baseline_table
from detectors.storage.baseline_table import MAX_CONFLICTS, MEMBERS, ROW_BYTES, TableBaseline
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import MAX_TRANSACTION_ROWS, MemoryTable, Row, bytes_of
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
    held = [key for row in rows for key in MEMBERS.unpack(row)]
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


def _as_earlier(sighting: Sighting) -> Row:
    """Return a row as earlier versions wrote it: one entity, by a hash."""
    seen = SeenMembers(microseconds(sighting.bucket)).with_sightings([sighting])
    values = {"Key": _PACK(sighting.entity_key), "Seen": zlib.compress(_PACK(seen))}
    return Row(f"{slice_of(sighting.group):02d}", f"{RULE}|{zlib.crc32(_PACK(sighting)):032x}", values)


@pytest.mark.parametrize("changes", [False, True])
def test_rows_of_an_earlier_version_say_what_they_said(*, changes: bool) -> None:
    """They move when they change, whether or not the host lives to delete them."""
    table = MemoryTable()
    table.insert(_as_earlier(_seen("dana", days=-20)))
    if changes:
        shaky = ShakyTable(table, after_write=[_lost])
        with pytest.raises(StorageError):
            TableBaseline(shaky).find_newcomers([_seen("dana", days=-1), _seen("kim", "another", days=-1)], END)
        assert len(list(table.query("0", "z"))) == 2
    baseline = TableBaseline(table).of(range(SLICES))
    newcomers = baseline.find_newcomers([_seen("dana"), _seen("eli"), _seen("kim", "another")], END)
    assert {key.group[-1]: days for key, days in newcomers.items()} == {"eli": 20}
    assert [len(MEMBERS.unpack(row)) for row in table.query("0", "z")] == [1] * len({*"ab"})
    assert baseline.find_newcomers([_seen("eli", days=1)], END + timedelta(days=1)) == {}


def _lost() -> None:
    raise StorageError("connection reset")


def test_an_earlier_version_finds_nobody_in_rows_of_many() -> None:
    """It reads two columns of each row; what it wrote meanwhile gives way to what was known before it."""
    table = MemoryTable()
    TableBaseline(table).find_newcomers([_seen("dana", days=-20)], END - timedelta(days=20))
    (row,) = table.query("0", "z")
    assert msgspec.msgpack.decode(bytes_of(row.values["Key"]), type=Key).rule_id == "(nobody)"
    assert msgspec.msgpack.decode(zlib.decompress(bytes_of(row.values["Seen"])), type=SeenMembers) == SeenMembers(0)
    table.insert(_as_earlier(_seen("eli", days=-1)))
    newcomers = TableBaseline(table).find_newcomers([_seen("kim")], END)
    assert list(newcomers.values()) == [20]
    assert len(list(table.query("0", "z"))) == 1


def test_what_an_earlier_version_wrote_is_forgotten_too() -> None:
    """When it is time."""
    table = MemoryTable()
    table.insert(_as_earlier(_seen("dana", days=-200)))
    TableBaseline(table).find_newcomers([_seen("eli", "another")], END)
    assert len(list(table.query("0", "z"))) == 2
    TableBaseline(table).find_newcomers([_seen("eli", "another")], END + timedelta(minutes=50))
    assert len(list(table.query("0", "z"))) == 1


@pytest.mark.parametrize("fails", range(5))
def test_what_moves_to_another_row_is_never_in_none(fails: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many transactions it takes, and whichever of them is the last."""
    table, baseline = MemoryTable(), TableBaseline
    names = [name for name in map(str, range(9_000)) if slice_of((canonical_id(name),)) == 0]
    old = [_seen("dana", name, days=-20) for name in names]
    monkeypatch.setattr(baseline_table, "ROW_BYTES", 200)
    baseline(table).find_newcomers(old, END - timedelta(days=20))
    assert len(list(table.query("0", "z"))) > MAX_TRANSACTION_ROWS
    grown = [_seen(f"{name} {number}", name) for name in names for number in range(3)]
    shaky = ShakyTable(table, before_write=[_lost, *[lambda: None] * fails])
    with suppress(StorageError):
        baseline(shaky).find_newcomers(grown, END)
    held = [key for row in table.query("0", "z") for key in MEMBERS.unpack(row)]
    assert sorted(held) == sorted(one.entity_key for one in old)
    assert len(baseline(table).find_newcomers(grown, END)) == len(grown)


def test_a_row_that_was_emptied_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that rows are no more than entities ever needed at once."""
    monkeypatch.setattr(baseline_table, "ROW_BYTES", 150)
    table, counts = MemoryTable(), []
    names = [name for name in map(str, range(1_000)) if slice_of((canonical_id(name),)) == 0]
    for turn in range(6):
        at = END + turn * timedelta(days=102) - BUCKET
        TableBaseline(table).find_newcomers([_seen(f"{turn}", f"{name}{turn}", days=102 * turn) for name in names], at)
        TableBaseline(table).find_newcomers([_seen("", names[0], days=102 * turn)], at.replace(minute=0))
        counts.append(len(list(table.query("0", "z"))))
    assert counts[-1] <= 3 * counts[0]


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
