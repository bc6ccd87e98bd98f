"""The built-in NPB kernels: compiled by each MPI's compiler, run, and held to the published numbers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.npb import NpbResult, parse_npb
from benchmarks.programs import KNOWN, SOURCES, compile_command, compile_programs
from benchmarks.suites.npb_programs import KERNELS, program_name
from mpi_abi import choose_host, probe_host

DISTURBER = Path(__file__).parents[1] / "data" / "npb_disturb.c"
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Werror")
BUILT_IN = [kernel.name for kernel in KERNELS.values() if kernel.built_in]
LIMIT = 60.0


@pytest.fixture(scope="module", params=["mpich", "openmpi"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The family and the directory of the programs."""
    family: str = request.param
    host = choose_host(probe_host(family=family), family)
    assert host is not None
    directory = tmp_path_factory.mktemp(family)
    names = [program_name(KERNELS[name]) for name in BUILT_IN]
    compile_programs(host, names, directory)
    return family, directory


def start(
    family: str, program: Path, arguments: Sequence[str], ranks: int, **variables: str
) -> subprocess.CompletedProcess[str]:
    options = ["--oversubscribe"] if family == "openmpi" else []
    settings = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # Four ranks on two processors: who waits is to let the others work.
    settings["MPIR_CVAR_POLLS_BEFORE_YIELD"] = "1"
    return subprocess.run(
        [f"mpiexec.{family}", *options, "-n", str(ranks), str(program), *arguments],
        env={**os.environ, **settings, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


def run(built: tuple[str, Path], kernel: str, problem_class: str, ranks: int) -> NpbResult:
    family, directory = built
    program = directory / program_name(KERNELS[kernel])
    done = start(family, program, ("-c", problem_class), ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    return parse_npb(done.stdout, kernel=kernel, problem_class=problem_class, processes=ranks)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("kernel", BUILT_IN)
def test_class_s(built: tuple[str, Path], kernel: str, ranks: int) -> None:
    result = run(built, kernel, "S", ranks)
    assert result.version == "bareboat, as 3.4.1"
    assert ("MPICH" if built[0] == "mpich" else "Open MPI") in result.library
    assert len(result.digest) == 16


def test_a_larger_class(built: tuple[str, Path]) -> None:
    assert run(built, "ft", "W", 2).size.split() == ["128x", "128x", "32"]


@pytest.mark.parametrize("kernel", BUILT_IN)
def test_no_warnings(kernel: str, tmp_path: Path) -> None:
    source = KNOWN[program_name(KERNELS[kernel])]
    files = [str(SOURCES / file) for file in source.files]
    command = [
        "mpicc.mpich",
        *source.flags,
        *WARNINGS,
        "-o",
        str(tmp_path / kernel),
        *files,
        *source.libraries,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


DISTURBANCES = {
    "ep": ("Allreduce:1",),
    # One key of the last of 11: no ranks follow, but the keys at the end are not those of the start.
    "is": ("Alltoallv:11",),
    # In the last of 16 steps of inverse iteration, each with 80 messages: later ones would mend it.
    "cg": ("Send:1202", "Send:1280"),
    # In the last of 5 cycles, each with 18 messages; and the norm at the end.
    "mg": ("Send:97", "Allreduce:2"),
    # The transform to frequencies, and the last one back.
    "ft": ("Alltoall:3", "Alltoall:9"),
}


@pytest.mark.parametrize("kernel", BUILT_IN)
def test_a_disturbed_number_fails_the_run(kernel: str, tmp_path: Path) -> None:
    """Everything as in a good run, but for one message, which an MPI library delivered with an error."""
    source = KNOWN[program_name(KERNELS[kernel])]
    files = [*(str(SOURCES / file) for file in source.files), str(DISTURBER)]
    program = tmp_path / kernel
    command = ["mpicc.mpich", *source.flags, "-o", str(program), *files, *source.libraries]
    subprocess.run(command, check=True)
    done = start("mpich", program, (), 2)
    assert done.returncode == 0
    assert parse_npb(done.stdout).problem_class == "S"
    for call in DISTURBANCES[kernel]:
        done = start("mpich", program, (), 2, DISTURB=call)
        assert "disturbed" in done.stderr
        assert (
            f"{kernel.upper()} of class S computed a wrong result, so its speed is no figure" in done.stderr
        )
        assert done.returncode == 1
        with pytest.raises(BenchError, match=f"{kernel.upper()} of class S computed a wrong result"):
            parse_npb(done.stdout)


@pytest.mark.parametrize("arguments", [("-c", "X"), ("-c", ""), ("-x",), ("-c", "SW"), ("A",)])
def test_wrong_arguments(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    subprocess.run(compile_command("mpicc.mpich", "npb_ep", tmp_path), check=True)
    done = start("mpich", tmp_path / "npb_ep", arguments, 1)
    assert done.returncode == 2
    assert " *** ERROR in the arguments of EP: -c S, W, A, B or C is all it takes\n" in done.stdout


@pytest.mark.parametrize("kernel", [kernel for kernel in BUILT_IN if kernel != "ep"])
def test_a_wrong_number_of_processes(built: tuple[str, Path], kernel: str) -> None:
    done = start(built[0], built[1] / program_name(KERNELS[kernel]), (), 3)
    assert done.returncode == 2
    with pytest.raises(
        BenchError, match="does not run on 3 processes: it takes a power-of-two number, such as 2"
    ):
        parse_npb(done.stdout)


def test_more_processes_than_a_class_has_parts(tmp_path: Path) -> None:
    """The table knows the largest number, which the programs enforce: the box of class W is 32 deep."""
    subprocess.run(compile_command("mpicc.mpich", "npb_ft", tmp_path), check=True)
    done = start("mpich", tmp_path / "npb_ft", ("-c", "W"), 64)
    assert done.returncode == 2
    with pytest.raises(
        BenchError, match="does not run on 64 processes: it takes a power-of-two number, such as 32"
    ):
        parse_npb(done.stdout)


def test_any_number_of_processes(built: tuple[str, Path]) -> None:
    assert run(built, "ep", "S", 3).processes == 3
