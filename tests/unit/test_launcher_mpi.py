"""What a launch says of MPI beyond the verdict."""

from __future__ import annotations

import pytest

from launcher.mpi import lonely_ranks
from mpi_abi import Closure, HostMpi
from mpi_abi.closure import ClosureFile
from mpi_abi.mpilib import MpiLibrary
from slurm.step import read_step

PMIX = ClosureFile("libpmix.so.2", "/usr/lib/libpmix.so.2.5.2", "pmix", False, False, (), {}, frozenset())


def say(family: str, mpi_type: str, *files: ClosureFile, tasks: int = 4) -> str:
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
    library = MpiLibrary(family, "c", "libmpi.so", "/l", "/l", "/l", "4.0.2")
    return lonely_ranks(
        HostMpi(family, "/usr", "x86_64", (library,), {}, {}), Closure(files, (), (), ()), step
    )


@pytest.mark.parametrize(
    ("mpi_type", "shown"), [("", "none"), ("none", "none"), ("pmix", "pmix"), ("pmix_v4", "pmix_v4")]
)
def test_ranks_that_would_start_alone_are_told(mpi_type: str, shown: str) -> None:
    assert say("mpich", mpi_type) == (
        f"under --mpi={shown}, MPICH 4.0.2 starts each of the 4 ranks alone, as rank 0 of 1; "
        "use srun --mpi=pmi2"
    )


def test_ranks_that_find_each_other_are_not() -> None:
    assert say("mpich", "pmi2") == ""
    assert say("mpich", "pmix_v4", PMIX) == ""
    assert say("mpich", "none", PMIX) != ""
    assert say("mpich", "none", tasks=1) == ""
    # A type of a site's own may be anything, and Open MPI says itself what it lacks.
    assert say("mpich", "cray_shasta") == ""
    assert say("openmpi", "none") == ""
