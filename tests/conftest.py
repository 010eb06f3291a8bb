"""What tests share: real storage on loopback."""

import uuid
from collections.abc import Iterator

import pytest

from local.azurite import Azurite


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azurite, started once for all tests: each keeps to tables of its own."""
    with Azurite() as running:
        yield running


@pytest.fixture
def table_name() -> str:
    """The name of a table that no other test uses."""
    return f"t{uuid.uuid4().hex}"
