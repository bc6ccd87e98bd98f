"""Measuring on this machine alone, where there is no Slurm: ranks are started by the host's own mpiexec."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.errors import BenchError
from benchmarks.runner import Allocation, Client, run_command
from mpi_abi import HostMpi

_ABOVE = 4

VARIABLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "mpich": (("UCX_TLS", "posix,self"), ("UCX_POSIX_USE_PROC_LINK", "n")),
    "openmpi": (("OMPI_MCA_btl_vader_single_copy_mechanism", "none"), ("OMPI_MCA_btl", "vader,self")),
}
"""By family, what has ranks exchange all by /dev/shm: ranks in two containers cannot read each other's
memory.  Both sides get it, so that they can be compared."""

NOTE = (
    "without Slurm: the host's mpiexec starts the ranks, each in a container of its own, and both sides are "
    "held to shared memory by /dev/shm"
)


def has_slurm(client: Client) -> bool:
    """Is there Slurm's client, and does a controller answer?

    Raises BenchError where there is a client alone.
    """
    if shutil.which("srun", path=client.environment.get("PATH")) is None:
        return False
    code, stdout, stderr = run_command(client, ("scontrol", "ping"), limit=60.0)
    if code == 0 and " UP" in stdout.upper():
        return True
    said = " ".join((stdout + stderr).split())
    raise BenchError(
        f"Slurm is installed, but no controller answers: {said}",
        hint="mend it, or measure on this machine alone with --local",
    )


def local_allocation(launcher: tuple[str, ...], nodes: int | None) -> Allocation:
    """This machine as an allocation of one node; launcher: what starts ranks, (): one alone can be started.

    Raises BenchError for more nodes.
    """
    if nodes not in (None, 1):
        raise BenchError(
            f"{nodes} nodes are needed, but without Slurm there is this machine alone",
            hint="leave --nodes out, or run where Slurm is",
        )
    name = platform.node().partition(".")[0]
    processors = len(os.sched_getaffinity(0))
    return Allocation("none (no Slurm)", (name,), processors, ours=False, launcher=launcher)


def choose_launcher(
    client: Client, hosts: Sequence[HostMpi]
) -> tuple[HostMpi | None, tuple[str, ...], BenchError | None]:
    """The first MPI that has an mpiexec, and that; where none has one, None, nothing, and why."""
    why = None
    for host in hosts:
        try:
            return host, find_launcher(client, host), None
        except BenchError as error:
            why = why or error
    return None, (), why


def find_launcher(client: Client, host: HostMpi) -> tuple[str, ...]:
    """The mpiexec of an MPI, with the options that it needs here.

    Raises BenchError where there is none.
    """
    names = (f"mpiexec.{host.family}", "mpiexec")
    above = Path(host.c_library.real).parents[1 : 1 + _ABOVE]
    places = os.pathsep.join([*(str(folder / "bin") for folder in above), client.environment.get("PATH", "")])
    for name in names:
        if found := shutil.which(name, path=places):
            more = ("--oversubscribe",) if host.family == "openmpi" else ()
            root = ("--allow-run-as-root",) if more and os.geteuid() == 0 else ()
            return (found, *more, *root)
    raise BenchError(
        f"no mpiexec of {host.title} ({host.c_library.path}) was found, and there is no Slurm",
        hint="install it, or name the prefix of another MPI: --host-mpi PREFIX",
    )
