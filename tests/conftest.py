"""What tests share: real storage on loopback, the compiler of the infrastructure; and which tests need such real parts.

`real` marks what takes time for a reason: another process, or another engine. It follows from the fixtures of a test,
or stands at the test or its module; a test without it that uses a real part fails, so that none is forgotten.
"""

import atexit
import gc
import os
import signal
import sys
import uuid
from collections.abc import Generator, Iterator, Sequence
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from infra import bicep
from local.azurite import Azurite
from tests.infra.compiler import Compiler

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", settings.get_profile("explore"), derandomize=True, max_examples=50)
settings.register_profile("quick", settings.get_profile("usual"), max_examples=10)
settings.load_profile("usual")  # how long an example takes says nothing about the code

REAL_PART = "tests.real_part"
"""The audit event of a real part that is no process."""


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azurite, started once for all tests: each keeps to tables of its own."""
    with Azurite() as running:
        yield running


@pytest.fixture
def table_name() -> str:
    """Provide the name of a table that no other test uses."""
    return f"t{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def compiler(pytestconfig: pytest.Config) -> Compiler:
    """Microsoft's Bicep compiler."""
    found = bicep.find()
    assert found is not None
    assert pytestconfig.cache is not None
    return Compiler(found, pytestconfig.cache.mkdir("bicep"))


def pytest_configure(config: pytest.Config) -> None:
    """Say at once that `$BICEP` names no compiler, if so; hear Ctrl-C, which shells keep from what they run aside."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "real: needs a process, an engine or many seconds; `make check` leaves it out")
    sys.addaudithook(_note)
    try:
        bicep.find()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a real part, and put its files first: no worker should begin with the longest in the end.

    They come mixed, since neighbours wait for the same part: one asks the compiler, and the others want its answer.
    """
    for item in items:
        if not {azurite.__name__, compiler.__name__}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("real")
    slow = {item.path for item in items if item.get_closest_marker("real")}
    items.sort(key=lambda item: (item.path not in slow, crc32(item.path.name.encode())))


def pytest_xdist_auto_num_workers() -> int:
    """Start one worker more than there are cores, since some tests wait for other processes."""
    return (os.process_cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Keep what was collected out of every later collection of garbage: thousands of tests, and all modules."""
    gc.collect()
    gc.freeze()


@atexit.register
def _end_in_silence() -> None:
    """Keep back what the binding of DuckDB says as a process ends: it lists its own types as leaked."""
    if "duckdb" in sys.modules:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


_used: list[str] = []


def _note(event: str, arguments: Sequence[object]) -> None:
    if event in {"subprocess.Popen", REAL_PART}:
        _used.append(f"{arguments[0]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Skip what needs a compiler without one: from here, so that the summary has one line for all of it."""
    if compiler.__name__ in getattr(item, "fixturenames", ()) and bicep.find() is None:
        pytest.skip(bicep.MISSING)
    _used.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail what needs the mark and has none."""
    result = yield
    if _used and item.get_closest_marker("real") is None:
        pytest.fail(f"uses {_used[0]}: mark it with pytest.mark.real", pytrace=False)
    return result
