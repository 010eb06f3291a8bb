"""Fuzzes what reads bytes from outside: minutes by default, a line for each target as it goes on, 1 if one was broken.

python -m tests.fuzz                                  every target, a minute each
python -m tests.fuzz --target messages --minutes 30
python -m tests.fuzz --runs 100000 --seed 7           the same inputs each time
python -m tests.fuzz --target messages FILE…          these inputs once, such as one that was found
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import BY_NAME, TARGETS, feeds

FOUND = Path("fuzz-found")
"""Where inputs that break a target are kept, in the folder that it is run from."""

_STATUS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+).*?corp: (\d+)", re.MULTILINE)
_DONE = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)
_EVERY_SECONDS = 20
_TOO_LONG_SECONDS = 25
_MAX_BYTES = 8192


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; the exit code is 1 if an input breaks a target."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--target", action="append", choices=BY_NAME, help="one of them, or several; all by default")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--runs", type=int, help="inputs for each target, instead of minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", nargs="*", type=Path, help="inputs to run once, instead of new ones")
    options = parser.parse_args(arguments)
    names = options.target or list(TARGETS)
    if options.files:
        return _run_once(names, options.files)
    limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={max(int(options.minutes * 60), 1)}"
    done = [_fuzz(name, [limit, f"-seed={options.seed}"]) for name in names]
    broken = [name for name, (_, is_broken) in zip(names, done, strict=True) if is_broken]
    print(f"{sum(runs for runs, _ in done):,} inputs in all; broken: {', '.join(broken) or 'none'}", flush=True)
    return bool(broken)


def _run_once(names: Sequence[str], files: Sequence[Path]) -> int:
    for name in names:
        for file in files:
            BY_NAME[name](file.read_bytes())
            print(f"{name}: {file} holds")
    return 0


def _fuzz(name: str, limits: Sequence[str]) -> tuple[int, bool]:
    """Fuzz one target in a process of its own; how many inputs it ran, and whether one broke it."""
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        grown, said = Path(folder) / "corpus", Path(folder) / "said"
        grown.mkdir()
        command = [sys.executable, "-m", "tests.fuzz.engine", name, *limits, f"-artifact_prefix={FOUND}/{name}-"]
        command += [f"-max_len={_MAX_BYTES}", f"-timeout={_TOO_LONG_SECONDS}", "-print_final_stats=1"]
        with said.open("w") as output:
            engine = subprocess.Popen(  # noqa: S603 - our own
                [*command, str(grown), *map(str, feeds(name))],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                _watch(name, engine, said)
            finally:
                engine.kill()
        told = said.read_text(errors="replace")
    runs = [int(found) for found in _DONE.findall(told)] or [int(status[0]) for status in _STATUS.findall(told)] or [0]
    if engine.returncode:
        print(told[-4000:])
        print(f"{name}: broken; run it again: python -m tests.fuzz --target {name} {FOUND}/{name}-…", flush=True)
    return runs[-1], bool(engine.returncode)


def _watch(name: str, engine: subprocess.Popen[bytes], said: Path) -> None:
    """Say now and then how far it is, and once at its end."""
    began = last = time.monotonic()
    while engine.poll() is None:
        time.sleep(0.2)
        if time.monotonic() - last > _EVERY_SECONDS:
            last = time.monotonic()
            _tell(name, last - began, said)
    _tell(name, time.monotonic() - began, said)


def _tell(name: str, seconds: float, said: Path) -> None:
    told = said.read_text(errors="replace")
    statuses, done = _STATUS.findall(told), _DONE.findall(told)
    runs, edges, kept = statuses[-1] if statuses else ("0", "0", "0")
    runs = int(done[-1] if done else runs)
    print(f"{name:<11} {seconds:4.0f} s  {runs:>11,} inputs, {edges} edges, {kept} kept", flush=True)


if __name__ == "__main__":
    sys.exit(main())
