"""Tables: one contract, kept by the table in memory and by Azure Table Storage alike."""

import string
from collections import defaultdict
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import ConflictError, TooLargeError
from detectors.storage.azure_tables import open_table
from detectors.storage.connection import StorageConnection
from detectors.storage.tables import (
    MAX_ENTITY_BYTES,
    MAX_PROPERTIES,
    MAX_PROPERTY_BYTES,
    MAX_TRANSACTION_ROWS,
    MemoryTable,
    Row,
    Table,
    Value,
    delete_all,
    transactions,
)
from local.azurite import Azurite
from tests.examples import examples

VALUES: dict[str, Value] = {
    "Text": "model theft, 'quoted' \N{PILE OF POO}\n",
    "EmptyText": "",
    "Small": -7,
    "Large": 2**63 - 1,
    "Least": -(2**63),
    "Over32": 2**32,
    "Packed": bytes(range(256)),
    "Nothing": b"",
    "Yes": True,
    "No": False,
}


@pytest.fixture(params=["memory", pytest.param("azure", marks=pytest.mark.real)])
def table(request: pytest.FixtureRequest, table_name: str) -> Table:
    """Provide an empty table of each kind."""
    if request.param == "memory":
        return MemoryTable()
    azurite: Azurite = request.getfixturevalue("azurite")
    return open_table(StorageConnection(connection_string=azurite.connection_string), table_name)


def _all(table: Table) -> list[tuple[str, str, dict[str, Value]]]:
    return [(row.partition, row.key, dict(row.values)) for row in table.query("0", "z")]


def _only(table: Table) -> Row:
    (row,) = table.query("0", "z")
    return row


