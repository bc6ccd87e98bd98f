"""What the tests of launches share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

HELLO = "/opt/bareboat-tests/bin/mpi_hello"
LATENCY = "/opt/bareboat-tests/bin/mpi_latency"
Run = subprocess.CompletedProcess[str]
Srun = Callable[..., Run]


def good(result: Run) -> list[str]:
    """Its lines, after a check that it succeeded and said nothing on standard error."""
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come true within half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
