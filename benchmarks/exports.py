"""Files of exported logs to measure with: a day of NDJSON, an hour in each file, the same ones in every run."""

from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.corpus import MINUTE, records_and_readings

HOURS = 24
_MINUTES = HOURS * 60


def write_day(folder: Path, records: int, seed: int = 1) -> dict[str, int]:
    """Write that many records, as PT1H.json files hold them; how many ListKey records there are, by resource."""
    rng = Random(seed)
    pool, readings = records_and_readings(rng)
    found: Counter[str] = Counter()
    for hour in range(HOURS):
        with (folder / f"y=2026-m=03-d=02-h={hour:02d}.json").open("wb") as file:
            for minute in range(hour * 60, hour * 60 + 60):
                count = records * (minute + 1) // _MINUTES - records * minute // _MINUTES
                chosen = rng.choices(pool, k=count)
                found.update(readings[record] for record in chosen if record in readings)
                text = "".join(f"{record}\n" for record in chosen)
                file.write(text.replace(MINUTE, f"2026-03-02T{minute // 60:02d}:{minute % 60:02d}").encode())
    return dict(found)