class TestBothTables:
    """What the detector relies on, whichever table it has."""

    def test_a_row_is_read_as_it_was_written(self, table: Table) -> None:
        """Values keep their kind: numbers beyond 32 bits, bytes and texts that are empty, truth values."""
        etag = table.insert(Row("p", "k", VALUES))
        row = _only(table)
        assert row == Row("p", "k", VALUES, etag)
        assert {name: type(value) for name, value in row.values.items()} == {
            name: type(value) for name, value in VALUES.items()
        }

    def test_a_row_without_values_is_a_row(self, table: Table) -> None:
        """Its keys are all it has to say."""
        table.insert(Row("p", "k"))
        assert _all(table) == [("p", "k", {})]

    def test_a_row_is_inserted_once(self, table: Table) -> None:
        """The second writer loses, and what the first wrote stays."""
        etag = table.insert(Row("p", "k", {"N": 1}))
        with pytest.raises(ConflictError):
            table.insert(Row("p", "k", {"N": 2}))
        assert _only(table) == Row("p", "k", {"N": 1}, etag)

    def test_a_merge_keeps_the_other_columns_and_gives_the_next_version(self, table: Table) -> None:
        """So a write sends only what changed, and the one after it needs no read."""
        first = table.insert(Row("p", "k", {"Kept": b"a", "Changed": 1}))
        second = table.merge(Row("p", "k", {"Changed": 2, "New": "x"}, first))
        assert _only(table) == Row("p", "k", {"Kept": b"a", "Changed": 2, "New": "x"}, second)
        third = table.merge(Row("p", "k", {"Changed": 3}, second))
        assert len({first, second, third}) == 3
        assert _only(table).etag == third

    def test_a_merge_of_another_version_is_a_conflict(self, table: Table) -> None:
        """Whether it is an old one or that of another row; nothing is written."""
        old = table.insert(Row("p", "k", {"N": 1}))
        new = table.merge(Row("p", "k", {"N": 2}, old))
        for etag in (old, table.insert(Row("p", "other", {"N": 9}))):
            with pytest.raises(ConflictError):
                table.merge(Row("p", "k", {"N": 3}, etag))
        assert next(table.query("p", "p")) == Row("p", "k", {"N": 2}, new)

    def test_an_upsert_makes_a_new_version(self, table: Table) -> None:
        """Whoever read before it must read again."""
        etag = table.insert(Row("p", "k", {"N": 1}))
        table.upsert([Row("p", "k", {"N": 1})])
        with pytest.raises(ConflictError):
            table.merge(Row("p", "k", {"N": 2}, etag))

    def test_a_merge_of_a_row_that_is_gone_is_a_conflict(self, table: Table) -> None:
        """It was purged meanwhile, which is another version too."""
        etag = table.insert(Row("p", "k", {"N": 1}))
        table.delete("p", ["k"])
        with pytest.raises(ConflictError):
            table.merge(Row("p", "k", {"N": 2}, etag))
        assert _all(table) == []

    def test_a_merge_without_a_version_is_a_conflict(self, table: Table) -> None:
        """Never an unconditional write, nor an error that no caller expects."""
        table.insert(Row("p", "k", {"N": 1}))
        with pytest.raises(ConflictError):
            table.merge(Row("p", "k", {"N": 2}))
        assert _all(table) == [("p", "k", {"N": 1})]

    def test_rows_come_in_the_order_of_their_keys(self, table: Table) -> None:
        """By partition first, however they were written; both ends of a range are included."""
        for partition, key in [("c", "1"), ("a", "2"), ("b", "10"), ("b", "1|2"), ("b", "1"), ("d", "0"), ("a", "1")]:
            table.insert(Row(partition, key))
        found = [(row.partition, row.key) for row in table.query("a", "c")]
        assert found == [("a", "1"), ("a", "2"), ("b", "1"), ("b", "10"), ("b", "1|2"), ("c", "1")]
        assert [row.key for row in table.query("b", "b")] == ["1", "10", "1|2"]
        assert list(table.query("e", "f")) == []
        assert list(table.query("c", "a")) == []

    def test_a_key_prefix_ends_where_it_ends(self, table: Table) -> None:
        """Partition 1 of a hub is not partition 10, nor partition 1 of another hub."""
        keys = ["hub|1|0000", "hub|1|0001", "hub|10|0000", "hub|11|0000", "hub1|1|0000", "hub|", "hub|1", "hub|1}"]
        for key in keys:
            table.insert(Row("p", key))
            table.insert(Row("q", key))
        assert [row.key for row in table.query("p", "p", key_prefix="hub|1|")] == ["hub|1|0000", "hub|1|0001"]
        found = [(row.partition, row.key) for row in table.query("p", "q", key_prefix="hub|10|")]
        assert found == [("p", "hub|10|0000"), ("q", "hub|10|0000")]
        assert list(table.query("p", "p", key_prefix="hub|2")) == []

    def test_only_the_columns_asked_for_come(self, table: Table) -> None:
        """Keys and version always; a column that a row does not have is not there."""
        etag = table.insert(Row("p", "k", {"A": 1, "B": b"b", "C": "c"}))
        (row,) = table.query("p", "p", columns=["A", "C", "Missing"])
        assert row == Row("p", "k", {"A": 1, "C": "c"}, etag)
        (row,) = table.query("p", "p", columns=[])
        assert row == Row("p", "k", {}, etag)

    def test_an_upsert_replaces_whatever_was_there(self, table: Table) -> None:
        """None of the old columns is left; a hundred rows go at once."""
        table.insert(Row("p", "000", {"Old": 1}))
        rows = [Row("p", f"{number:03d}", {"N": number}) for number in range(100)]
        table.upsert(rows)
        table.upsert(rows)
        assert _all(table) == [(row.partition, row.key, dict(row.values)) for row in rows]

    def test_an_upsert_of_one_row_and_of_none_is_fine(self, table: Table) -> None:
        """The caller need not count them."""
        table.upsert([])
        table.insert(Row("p", "k", {"Old": 1}))
        table.upsert([Row("p", "k", {"N": 1})])
        assert _all(table) == [("p", "k", {"N": 1})]

    def test_what_is_gone_already_can_be_deleted(self, table: Table) -> None:
        """Two hosts purge at once; other partitions are not touched."""
        for partition, key in [("p", "1"), ("p", "2"), ("q", "1")]:
            table.insert(Row(partition, key))
        table.delete("p", ["missing", "1"])
        table.delete("p", ["1"])
        table.delete("nowhere", ["1"])
        table.delete("p", [])
        assert [(row.partition, row.key) for row in table.query("0", "z")] == [("p", "2"), ("q", "1")]

    def test_quotes_and_letters_of_any_script_are_fine_in_keys(self, table: Table) -> None:
        """They are values of a filter, not parts of it."""
        table.insert(Row("o'clock", "it's ü \N{GRINNING FACE} or 1 eq 1", {"N": 1}))
        assert [row.key for row in table.query("o'clock", "o'clock", key_prefix="it's")] == [
            "it's ü \N{GRINNING FACE} or 1 eq 1"
        ]

    def test_a_read_row_is_not_changed_by_later_writes(self, table: Table) -> None:
        """Nor by what its writer does to the values afterwards."""
        values: dict[str, Value] = {"N": 1}
        etag = table.insert(Row("p", "k", values))
        values["N"] = 5
        before = _only(table)
        table.merge(Row("p", "k", {"N": 2}, etag))
        assert before == Row("p", "k", {"N": 1}, etag)

    @pytest.mark.parametrize("size", [60_000, MAX_PROPERTY_BYTES - 4])
    def test_a_large_property_is_fine(self, table: Table, size: int) -> None:
        """As large as the detector's own, and as the limit allows."""
        values: dict[str, Value] = {"Packed": b"x" * size}
        table.insert(Row("p", "k", values))
        assert _only(table).values == values

    def test_a_row_near_the_limits_is_fine(self, table: Table) -> None:
        """A full segment, and as many properties as there may be."""
        segment: dict[str, Value] = {f"Tallies{number:02d}": b"x" * 60_000 for number in range(16)}
        wide: dict[str, Value] = {f"C{number}": number for number in range(MAX_PROPERTIES)}
        table.insert(Row("p", "segment", segment))
        table.insert(Row("p", "wide", wide))
        assert _all(table) == [("p", "segment", segment), ("p", "wide", wide)]

    @pytest.mark.parametrize(
        "values",
        [
            {"Packed": b"x" * 65_537},
            {"Text": "x" * 32_769},
            {"Text": "\N{PILE OF POO}" * 20_000},
            {f"C{number:02d}": b"x" * 65_000 for number in range(17)},
            {f"C{number}": number for number in range(MAX_PROPERTIES + 1)},
        ],
        ids=["bytes", "text", "text of surrogate pairs", "entity", "properties"],
    )
    def test_what_the_service_would_refuse_is_refused(self, table: Table, values: dict[str, Value]) -> None:
        """By every write, before anything is sent: emulators take more than the service."""
        etag = table.insert(Row("p", "k", {"Old": 1}))
        with pytest.raises(TooLargeError):
            table.insert(Row("p", "new", values))
        with pytest.raises(TooLargeError):
            table.merge(Row("p", "k", values, etag))
        with pytest.raises(TooLargeError):
            table.upsert([Row("p", "k", values)])
        with pytest.raises(TooLargeError):
            table.write([Row("p", "first", {"N": 1}), Row("p", "new", values)])
        assert _all(table) == [("p", "k", {"Old": 1})]

    @pytest.mark.parametrize("key", [*"/\\#?", "\n", "\t", "\x00", "\x7f", "\x9f", "x" * 513])
    def test_a_key_that_the_service_would_refuse_is_refused(self, table: Table, key: str) -> None:
        """In either place."""
        for row in (Row(f"a{key}", "k"), Row("p", f"a{key}")):
            with pytest.raises(ValueError, match="not a table key"):
                table.insert(row)
            with pytest.raises(ValueError, match="not a table key"):
                table.upsert([row])
        assert _all(table) == []

    def test_rows_are_written_together(self, table: Table) -> None:
        """New ones beside those that were read, of which the other properties stay."""
        etag = table.insert(Row("p", "known", {"Old": 1, "N": 1}))
        many = [Row("p", f"new{number:02d}", {"N": number}) for number in range(MAX_TRANSACTION_ROWS - 1)]
        table.write([Row("p", "known", {"N": 2}, etag), *many])
        assert _all(table) == [("p", "known", {"Old": 1, "N": 2}), *(("p", row.key, dict(row.values)) for row in many)]

    @pytest.mark.parametrize("conflicting", ["exists", "changed", "gone"])
    def test_of_rows_that_are_written_together_none_is_if_one_changed(self, table: Table, conflicting: str) -> None:
        """Somebody else made it, changed it or deleted it meanwhile."""
        etag = table.insert(Row("p", "k", {"N": 1}))
        if conflicting == "changed":
            table.merge(Row("p", "k", {"N": 2}, etag))
        elif conflicting == "gone":
            table.delete("p", ["k"])
        before = _all(table)
        with pytest.raises(ConflictError):
            table.write([Row("p", "a"), Row("p", "k", {"N": 3}, None if conflicting == "exists" else etag)])
        assert _all(table) == before

    @pytest.mark.parametrize(
        "rows",
        [
            [Row("p", "a"), Row("q", "b")],
            [Row("p", "a"), Row("p", "b"), Row("p", "a")],
            [Row("p", f"{number:03d}") for number in range(MAX_TRANSACTION_ROWS + 1)],
            [Row("p", f"{number}", {f"C{column}": b"x" * 60_000 for column in range(17)}) for number in range(4)],
        ],
        ids=["of two partitions", "one twice", "too many", "too large as Base64"],
    )
    def test_a_transaction_that_the_service_would_refuse_is_refused(self, table: Table, rows: list[Row]) -> None:
        """Whether it finds the rows or not: emulators take more than the service."""
        for write in (table.write, table.upsert):
            with pytest.raises((TooLargeError, ValueError)):
                write(rows)
        assert _all(table) == []

    def test_rows_beyond_what_a_transaction_holds_are_split(self, table: Table) -> None:
        """In their order: small ones by a hundred, large ones by their size."""
        small = [Row("p", f"a{number:03d}") for number in range(2 * MAX_TRANSACTION_ROWS + 1)]
        large = [Row("p", f"b{number}", {f"C{column}": b"x" * 60_000 for column in range(12)}) for number in range(5)]
        split = list(transactions([row] for row in [*small, *large]))
        for some in split:
            table.upsert(some)
        assert [len(some) for some in split] == [100, 100, 5, 1]
        assert _all(table) == [(row.partition, row.key, dict(row.values)) for row in [*small, *large]]

    def test_any_number_of_rows_is_deleted_though_some_are_gone(self, table: Table) -> None:
        """Another host purges too."""
        for first in range(0, 250, 50):
            table.upsert([Row("p", f"{number:03d}") for number in range(first, first + 50)])
        table.upsert([Row("q", "000")])
        table.delete("p", ["007", "123"])
        delete_all(table, "p", [f"{number:03d}" for number in range(249)])
        assert [(partition, key) for partition, key, _ in _all(table)] == [("p", "249"), ("q", "000")]


