"""How often a warm launch asks the image's file system, which may be shared by many nodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from steps import HELLO, Srun, good
from tracing import traced

from slurm.testbed import Testbed

LIMITS = {"deb13-mpich": (18, 15), "deb13-openmpi": (28, 24), "packed": (2, 15)}
"""At most so many questions whether the plan still holds (one for each file that it was decided by), and so
many for the container: each mount point, and whether a mount would hide something.  A squashfs file is asked
about as a whole, and whether it is the one that root has mounted; what is looked for in it asks the file
system on which it lies for no more than blocks not yet read."""

CALLS = ("-s", "4096", "-e", "trace=%file,openat2,open_tree,fsopen")


def count(log: Path, image: Path) -> tuple[int, int]:
    """How many calls name the image, and how many look below its root, as its own file system shows it.

    root's part goes down to a file of the store name by name.  What is read ahead is what the first rank's
    search and start ask for anyhow.
    """
    named = lookups = 0
    roots: set[str] = set()
    alone = True
    for line in log.read_text().splitlines():
        if "execve(" not in line and re.search(rf'"({image}[/"]|{image.name}")', line):
            named += 1
        # From here on, what it lacks lies over it.
        alone = alone and 'fsopen("overlay"' not in line
        found = re.search(r"openat2\((\d+), .*RESOLVE_IN_ROOT", line)
        if found and "RESOLVE_NO_XDEV" not in line:
            roots |= {found[1]} if alone else set()
            lookups += found[1] in roots
    return named, lookups


@pytest.fixture(params=LIMITS)
def limited(
    request: pytest.FixtureRequest, image: Callable[[str], Path], packed: Path
) -> tuple[Path, str, tuple[int, int]]:
    """An image, how its MPI is wired up, and its limits."""
    name = request.param
    place = packed if name == "packed" else image(name)
    return place, "pmix" if name == "deb13-openmpi" else "pmi2", LIMITS[name]


def test_a_warm_launch_asks_the_image_little_however_many_ranks_there_are(
    cluster: Testbed, srun: Srun, shared_path: Path, limited: tuple[Path, str, tuple[int, int]]
) -> None:
    place, wire_up, (guards, most) = limited
    counts = []
    for ranks in (1, 8):
        arguments = (f"--mpi={wire_up}", "-w", "n1", f"-n{ranks}", f"--container={place}", HELLO)
        good(srun(*arguments))
        log = shared_path / f"{ranks}"
        with traced(cluster.process("slurmd n1").pid, log, *CALLS):
            good(srun(*arguments))
        counts.append(count(log, place))
    assert counts[0] == counts[1]
    named, lookups = counts[0]
    # Besides the guards, the image is named to be opened.
    assert 0 < named <= guards + 1
    assert 0 < lookups <= most
