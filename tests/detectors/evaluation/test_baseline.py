"""Who was seen before: bounded, the same whenever it is asked, and exact over hosts that write at once."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import reduce
from uuid import NAMESPACE_OID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import ConflictError, StorageError
from detectors.evaluation.baseline import MAX_MEMBERS, Baseline, MemoryBaseline, SeenMembers, Sighting, digest, learn
from detectors.evaluation.silence import ActiveHours
from detectors.rules.tally import ACCOUNT_SEEN, Key
from detectors.storage.azure_tables import open_table
from detectors.storage.baseline_table import MAX_CONFLICTS, MEMBERS, TableBaseline
from detectors.storage.connection import StorageConnection
from detectors.storage.slices import SLICES, slice_of
from detectors.storage.tables import MAX_PROPERTY_BYTES, MemoryTable, Row, Table
from detectors.windows import BUCKET, WINDOW, microseconds, window_ends
from local.azurite import Azurite
from tests.builders import START, canonical_id
from tests.intercepted_table import ShakyTable

RULE = "new_key_lister"
DAY = timedelta(days=1)


def _sighting(member: str, bucket: datetime = START, name: str = "aoai-prod") -> Sighting:
    return Sighting(RULE, (canonical_id(name), member), bucket)


def _guid(number: int) -> str:
    return str(uuid5(NAMESPACE_OID, str(number)))


def _new(baseline: Baseline, window_end: datetime, *sightings: Sighting) -> dict[str, int]:
    """Return the newcomers' names and days."""
    return {key.group[-1]: days for key, days in baseline.find_newcomers(sightings, window_end).items()}


@pytest.fixture(params=["memory", "table", pytest.param("azurite", marks=pytest.mark.real)])
def make(request: pytest.FixtureRequest, table_name: str) -> Iterator[Callable[[], Baseline]]:
    """Make baselines that remember the same: one process's, or hosts that share a table."""
    if request.param == "memory":
        baseline = MemoryBaseline()
        yield lambda: baseline
    elif request.param == "table":
        shared = MemoryTable()
        yield lambda: TableBaseline(shared)
    else:
        azurite: Azurite = request.getfixturevalue("azurite")
        connection = StorageConnection(connection_string=azurite.connection_string)
        yield lambda: TableBaseline(open_table(connection, table_name))


def test_the_hours_of_each_account_are_remembered_whatever_rules_look_at(make: Callable[[], Baseline]) -> None:
    """By every host; of what rules count, no hours are kept."""
    for hour in (0, 1, 5):
        bucket = START + timedelta(hours=hour)
        seen = Sighting(ACCOUNT_SEEN, (canonical_id(),), bucket)
        make().find_newcomers([seen, _sighting("eve", bucket)], bucket + BUCKET)
    (account,) = make().active_hours().items()
    assert account[0] == canonical_id()
    assert account[1].usual_gap == 4


def test_a_row_of_a_release_that_kept_no_hours_is_read() -> None:
    """The account is watched for silence from its next record on."""
    stored = msgspec.msgpack.encode((5, {b"12345678": (5, 6)}, 1))
    assert msgspec.msgpack.decode(stored, type=SeenMembers).hours == ActiveHours()


def test_a_newcomer_is_one_in_every_window_that_holds_its_first_bucket(make: Callable[[], Baseline]) -> None:
    """And in none after; each window may be asked again, by another host too."""
    _new(make(), START - 20 * DAY, _sighting("pipeline", START - 20 * DAY - BUCKET))
    answers = [_new(make(), end, _sighting("eve")) for end in window_ends(START + BUCKET, START + WINDOW)]
    assert answers == [{"eve": 20}] * 6
    assert _new(make(), START + WINDOW + BUCKET, _sighting("eve", START + BUCKET)) == {}
    assert _new(make(), START + BUCKET, _sighting("eve")) == {"eve": 20}


def test_whoever_comes_first_is_no_newcomer(make: Callable[[], Baseline]) -> None:
    """Nobody was there before; and the learning period tells a resource that is new itself."""
    assert _new(make(), START + BUCKET, _sighting("pipeline"), _sighting("eve")) == {}
    assert _new(make(), START + DAY, _sighting("mallory", START + DAY - BUCKET)) == {"mallory": 0}
    assert _new(make(), START + DAY + BUCKET, _sighting("trent", START + DAY)) == {"trent": 1}


