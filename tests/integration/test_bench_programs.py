"""The bundled MPI programs, compiled by the compiler of the MPI that they are to run with."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import make_library

from benchmarks.errors import BenchError
from benchmarks.programs import compile_programs, link_with
from mpi_abi import HostMpi, choose_host, probe_host
from mpi_abi.elfcache import ElfCache


def host(family: str) -> HostMpi:
    found = choose_host(probe_host(family=family), family)
    assert found is not None
    return found


@pytest.mark.parametrize("family", ["mpich", "openmpi"])
def test_by_the_mpis_own_compiler(tmp_path: Path, family: str) -> None:
    mpi = host(family)
    compiler = compile_programs(mpi, ("mpi_hello", "mpi_latency"), tmp_path)
    assert Path(compiler).name in {"mpicc", f"mpicc.{family}"}
    for name in ("mpi_hello", "mpi_latency"):
        assert mpi.c_library.soname in ElfCache().facts(str(tmp_path / name)).needed


@pytest.mark.parametrize("family", ["mpich", "openmpi"])
def test_with_the_library_of_an_image(tmp_path: Path, family: str) -> None:
    source = "int MPI_Init(int *c, char ***v) { return 0; }"
    names = ("Comm_rank", "Comm_size", "Get_library_version", "Finalize", "Allgather", "Barrier", "Abort")
    source += "".join(f"int MPI_{name}(void) {{ return 0; }}" for name in names)
    library = make_library(tmp_path / "copy.so", source, soname="libother.so.7")
    link = link_with(library, "/opt/a,b/lib")
    mpi = host(family)
    compile_programs(mpi, ("mpi_hello",), tmp_path, link=link)
    facts = ElfCache().facts(str(tmp_path / "mpi_hello"))
    assert "libother.so.7" in facts.needed
    assert facts.runpath == ("/opt/a,b/lib",)


def test_anothers_compiler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mpicc").symlink_to("/usr/bin/mpicc.openmpi")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr("benchmarks.programs._ABOVE", 0)
    (programs / "mpicc.mpich").symlink_to("/usr/bin/false")
    mpi = host("mpich")
    with pytest.raises(BenchError) as caught:
        compile_programs(mpi, ("mpi_hello",), tmp_path)
    told = str(caught.value)
    assert told.startswith(f"no compiler of MPICH 4.0.2 ({mpi.c_library.path}) was found (")
    assert f"{programs}/mpicc links with libmpi.so.40" in told
    assert f"`{programs}/mpicc.mpich -O2 -o " in told
    assert "failed (exit code 1)" in told
    assert caught.value.hint == "install its mpicc, e.g. Debian's libmpich-dev, or put it in front of PATH"
