"""A backtest of captured events posts what the deployed steps post for them, whatever arrives, however late."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detectors.backtest.exports import find
from detectors.backtest.replay import BacktestRequest
from detectors.events import Event
from detectors.windows import BUCKET, WINDOW, bucket_start, window_ends
from tests.builders import SOURCE, START, event
from tests.deployment import Deployment
from tests.detectors.backtest.captures import write_capture
from tests.detectors.backtest.expected import TUNED
from tests.detectors.backtest.logs import DAY, log
from tests.detectors.backtest.replays import run
from tests.examples import examples


def _events(random: Random, bursts: int) -> list[Event]:
    """Events of one or two records, of which some come up to an hour after their own time, in order of arrival."""
    entries = [entry for entry in log(random, bursts) if entry.record is not None and entry.after is not None]
    arriving = sorted(
        ((entry.after or timedelta()) + timedelta(seconds=random.choice([2, 2, 2, 59, 600, 3_000])), place)
        for place, entry in enumerate(entries)
    )
    records = [(after, entries[place].record) for after, place in arriving]
    events, sequence = [], 7
    while records:
        many = random.randrange(1, 3)
        taken, records = records[:many], records[many:]
        events.append(event(sequence, *(record for _, record in taken), after=taken[0][0]))
        sequence += 1
    return events


def _last_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["FindingId"]: {**row, "TimeGenerated": None} for row in rows}


@examples(10)
@given(random=st.randoms(use_true_random=True), bursts=st.sampled_from([60, 30, 5]))
def test_a_backtest_posts_what_the_deployed_steps_post(random: Random, bursts: int) -> None:
    """Every column of every finding, as a reader of the table sees them in the end."""
    events = _events(random, bursts)
    end = bucket_start(START + DAY + 7 * WINDOW)
    deployment, waiting = Deployment(policy=TUNED), list(events)
    deployment.lengthen(timedelta(hours=48))
    for window_end in window_ends(START + BUCKET, end):
        batch = [one for one in waiting if one.enqueued < window_end]
        waiting = waiting[len(batch) :]
        if batch:
            deployment.ingest(SOURCE, batch)
        if batch or deployment.open_episodes(window_end - BUCKET) or window_end == end:
            deployment.tick(window_end)
    with TemporaryDirectory() as folder:
        paths = [str(write_capture(Path(folder), SOURCE, events))] if events else []
        replayed = run(find(paths), BacktestRequest(TUNED, until=end))
    assert _last_rows(replayed.rows()) == _last_rows(deployment.posted.newest().values())
    assert replayed.outcome.findings == len({(row.episode_id, row.finding_id) for row in replayed.findings})