def test_resources_and_rules_are_remembered_apart(make: Callable[[], Baseline]) -> None:
    """Known here is not known there, also for resources that share a slice of the table."""
    names = [f"aoai-{number}" for number in range(40)]
    assert len({slice_of((canonical_id(name),)) for name in names}) < len(names)
    before = START - 20 * DAY - BUCKET
    for name in names[:-1]:
        _new(make(), START - 20 * DAY, _sighting("eve", before, name))
    others = [_sighting("pipeline", before, names[-1]), Sighting("another_rule", (canonical_id(names[0]), "x"), before)]
    assert make().find_newcomers(others, START - 20 * DAY) == {}
    other_rule = Sighting("another_rule", (canonical_id(names[0]), "eve"), START)
    found = make().find_newcomers([*(_sighting("eve", START, name) for name in names), other_rule], START + BUCKET)
    assert found == {Key(RULE, (canonical_id(names[-1]), "eve")): 20, other_rule.key: 20}


def test_an_account_is_watched_from_its_first_record_on(make: Callable[[], Baseline]) -> None:
    """Whatever counted it, and long before anybody listed its keys."""
    account = (canonical_id(),)
    make().find_newcomers([Sighting(ACCOUNT_SEEN, account, START - 20 * DAY)], START - 20 * DAY + BUCKET)
    _new(make(), START - DAY + BUCKET, _sighting("pipeline", START - DAY))
    assert _new(make(), START + BUCKET, _sighting("eve")) == {"eve": 20}
    assert _new(make(), START + BUCKET, _sighting("eve", START, "aoai-dev")) == {}


def test_the_first_time_of_a_rule_on_an_account_is_told_with_the_days_that_it_is_known(
    make: Callable[[], Baseline],
) -> None:
    """Once: in the windows that hold it, and never again."""
    account = (canonical_id(),)
    make().find_newcomers([Sighting(ACCOUNT_SEEN, account, START - 20 * DAY)], START - 20 * DAY + BUCKET)
    first = Sighting("first_key_listing", account, START)
    unknown = Sighting("first_key_listing", (canonical_id("aoai-dev"),), START)
    for end in window_ends(START + BUCKET, START + WINDOW):
        assert make().find_newcomers([first, unknown], end) == {first.key: 20, unknown.key: 0}
    later = Sighting("first_key_listing", account, START + DAY)
    assert make().find_newcomers([later], START + DAY + BUCKET) == {}


def test_who_was_there_before_may_have_come_in_the_same_window(make: Callable[[], Baseline]) -> None:
    """As after an outage; evaluated again, the window says the same."""
    make().find_newcomers([Sighting(ACCOUNT_SEEN, (canonical_id(),), START - 20 * DAY)], START - 20 * DAY + BUCKET)
    both = [_sighting("pipeline", START), _sighting("eve", START + BUCKET)]
    assert [_new(make(), START + 2 * BUCKET, *both) for _ in range(2)] == [{"eve": 20}] * 2


def test_nobody_seen_is_nobody_new_and_nothing_asked_of_storage() -> None:
    """Most windows of most resources hold no key listing."""

    class Untouchable(MemoryTable):
        """A table that nobody may read."""

        def query(self, *_: object, **__: object) -> Iterator[Row]:
            """See `Table.query`."""
            raise AssertionError

    assert TableBaseline(Untouchable()).find_newcomers([], START) == {}


def test_an_earlier_bucket_that_is_counted_late_moves_the_beginning_back(make: Callable[[], Baseline]) -> None:
    """The days are told the same by the evaluation that learns of it and by the next one."""
    _new(make(), START - 10 * DAY, _sighting("pipeline", START - 10 * DAY))
    _new(make(), START + WINDOW, _sighting("eve", START + WINDOW - BUCKET))
    late = _sighting("eve", START - 12 * timedelta(hours=1))
    first, again = (_new(make(), START - 11 * timedelta(hours=1), late) for _ in range(2))
    assert first == again == {"eve": 9}
    earliest = _sighting("pipeline", START - 11 * DAY)
    first, again = (_new(make(), START - 11 * DAY + BUCKET, earliest) for _ in range(2))
    assert first == again == {}
    assert _new(make(), START + DAY, _sighting("trent", START + DAY)) == {"trent": 12}


def test_a_member_seen_all_day_costs_one_write_a_day() -> None:
    """And is not forgotten for it."""
    writes = 0
    known: dict[Key, SeenMembers] = {}
    for end in window_ends(START + BUCKET, START + 2 * DAY):
        changed, _ = learn(known, [_sighting("pipeline", end - BUCKET)], end)
        writes += len(changed)
        known |= changed
    assert writes == 3 - 1
    (seen_members,) = known.values()
    assert seen_members.members == {digest("pipeline"): (microseconds(START), microseconds(START + DAY))}


def _crowd(first: int, last: int, bucket: datetime) -> list[Sighting]:
    return [_sighting(_guid(number), bucket) for number in range(first, last)]


