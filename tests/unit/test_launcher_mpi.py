"""What a launch says of MPI beyond the verdict."""

from __future__ import annotations

import pytest

from launcher.errors import BareboatError
from launcher.mpi import lonely_ranks
from mpi_abi import Closure, HostMpi
from mpi_abi.closure import ClosureFile
from mpi_abi.mpilib import MpiLibrary
from mpi_abi.pmi import PmiAdvice, spoken_by
from mpi_abi.srun import parse_types
from slurm.step import read_step


def library_file(soname: str) -> ClosureFile:
    return ClosureFile(soname, f"/usr/lib/{soname}", "", False, False, (), {}, frozenset())


PMIX = library_file("libpmix.so.2")


def closure_of(*files: ClosureFile) -> Closure:
    return Closure(files, (), (), ())


def host_of(family: str, version: str = "4.0.2", product: str = "") -> HostMpi:
    library = MpiLibrary(family, "c", "libmpi.so", "/l", "/l", "/l", version, product)
    return HostMpi(family, "/usr", "x86_64", (library,), {}, {})


def say(host: HostMpi, mpi_type: str, *files: ClosureFile, tasks: int = 4) -> BareboatError | None:
    step = read_step(
        {
            "SLURM_JOB_ID": "7",
            "SLURM_STEP_ID": "0",
            "SLURM_STEP_NUM_TASKS": str(tasks),
            "SLURM_MPI_TYPE": mpi_type,
        },
        argv=("app",),
        cwd="/",
    )
    return lonely_ranks(host, closure_of(*files), step)


@pytest.mark.parametrize(
    ("host", "mpi_type", "shown", "use"),
    [
        (host_of("mpich"), "", "none", "pmi2"),
        (host_of("mpich"), "none", "none", "pmi2"),
        (host_of("mpich"), "pmix", "pmix", "pmi2"),
        (host_of("mpich"), "pmix_v4", "pmix_v4", "pmi2"),
        (host_of("standard", "5.0.2", "MPICH"), "pmix", "pmix", "pmi2"),
    ],
)
def test_ranks_that_would_start_alone_are_told(host: HostMpi, mpi_type: str, shown: str, use: str) -> None:
    error = say(host, mpi_type)
    assert error is not None
    assert (str(error), error.hint) == (
        f"under --mpi={shown}, each of the 4 ranks of {host.title} starts alone, as rank 0 of 1",
        f"use srun --mpi={use}; BAREBOAT_MPI=force starts them all the same",
    )


def test_open_mpi_5_starts_alone_without_pmix_and_4_says_so_itself() -> None:
    error = say(host_of("openmpi", "5.0.11"), "pmi2", PMIX)
    assert error is not None
    assert str(error) == (
        "under --mpi=pmi2, each of the 4 ranks of Open MPI 5.0.11 starts alone, as rank 0 of 1"
    )
    assert error.hint.startswith("use srun --mpi=pmix;")
    assert say(host_of("openmpi", "5.0.11"), "pmix_v4", PMIX) is None
    assert say(host_of("openmpi", "4.1.4"), "pmi2", PMIX) is None


def test_ranks_that_find_each_other_are_not() -> None:
    mpich = host_of("mpich")
    assert say(mpich, "pmi2") is None
    assert say(mpich, "pmix_v4", PMIX) is None
    assert say(mpich, "none", PMIX) is not None
    assert say(mpich, "none", tasks=1) is None
    # Slurm's libpmi finds srun under every type.
    assert say(mpich, "none", library_file("libpmi.so.0")) is None
    # A type of a site's own may be anything.
    assert say(mpich, "cray_shasta") is None


def test_an_mpi_is_advised_by_what_srun_offers() -> None:
    def advice(host: HostMpi, *files: ClosureFile, offered: tuple[str, ...] = ()) -> str:
        return PmiAdvice(host.title, spoken_by(host, closure_of(*files)), offered).text

    mpich, openmpi = host_of("mpich"), host_of("openmpi", "5.0.11")
    assert advice(mpich) == "MPICH 4.0.2 speaks pmi2 and pmi1: start it with srun --mpi=pmi2"
    assert advice(mpich, PMIX, offered=("none", "pmix_v4")) == (
        "MPICH 4.0.2 speaks pmi2 and pmi1 and pmix: start it with srun --mpi=pmix"
    )
    assert advice(openmpi, PMIX, offered=("none", "pmi2")) == (
        "Open MPI 5.0.11 speaks pmix; srun here offers only none, pmi2: its ranks would start alone"
    )
    assert advice(openmpi) == (
        "Open MPI 5.0.11 speaks no PMI that srun offers: start it with its own mpiexec"
    )


@pytest.mark.parametrize(
    "text",
    [
        "MPI plugin types are...\n\tnone\n\tpmi2\n\tpmix\nspecific versions available: pmix_v4,pmix_v5\n",
        "srun: MPI types are...\nsrun: none\nsrun: pmi2\nsrun: pmix\nsrun: pmix_v4\nsrun: pmix_v5\n",
    ],
    ids=["22.05", "before 20.11"],
)
def test_the_types_that_srun_lists_are_read(text: str) -> None:
    assert parse_types(text) == ("none", "pmi2", "pmix", "pmix_v4", "pmix_v5")
    assert parse_types("") == ()
