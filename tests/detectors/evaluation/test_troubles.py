"""A rule's exception is confined to it; the infrastructure's is not."""

import pytest

from detectors.errors import StorageError
from detectors.evaluation.troubles import MAX_CHARACTERS, Troubles, raising


def test_the_first_exception_of_a_rule_is_kept_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its trace in the log, and its kind and text in short for the heartbeat."""
    troubles = Troubles([("another", "before")])
    for text in ("x" * 1_000, "later"):
        with troubles.contain("model_theft"):
            raise LookupError(text)
    with troubles.contain("sound"):
        pass
    assert troubles.failed == {"another": "before", "model_theft": f"LookupError: {'x' * 1_000}"[:MAX_CHARACTERS]}
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_failed_infrastructure_is_no_rule_s_trouble() -> None:
    """The step has to run again."""
    troubles = Troubles()
    with pytest.raises(StorageError), troubles.contain("model_theft"):
        raise StorageError("away")
    assert troubles.failed == {}


def test_a_backtest_shows_every_exception() -> None:
    """Somebody looks at it."""
    with pytest.raises(LookupError), raising("model_theft"):
        raise LookupError("not thought of")
