"""What a batch adds: its flaws can be taken out, and make room for others."""

from detectors.events import Event
from detectors.ingestion.counting import BatchCounter
from detectors.rules.catalogue import CATALOGUE
from tests.builders import START, message


def test_a_batch_says_of_each_reason_how_many_it_keeps() -> None:
    """Beside the flaws themselves, so that nobody counts them again for each message. Taken out, they make room."""
    bodies = [message(7, 8), b"what", message(None)]
    delta = BatchCounter(CATALOGUE).count([Event(number, START, body) for number, body in enumerate(bodies)], START)
    assert delta.kept == {"not_a_record": 3, "not_json": 1}
    assert len(delta.take_flaws()) == 4
    assert (delta.flaws, sum(delta.kept.values())) == ([], 0)
