"""The journal: what is due follows from what is stored, and a row says just what was written last."""

from datetime import datetime, timedelta
from uuid import NAMESPACE_OID, uuid5

import pytest

from detectors.evaluation.episodes import Episode
from detectors.storage import journal
from detectors.storage.journal import EvaluatedWindow, Journal, Plan, next_window, versions_around
from detectors.storage.tables import MemoryTable
from detectors.windows import BUCKET, key_of
from tests.builders import START

REACH = timedelta(hours=24)


def _episodes(count: int) -> list[Episode]:
    names = [str(uuid5(NAMESPACE_OID, str(number))) for number in range(count)]
    return [Episode(name, "model_theft", (name,), "20261123T0800Z", {"count": 100}) for name in names]


def _plan(window_end: datetime, etag: str | None = None) -> Plan:
    return Plan(key_of(window_end), "inputs", None, "", etag)


def test_a_shorter_list_of_episodes_overwrites_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what was stored over more properties stays behind."""
    monkeypatch.setattr(journal, "_CHUNK_BYTES", 400)
    kept = Journal(MemoryTable())
    for episodes in (_episodes(40), _episodes(2), []):
        entry = kept.window(key_of(START))
        kept.record(kept.row(_plan(START, entry.etag if entry else None), episodes))
        assert kept.episodes(key_of(START)) == episodes


def test_a_window_that_was_never_evaluated_left_no_episodes() -> None:
    """Nor does the time before the first one."""
    kept = Journal(MemoryTable())
    assert kept.episodes(None) == kept.episodes(key_of(START)) == []
    assert kept.window(key_of(START)) is None


def test_a_detector_without_data_begins_now() -> None:
    """It does not evaluate a day of nothing."""
    plan = next_window({}, {}, START, REACH)
    assert plan is not None
    assert (plan.window_end, plan.base_window, plan.windows_skipped) == (key_of(START), None, 0)


def test_a_detector_begins_with_the_first_data_that_is_kept() -> None:
    """The first window that holds it; older data than can be evaluated does not count."""
    for age, expected in ((timedelta(hours=3), START - timedelta(hours=3) + BUCKET), (2 * REACH, START - REACH)):
        plan = next_window({START - age: "v"}, {}, START, REACH)
        assert plan is not None
        assert plan.window_end == key_of(expected)


def _chain(last: datetime, count: int) -> dict[datetime, EvaluatedWindow]:
    """Windows that were evaluated without any data, one after another."""
    evaluated: dict[datetime, EvaluatedWindow] = {}
    for place in range(count):
        window = last - BUCKET * (count - 1 - place)
        plan = next_window({}, evaluated, window, REACH)
        assert plan is not None
        evaluated[window] = EvaluatedWindow(plan.inputs, plan.base, "state", "v1")
    return evaluated


def test_nothing_is_due_when_all_is_as_it_was() -> None:
    """Evaluating is idempotent."""
    assert next_window({}, _chain(START, 10), START, REACH) is None


def test_a_changed_bucket_makes_its_first_window_due() -> None:
    """And the others after that one, each in its turn."""
    evaluated = _chain(START, 10)
    late = START - timedelta(minutes=50)
    plan = next_window({late: "new"}, evaluated, START, REACH)
    assert plan is not None
    assert plan.window_end == key_of(late + BUCKET)
    assert plan.around == versions_around(evaluated, late + BUCKET) != versions_around(evaluated, START)
    following = next_window({late: "new"}, evaluated, START, REACH, after=late + BUCKET)
    assert following is not None
    assert following.window_end == key_of(late + 2 * BUCKET)


def test_another_state_of_the_window_before_makes_a_window_due() -> None:
    """So a correction runs through the episodes, and stops where the state is the same again."""
    evaluated = _chain(START, 10)
    changed = START - 4 * BUCKET
    evaluated[changed] = EvaluatedWindow(evaluated[changed].inputs, evaluated[changed].base, "another state", "v2")
    plan = next_window({}, evaluated, START, REACH)
    assert plan is not None
    assert (plan.window_end, plan.base) == (key_of(changed + BUCKET), "another state")


def test_a_window_that_holds_a_purged_bucket_is_never_due() -> None:
    """It would look as if less had happened."""
    evaluated = _chain(START, 10)
    gone = {START - timedelta(minutes=100): "v"}
    assert next_window(gone, evaluated, START, REACH, purged=START) is None
    assert next_window(gone, evaluated, START, REACH) is not None