def test_of_more_members_than_there_is_room_for_the_longest_unseen_are_forgotten(make: Callable[[], Baseline]) -> None:
    """Down to the last one: they would be new again, and the others are not."""
    _new(make(), START - 40 * DAY, *_crowd(0, 2, START - 40 * DAY - BUCKET))
    _new(make(), START - 30 * DAY, *_crowd(2, MAX_MEMBERS, START - 30 * DAY - BUCKET))
    assert _new(make(), START, *_crowd(0, MAX_MEMBERS, START - BUCKET)) == {}
    _new(make(), START + DAY, *_crowd(MAX_MEMBERS - 1, MAX_MEMBERS + 3, START + DAY - BUCKET))
    back = START + DAY + WINDOW
    unknown = _new(make(), back + BUCKET, *_crowd(0, MAX_MEMBERS + 3, back))
    assert len(unknown) == 3
    assert set(unknown) <= {_guid(number) for number in range(MAX_MEMBERS - 1)}
    assert set(unknown.values()) == {41}


def test_a_member_of_old_who_still_comes_is_not_forgotten_for_younger_ones() -> None:
    """It is the last appearance that counts, not the first."""
    baseline = MemoryBaseline()
    _new(baseline, START - 40 * DAY, _sighting("pipeline", START - 40 * DAY - BUCKET))
    _new(baseline, START - 30 * DAY, *_crowd(1, MAX_MEMBERS, START - 30 * DAY - BUCKET))
    _new(baseline, START, _sighting("pipeline", START - BUCKET))
    _new(baseline, START + DAY, *_crowd(MAX_MEMBERS, MAX_MEMBERS + 3, START + DAY - BUCKET))
    assert _new(baseline, START + 2 * DAY, _sighting("pipeline", START + 2 * DAY - BUCKET)) == {}


def test_how_many_were_forgotten_is_counted_once() -> None:
    """Evaluating the window again forgets nobody a second time, and writes nothing."""
    known: dict[Key, SeenMembers] = {}
    crowd = _crowd(0, MAX_MEMBERS + 7, START)
    changed, first = learn(known, crowd, START + BUCKET)
    (seen_members,) = changed.values()
    assert (len(seen_members.members), seen_members.forgotten) == (MAX_MEMBERS, 7)
    nothing, again = learn(changed, crowd, START + BUCKET)
    assert nothing == {}
    assert first == again
    assert len(first) == MAX_MEMBERS + 7


def test_a_full_row_fits_into_storage(make: Callable[[], Baseline]) -> None:
    """A thousand members are a property far below its limit, and are all known again."""
    _new(make(), START + BUCKET, *_crowd(0, MAX_MEMBERS, START))
    assert _new(make(), START + DAY, *_crowd(0, MAX_MEMBERS, START + DAY - BUCKET)) == {}
    assert len(msgspec.msgpack.encode(_full())) < MAX_PROPERTY_BYTES / 2


def _full() -> SeenMembers:
    days = (microseconds(START), microseconds(START + DAY))
    return SeenMembers(microseconds(START), {digest(_guid(number)): days for number in range(MAX_MEMBERS)}, 10**6)


def test_a_member_is_kept_as_a_hash_that_never_changes() -> None:
    """Stored data depends on it; no name of a person is stored."""
    assert digest("0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6").hex() == "1c666fd6314eefeb"
    assert len({digest(_guid(number)) for number in range(10_000)}) == 10_000


def test_a_run_that_another_one_overtakes_reads_again_and_says_the_same() -> None:
    """The other run learnt the same newcomer a moment before; she is new to both."""
    table = MemoryTable()
    _new(TableBaseline(table), START - 20 * DAY, _sighting("pipeline", START - 20 * DAY))
    shaky = ShakyTable(table)
    shaky.before_write.append(
        lambda: _new(TableBaseline(table), START + BUCKET, _sighting("mallory"), _sighting("eve"))
    )
    assert _new(TableBaseline(shaky), START + BUCKET, _sighting("eve"), _sighting("trent")) == {"eve": 20, "trent": 20}
    known = _new(
        TableBaseline(table), START + DAY, *(_sighting(name, START + DAY) for name in ("eve", "mallory", "trent"))
    )
    assert known == {}


def test_two_runs_that_make_a_row_at_once_both_end_well() -> None:
    """The insert of one is refused."""
    table = MemoryTable()
    shaky = ShakyTable(table)
    shaky.before_write.append(lambda: _new(TableBaseline(table), START + BUCKET, _sighting("mallory")))
    assert _new(TableBaseline(shaky), START + BUCKET, _sighting("eve")) == {}
    later = START + WINDOW + BUCKET
    assert (
        _new(TableBaseline(table), later, _sighting("eve", later - BUCKET), _sighting("mallory", later - BUCKET)) == {}
    )


