"""The testbed that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from slurm.testbed import Testbed


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Two nodes of a real Slurm, without bareboat's plugin (``set_plugin`` loads one)."""
    with Testbed(nodes=2) as bed:
        yield bed
