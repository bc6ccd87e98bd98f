"""The bundled MPI programs, compiled by the compiler of the MPI that they are to run with."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.programs import compile_programs
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
