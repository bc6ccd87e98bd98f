"""How the tests of the OSU suite start it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "data" / "outputs" / "osu"
MPIEXEC = {
    "mpich": ("mpiexec.mpich",),
    "openmpi": ("mpiexec.openmpi", "--allow-run-as-root", "--oversubscribe"),
}
Run = subprocess.CompletedProcess[str]


def run_osu(osu: Path, family: str, ranks: int, name: str, *arguments: str, **variables: str) -> Run:
    """Start a program of the suite on this host, one rank without mpiexec; only it gets the variables."""
    program = ["env", *(f"{key}={value}" for key, value in variables.items()), str(osu / family / name)]
    return subprocess.run(
        [*(() if ranks == 1 else (*MPIEXEC[family], "-n", str(ranks))), *program, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/root"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def widths(line: str) -> list[int]:
    """Where each word of a line ends that stands at the right of its column: all, or all but the size."""
    ends = [match.end() for match in re.finditer(r"\S+", line)]
    return ends if line.startswith(" ") else ends[1:]
