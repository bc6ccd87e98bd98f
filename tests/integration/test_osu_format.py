"""Our OSU suite, compiled by each MPI's compiler, prints what OSU 7.5 printed: same lines, same widths."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from osu_running import RECORDED, run_osu, widths

from benchmarks.osu_output import parse_osu
from benchmarks.programs import compile_command
from benchmarks.suites.osu_programs import PROGRAMS

ALSO_BY_OPEN_MPI = ("osu_bibw", "osu_mbw_mr", "osu_alltoallw", "osu_barrier", "osu_ireduce_scatter")
"""One of each kind: each start takes half a second."""
CASES = (
    *(("mpich", program.name) for program in PROGRAMS if program.name != "osu_init"),
    *(("openmpi", name) for name in ALSO_BY_OPEN_MPI),
)


def layout(text: str) -> list[str]:
    """The lines that hold no figure, and for each that does its columns' ends."""
    return [line if line.startswith("#") or not line else str(widths(line)) for line in text.splitlines()]


@pytest.mark.parametrize(("family", "name"), CASES)
def test_same_lines_and_widths(osu: Path, family: str, name: str) -> None:
    recorded = (RECORDED / f"{name}.txt").read_text()
    sized = "# Size" in recorded and name not in {"osu_fop_latency", "osu_cas_latency"}
    short = ("-i", "2", "-x", "1", *(("-m", "16") if sized else ()))
    done = run_osu(osu, family, 2, name, *short)
    assert (done.returncode, done.stderr) == (0, "")
    ours = layout(done.stdout)
    theirs = layout(recorded)
    assert ours == theirs[: len(ours)]
    assert parse_osu(done.stdout).title == parse_osu(recorded).title


@pytest.mark.parametrize("family", ["mpich", "openmpi"])
def test_compiles_without_a_warning(tmp_path: Path, family: str) -> None:
    flags = ("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Werror")
    command = compile_command(f"mpicc.{family}", "osu", tmp_path)
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
