"""docs/matrix.md: written from a full run, read to compare a part with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from cells import COLUMNS, Cell

DOCUMENT = Path(__file__).parents[2] / "docs/matrix.md"
HEAD = """\
# The matrix: what was judged, and what happened

`make matrix` writes this page. Each cell is a program of an image on a host with one MPI: first what
`mpi_abi` said before the start, then what happened under `srun` with two ranks on two nodes. What was
refused was run all the same, with `BAREBOAT_MPI=force`: a refusal of something that works would be as
wrong as a permission for something that fails. The test fails for both.

A program *runs* if both ranks have found each other on two nodes, the library of the host has answered,
and every result was right: point-to-point, the class of an error, collective operations (one by a
function of the program), one-sided, and a shared file. Else it *fails*, *starts alone* (each rank by
itself, as rank 0 of 1), or *keeps its own* MPI. The column *own* has nothing swapped
(`BAREBOAT_MPI=image`).

Programs: `check` is C, as a position-independent executable and without (`-nopie`), with DT_RPATH
(`-rpath`), C++ (`-cxx`), Fortran (`-mpif`, `-usempi`, `-f08`, and with attributes, `-attr`), Python
(`check.py`, by mpi4py), by the standard ABI (`-abi`, and by its drafts, `-abi-draft`), with its MPI linked in
(`-static`), with musl and a stand-in for MPICH (`-musl`, and `-musl-only` in an image without glibc), and on
an Open MPI that is called libmpi.so.12 (`-as-12`). Images:
`slurm/testbed/images.toml`. Hosts: Debian 12's MPICH and Open MPI, and PyPI's wheels of MPICH, Open MPI
and Intel MPI.
"""


def render(cells: tuple[Cell, ...], results: Mapping[str, str]) -> str:
    """The page; ``results`` has the text of each cell by the cell's name."""
    lines = [HEAD, summary(cells, results)]
    for image, group in groupby(cells, key=lambda cell: cell.image):
        lines += ["", f"## {image}", "", f"| | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
        for program, row in groupby(group, key=lambda cell: cell.program.name):
            lines.append(f"| {program} | {' | '.join(results[cell.name] for cell in row)} |")
    return "\n".join(lines) + "\n"


def summary(cells: tuple[Cell, ...], results: Mapping[str, str]) -> str:
    """How many cells have which verdict and came to what."""
    counts: Counter[tuple[str, str]] = Counter()
    for cell in cells:
        verdict, _, outcome = results[cell.name].rpartition(": ")
        kind = verdict.partition(" ")[0].partition(",")[0] or "own"
        counts[kind, outcome] += 1
    rows = [f"| {verdict} | {outcome} | {count} |" for (verdict, outcome), count in sorted(counts.items())]
    return "\n".join(["| judged | came to | cells |", "|---|---|---|", *rows])


def parse(text: str) -> dict[str, str]:
    """The text of each cell by the cell's name."""
    found: dict[str, str] = {}
    image = ""
    for line in text.splitlines():
        if line.startswith("## "):
            image = line.removeprefix("## ")
        elif image and line.startswith("| ") and not line.startswith("| |"):
            program, *texts = (part.strip() for part in line.strip("|").split("|"))
            found |= {
                f"{image}-{program}-{column}": text for column, text in zip(COLUMNS, texts, strict=True)
            }
    return found