names = st.sampled_from([f"k{letter}" for letter in string.ascii_lowercase[:3]])
values = st.dictionaries(st.sampled_from("ABC"), st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=9), max_size=2)
operations = st.lists(
    st.tuples(st.sampled_from(["insert", "merge", "merge old", "upsert", "delete"]), names, values), max_size=12
)


def _outcomes(table: Table, steps: list[tuple[str, str, dict[str, Value]]]) -> list[object]:
    """Return what happens to a sequence of writes, and what is there after each."""
    outcomes: list[object] = []
    of_another_row = table.insert(Row("another", "row"))
    etags: dict[str, list[str]] = defaultdict(lambda: [of_another_row])
    for operation, key, written in steps:
        try:
            match operation:
                case "insert":
                    etags[key].append(table.insert(Row("p", key, written)))
                case "merge":
                    etags[key].append(table.merge(Row("p", key, written, etags[key][-1])))
                case "merge old":
                    etags[key].append(table.merge(Row("p", key, written, etags[key][0])))
                case "upsert":
                    table.upsert([Row("p", key, written)])
                case _:
                    table.delete("p", [key])
        except ConflictError:
            outcomes.append("conflict")
        outcomes.append(_all(table))
    return outcomes


@examples(25)
@given(steps=operations)
def test_any_writes_have_the_same_outcome_in_both_tables(
    azurite: Azurite, steps: list[tuple[str, str, dict[str, Value]]]
) -> None:
    """Which is why backtests and property tests on the table in memory say something about the service."""
    service = open_table(StorageConnection(connection_string=azurite.connection_string), f"t{uuid4().hex}")
    assert _outcomes(MemoryTable(), steps) == _outcomes(service, steps)


def test_the_limits_are_those_of_the_service() -> None:
    """1 MiB an entity, 64 KiB a property, 255 properties with keys and time stamp."""
    assert (MAX_ENTITY_BYTES, MAX_PROPERTY_BYTES, MAX_PROPERTIES) == (1_048_576, 65_536, 252)
