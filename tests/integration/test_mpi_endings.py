"""A built-in program whose MPI_Finalize hangs ends soon, with its result and its exit code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.cases import Level
from benchmarks.npb import parse_npb
from benchmarks.programs import compile_programs
from benchmarks.runner import Output
from benchmarks.suites.npb import make_reader
from benchmarks.suites.npb_programs import built_in
from mpi_abi import choose_host, probe_host

SAID = "# MPI_Finalize did not return"
HANGING = "#include <unistd.h>\nint MPI_Finalize(void) { for (;;) pause(); }\n"


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to preload, whose MPI_Finalize never returns."""
    library = tmp_path_factory.mktemp("hanging") / "hanging.so"
    source = library.with_suffix(".c")
    source.write_text(HANGING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def start(program: Path, *arguments: str, preload: Path) -> subprocess.CompletedProcess[str]:
    """One rank, which needs no mpiexec."""
    return subprocess.run(
        [program, *arguments],
        env={**os.environ, "LD_PRELOAD": str(preload)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_whole_result_counts(hanging: Path, tmp_path: Path) -> None:
    host = choose_host(probe_host(family="mpich"), "mpich")
    assert host is not None
    compile_programs(host, ("npb_is",), tmp_path)
    done = start(tmp_path / "npb_is", "-c", "S", preload=hanging)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, SAID)
    assert parse_npb(done.stdout, kernel="is", problem_class="S", processes=1).mops > 0
    program = next(program for program in built_in(Level.QUICK) if program.title == "is.S")
    reading = make_reader(program, 1)(Output(done.stdout, done.stderr, 1.0))
    assert reading.notes == ("MPI_Finalize did not return; the result was whole by then",)


def test_a_failure_stays_one(osu: Path, hanging: Path) -> None:
    done = start(osu / "mpich" / "osu_latency", preload=hanging)
    assert (done.returncode, done.stdout) == (1, f"{SAID}\n")
    assert done.stderr == "This test requires exactly two processes\n"
