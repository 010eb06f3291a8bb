"""Results on their way between steps: small ones in the message, large ones through a table, and never mixed up."""

import random
from datetime import timedelta

import msgspec
import pytest

from detectors.errors import StorageError
from detectors.evaluation.window import GroupResult, Range
from detectors.evaluator import ShardResult
from detectors.rules.rule import Trigger
from detectors.rules.tally import Tally
from detectors.storage.handover import MAX_INLINE_BYTES, Handover, Parcel
from detectors.storage.journal import Journal
from detectors.storage.tables import MemoryTable, check_limits
from detectors.windows import key_of
from tests.builders import SOURCE, START, canonical_id

WINDOW = key_of(START)


def _result(groups: int) -> ShardResult:
    """As many accounts whose keys were listed by fifty callers, whose object ids do not pack well."""
    chance = random.Random(groups)
    results = []
    for number in range(groups):
        tally = Tally(count=150, callers={f"{chance.getrandbits(128):032x}": 3 for _ in range(50)})
        group = (canonical_id(f"aoai-{number}"),)
        trigger = Trigger("count", "count", 150, 100)
        results.append(
            GroupResult("model_theft", group, tally, [0, 0, 0, 0, 0, 150], [Range(*SOURCE, 1, 9)], [trigger])
        )
    return ShardResult(results, groups)


@pytest.mark.parametrize("groups", [0, 1, 20, 1_000])
def test_a_result_arrives_as_it_was_sent(groups: int) -> None:
    """Through the JSON of a message, however large it is."""
    sent, handover = _result(groups), Handover(MemoryTable())
    message = msgspec.json.encode(handover.send(WINDOW, sent))
    assert len(message) < 1.4 * MAX_INLINE_BYTES
    assert handover.receive(WINDOW, msgspec.json.decode(message, type=Parcel), ShardResult) == sent


def test_a_small_result_costs_no_request() -> None:
    """As in all windows but those of an outbreak."""
    table = MemoryTable()
    Handover(table).send(WINDOW, _result(10))
    assert list(table.query("", "~")) == []


def test_a_large_result_fits_into_rows_that_the_service_takes() -> None:
    """Of less than a megabyte each, and properties of less than 64 KB."""
    table = MemoryTable()
    Handover(table).send(WINDOW, _result(2_000))
    rows = list(table.query("", "~"))
    assert len(rows) > 1
    for row in rows:
        check_limits(row)


def test_a_step_that_runs_twice_does_not_mix_its_results() -> None:
    """Its first attempt may have been about other buckets."""
    handover = Handover(MemoryTable())
    one, other = handover.send(WINDOW, _result(200)), handover.send(WINDOW, _result(300))
    assert handover.receive(WINDOW, one, ShardResult) == _result(200)
    assert handover.receive(WINDOW, other, ShardResult) == _result(300)


def test_what_was_handed_over_is_purged_with_its_window() -> None:
    """Whether it was fetched or not; a result that is gone is an error and never an empty one."""
    table = MemoryTable()
    handover = Handover(table)
    parcel = handover.send(WINDOW, _result(200))
    assert Journal(table).purge(START) == 0
    assert Journal(table).purge(START + timedelta(minutes=10)) == 1
    with pytest.raises(StorageError, match="is gone"):
        handover.receive(WINDOW, parcel, ShardResult)
