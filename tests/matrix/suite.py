"""mpi4py's own test suite on two ranks in a container: how it is run, and what its output says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from real import Real

LIMIT = 200
"""Seconds after which a run has failed; it takes 40 to 60."""
INSIDE = "/opt/mpi4py-tests"
EXCLUDED = {
    "test_spawn": "starts processes, which not every MPI can within a step",
    "test_dynproc": "connects groups of processes by name and port, which not every MPI can within a step",
}
"""Modules that are not run, with the reason."""
PAIRS = (
    ("wheel-mpich", "deb12-mpich"),
    ("wheel-openmpi", "deb12-openmpi"),
)
"""Images with PyPI's mpi4py, and the hosts whose MPI is swapped in."""
LEFT_OUT = {
    "test_util_sync.Test*World.test*": "under MPICH 4.0 mutexes, conditions and semaphores between ranks "
    "fail or wait for ever, without a container as well if srun starts them (not if mpiexec does)",
}
"""Tests that are not run, by mpi4py's patterns, with the reason."""


@dataclass(frozen=True, slots=True)
class Rank:
    """What one rank's unittest has reported; ``failures`` are its headings of failed tests and subtests."""

    mpi4py: str
    library: str
    ran: int
    skipped: int
    failures: frozenset[str]


class Unfinished(Exception):
    """The output of a rank does not end as unittest's does."""


def parse(text: str) -> Rank:
    """Read what one rank has written to its standard error.

    Raises Unfinished: unittest's last lines are not there, or they count other failures than are shown.
    """
    library = re.search(r"^\[\d+@\S+\] MPI [\d.]+ \((.+)\)$", text, re.MULTILINE)
    package = re.search(r"^\[\d+@\S+\] mpi4py (\S+) ", text, re.MULTILINE)
    end = re.search(r"^Ran (\d+) tests? in [\d.]+s\n\n(OK|FAILED)(?: \((.*)\))?$", text, re.MULTILINE)
    if not (library and package and end):
        last = re.findall(r"^(\w+ \(\S+\)) \.\.\.", text, re.MULTILINE)
        raise Unfinished(f"no end after {last[-1] if last else 'no test'}")
    counts = {name: int(count) for name, count in re.findall(r"([a-z]+(?: [a-z]+)*)=(\d+)", end[3] or "")}
    shown = re.findall(r"^={70}\n((?:FAIL|ERROR|UNEXPECTED SUCCESS): .*)$", text, re.MULTILINE)
    wanted = sum(counts.get(name, 0) for name in ("failures", "errors"))
    if len(shown) != wanted or counts.get("unexpected successes") or (end[2] == "OK") != (not shown):
        raise Unfinished(f"{len(shown)} failures are shown, but it says {end[2]} ({end[3]})")
    return Rank(package[1], library[1], int(end[1]), counts.get("skipped", 0), frozenset(shown))


def modules(tests: Path) -> tuple[str, ...]:
    """The modules of the suite that are run."""
    return tuple(path.stem for path in sorted(tests.glob("test_*.py")) if path.stem not in EXCLUDED)


def run_suite(
    real: Real, image: Path, python: str, host: str, chosen: Sequence[str], *, tests: Path, like: str
) -> tuple[Rank, Rank]:
    """Run modules of the suite on two ranks of one node: on two, shared windows do not work, nor does /tmp.

    Raises Unfinished: it took too long, or died; with the end of what it said.
    """
    folder = real.folder / (host or "own")
    folder.mkdir()
    folder.chmod(0o777)
    argv = [
        *(python, f"{INSIDE}/main.py", "--verbose", "--no-builddir"),
        *(argument for pattern in LEFT_OUT for argument in ("-x", pattern)),
        *(argument for name in chosen for argument in ("-i", rf"^{name}\.py$")),
    ]
    done = real.run(
        image, host, argv, like=like, nodes=1, limit=LIMIT, options=(f"--error={folder}/%t",),
        BAREBOAT_MOUNTS=f"{tests}:{INSIDE}:ro",
    )  # fmt: skip
    said = [
        path.read_text(errors="replace") if path.exists() else "" for path in (folder / "0", folder / "1")
    ]
    try:
        first, second = (parse(text) for text in said)
    except Unfinished as error:
        how = f"took longer than {LIMIT} s" if done.returncode == 124 else f"ended with {done.returncode}"
        tails = "\n".join(text[-3000:] for text in said)
        raise Unfinished(f"the run {how}: {error}\n{done.stderr}\n{tails}") from error
    return first, second
