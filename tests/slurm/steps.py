"""What the tests of launches share."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

from slurm.testbed import Testbed

HELLO = "/opt/bareboat-tests/bin/mpi_hello"
LATENCY = "/opt/bareboat-tests/bin/mpi_latency"
Run = subprocess.CompletedProcess[str]
Srun = Callable[..., Run]
PLANNED = "planned"
CACHED = "by the cache"


class QuietTestbed(Testbed):
    """Its ``srun`` does not say that a busy slurmctld lets it wait for its nodes: no test asks about that."""

    WAITED = re.compile(r"srun: job \d+ (queued and waiting for resources|has been allocated resources)\n")

    def run(self, *arguments: Any, **options: Any) -> Run:
        result = super().run(*arguments, **options)
        result.stderr = self.WAITED.sub("", result.stderr)
        return result


def good(result: Run) -> list[str]:
    """Its lines, after a check that it succeeded and said nothing on standard error."""
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def refused(result: Run) -> list[str]:
    """What bareboat says of a refused step, without names of nodes; each of them has said it once."""
    assert result.returncode == 125, result.stderr
    said: dict[str, list[str]] = {}
    for line in result.stderr.splitlines():
        if found := re.fullmatch(r"bareboat: (n\d+): (.*)", line):
            said.setdefault(found[1], []).append(found[2])
    assert said, result.stderr
    first, *others = said.values()
    assert all(other == first for other in others), result.stderr
    return first


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come true; the limit is for a busy machine."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def how(result: Run) -> str:
    """How the one rank's container came about."""
    assert result.returncode == 0, result.stderr
    found = re.findall(r"trace: (planned) and entered|trace: entered (by the cache)", result.stderr)
    assert len(found) == 1, result.stderr
    return "".join(found[0])