def _table_that_knows_a_pipeline() -> MemoryTable:
    table = MemoryTable()
    _new(TableBaseline(table), START - 20 * DAY, _sighting("pipeline", START - 20 * DAY))
    return table


def _refused() -> None:
    raise ConflictError("precondition failed")


@pytest.mark.parametrize(("conflicts", "ends_well"), [(MAX_CONFLICTS, True), (MAX_CONFLICTS + 1, False)])
def test_endless_conflicts_raise_so_that_the_step_runs_again(conflicts: int, *, ends_well: bool) -> None:
    """Nothing spins for ever; the step's next try learns what this one could not."""
    shaky = ShakyTable(_table_that_knows_a_pipeline(), before_write=[_refused] * conflicts)
    if ends_well:
        assert _new(TableBaseline(shaky), START + BUCKET, _sighting("eve")) == {"eve": 20}
    else:
        with pytest.raises(ConflictError):
            _new(TableBaseline(shaky), START + BUCKET, _sighting("eve"))
        assert _new(TableBaseline(shaky), START + BUCKET, _sighting("eve")) == {"eve": 20}


def _lost() -> None:
    raise StorageError("connection reset")


def test_a_lost_answer_of_an_applied_write_changes_no_answer() -> None:
    """The step runs again and says what it would have said."""
    shaky = ShakyTable(_table_that_knows_a_pipeline(), after_write=[_lost])
    with pytest.raises(StorageError):
        _new(TableBaseline(shaky), START + BUCKET, _sighting("eve"))
    assert _new(TableBaseline(shaky), START + BUCKET, _sighting("eve")) == {"eve": 20}


def test_rows_lie_in_the_slice_of_their_resource() -> None:
    """So shards that run side by side never write the same row, and read only their own."""
    table: Table = MemoryTable()
    names = [f"aoai-{number}" for number in range(50)]
    TableBaseline(table).find_newcomers([_sighting("eve", START, name) for name in names], START + BUCKET)
    rows = list(table.query("0", "9"))
    held = [(row.partition, key) for row in rows for key in MEMBERS.unpack(row)]
    assert sorted(held) == sorted((f"{slice_of((canonical_id(name),)):02d}", _entity(name)) for name in names)
    assert len(rows) == len({row.partition for row in rows}) <= SLICES
    assert all(RULE in row.key for row in rows)


def _entity(name: str) -> Key:
    return Key(RULE, (canonical_id(name),))


@pytest.mark.parametrize(
    ("seen", "days", "is_over"),
    [([0], 100, False), ([0], 101, True), ([0, 0.9], 102, True), ([0, 1], 500, False), ([0, 90], 500, False)],
)
def test_what_was_seen_within_a_day_is_forgotten_after_a_quarter(
    seen: list[float], days: float, *, is_over: bool
) -> None:
    """What was there for longer is known for good."""
    memory = SeenMembers(microseconds(START)).with_sightings([_sighting("eve", START + day * DAY) for day in seen])
    assert memory.is_over(START + days * DAY) is is_over


members = st.sampled_from(["a", "b", "c", "d"])


@given(seen=st.lists(st.tuples(members, st.integers(0, 600)), min_size=1, max_size=12))
def test_sightings_together_are_remembered_as_one_after_another(seen: list[tuple[str, int]]) -> None:
    """In any order."""
    sightings = [_sighting(member, START + place * BUCKET) for member, place in seen]
    before = SeenMembers(microseconds(sightings[0].bucket))
    assert before.with_sightings(sightings) == reduce(lambda known, one: known.with_sightings([one]), sightings, before)


@given(
    first=st.lists(st.tuples(members, st.integers(0, 600)), max_size=12),
    again=st.lists(st.integers(0, 11), max_size=6),
)
def test_learning_is_idempotent_and_told_by_first_appearances_alone(
    first: list[tuple[str, int]], again: list[int]
) -> None:
    """Windows in order, some of them evaluated again: each says who appeared in it for the first time."""
    baseline, beginnings = MemoryBaseline(), dict[str, int]()
    course: list[tuple[datetime, list[Sighting], dict[str, int]]] = []
    for member, place in sorted(first, key=lambda one: one[1]):
        begun = beginnings.setdefault(member, place)
        bucket = START + place * BUCKET
        sightings = [_sighting(member, bucket)]
        days = (begun - min(beginnings.values())) * BUCKET // DAY
        is_new = place - begun < WINDOW // BUCKET and min(beginnings.values()) < begun
        expected = {member: days} if is_new else {}
        assert _new(baseline, bucket + BUCKET, *sightings) == expected
        course.append((bucket + BUCKET, sightings, expected))
    for place in again:
        if place < len(course):
            window_end, sightings, expected = course[place]
            assert _new(baseline, window_end, *sightings) == expected
