"""What tests share: real storage on loopback, the compiler of the infrastructure."""

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from infra import bicep
from local.azurite import Azurite
from tests.infra.compiler import Compiler

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # how long an example takes says nothing about the code


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azurite, started once for all tests: each keeps to tables of its own."""
    with Azurite() as running:
        yield running


@pytest.fixture
def table_name() -> str:
    """Provide the name of a table that no other test uses."""
    return f"t{uuid.uuid4().hex}"


def pytest_configure() -> None:
    """Say at once that `$BICEP` names no compiler, if so."""
    try:
        bicep.find()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a compiler without one: from here, so that the summary has one line for all of it."""
    if "compiler" in getattr(item, "fixturenames", ()) and bicep.find() is None:
        pytest.skip(bicep.MISSING)


@pytest.fixture(scope="session")
def compiler(pytestconfig: pytest.Config) -> Compiler:
    """Microsoft's Bicep compiler."""
    found = bicep.find()
    assert found is not None
    assert pytestconfig.cache is not None
    return Compiler(found, pytestconfig.cache.mkdir("bicep"))
