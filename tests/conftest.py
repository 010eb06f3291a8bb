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
    """The name of a table that no other test uses."""
    return f"t{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def compiler(pytestconfig: pytest.Config) -> Compiler:
    """Microsoft's Bicep compiler. Without one, what it evaluates is not tested, and the summary says so in one line."""
    found = bicep.find()
    if found is None:
        pytest.skip(bicep.MISSING)
    assert pytestconfig.cache is not None
    return Compiler(found, pytestconfig.cache.mkdir("bicep"))
