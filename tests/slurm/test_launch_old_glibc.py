"""Debian 11's programs on Debian 12's MPIs, on two nodes: with the host's glibc, and its own UCX modules."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from abi_toolbox import HOST_LIBS
from steps import HELLO, LATENCY, Srun, good

from slurm.testbed import Testbed

FOUR = ("-N2", "-n4", "--ntasks-per-node=2")
OLD = [
    ("deb11-mpich", "pmi2", "MPICH Version: 4.0.2"),
    ("deb11-openmpi", "pmix", "Open MPI v4.1.4"),
]
MODULES = "/usr/lib/x86_64-linux-gnu/ucx"


@pytest.mark.parametrize(("name", "pmi", "library"), OLD)
def test_ranks_on_two_nodes_call_the_hosts_mpi(
    srun: Srun, image: Callable[[str], Path], name: str, pmi: str, library: str
) -> None:
    lines = good(srun(f"--mpi={pmi}", *FOUR, f"--container={image(name)}", HELLO))
    assert sorted(line.partition(" library ")[0] for line in lines) == [
        f"rank {rank} of 4 on n{rank // 2 + 1}" for rank in range(4)
    ]
    assert all(f" library {library}" in line for line in lines)


@pytest.mark.parametrize(("name", "pmi", "library"), OLD)
def test_messages_go_from_node_to_node(
    cluster: Testbed, srun: Srun, image: Callable[[str], Path], *, name: str, pmi: str, library: str
) -> None:
    payload, rounds = 1 << 20, 20
    before = cluster.counters("n1")
    command = (LATENCY, "latency", "-m", f"{payload}:{payload}", "-i", rounds)
    # Debian 12's MPICH can hang in MPI_Finalize after rendezvous messages over TCP, bare as well.
    step = (f"--mpi={pmi}", "-N2", "-n2", f"--container={image(name)}", *command)
    assert library in "\n".join(good(srun(*step, UCX_RNDV_THRESH="inf")))
    after = cluster.counters("n1")
    assert after.sent_bytes - before.sent_bytes > payload * rounds
    assert after.received_bytes - before.received_bytes > payload * rounds


def _modules(
    srun: Srun, root: Path, log: Path, variables: dict[str, str], *program: object, dies: bool = False
) -> set[str]:
    """Directories in which the ranks of a step on two nodes look for UCX modules, by the loader's own log."""
    log.mkdir()
    log.chmod(0o777)
    more = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": f"{log}/rank", **variables}
    done = srun("--mpi=pmi2", "-N2", "-n2", f"--container={root}", *(program or [HELLO]), **more)
    assert (done.returncode != 0) is dies, done.stderr
    found = (re.findall(r"file=(\S*)/libuc[tms]_\S+ \[0\]", file.read_text()) for file in log.iterdir())
    return {folder for folders in found for folder in folders}


@pytest.fixture
def modules(image: Callable[[str], Path]) -> Path:
    """UCX modules of Debian 11, whose MPICH was built without: an image that has both is made of two."""
    folder = image("deb11-openmpi") / MODULES.lstrip("/")
    assert (folder / "libuct_cma.so.0").exists()
    return folder


def test_no_ucx_module_of_an_image_is_opened_by_the_hosts_libucs(
    srun: Srun, image: Callable[[str], Path], modules: Path, shared_path: Path
) -> None:
    more = {"BAREBOAT_MOUNTS": f"{shared_path}:{shared_path},{modules}:{MODULES}"}
    found = _modules(srun, image("deb11-mpich"), shared_path / "log", more)
    assert found == {"/run/bareboat/mpi/lib/ucx"}


def test_a_newer_images_modules_are_its_own_librarys_alone(
    srun: Srun, mpich: Path, shared_path: Path
) -> None:
    more = {"BAREBOAT_MOUNTS": f"{shared_path}:{shared_path}"}
    assert _modules(srun, mpich, shared_path / "swapped", more) == {"/run/bareboat/mpi/lib/ucx"}
    own = {"BAREBOAT_MPI": "image", **more}
    assert _modules(srun, mpich, shared_path / "own", own) == {MODULES.removeprefix("/usr")}


def test_a_libucs_left_to_itself_opens_the_images_modules_and_dies(
    srun: Srun, mpich: Path, modules: Path, shared_path: Path
) -> None:
    """What a swap by LD_LIBRARY_PATH alone does: why the modules come along, and the variable."""
    libraries = shared_path / "libraries"
    libraries.mkdir()
    for name in ("libmpich.so.12", "libucp.so.0", "libuct.so.0", "libucs.so.0", "libucm.so.0"):
        shutil.copy(HOST_LIBS / name, libraries / name)
    mounts = f"{shared_path}:{shared_path},{modules}:{MODULES}"
    more = {"BAREBOAT_MOUNTS": mounts, "BAREBOAT_MPI": "image"}
    program = ("env", f"LD_LIBRARY_PATH={libraries}", HELLO)
    assert MODULES in _modules(srun, mpich, shared_path / "log", more, *program, dies=True)
