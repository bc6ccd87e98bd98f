"""A host's MPI without Fortran: the image's own Fortran interface stays where it gets all that it calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, OPENMPI_SOURCE, compile_c, library_dir, make_library, make_root

from mpi_abi import Code, Verdict, VerdictKind, judge, probe_host, probe_image
from mpi_abi.rootfs import RootView

MORE = "int MPI_Extra(void) { return 0; } int MPII_Inner(void) { return 0; }"
BINDINGS = """
int MPI_Finalize(void); int MPI_Extra(void); int MPII_Inner(void);
void mpi_init_(int *e) { *e = MPI_Finalize(); }
"""


def verdict_of(tmp_path: Path, *, bindings: str, call: str, source: str = MPICH_SOURCE) -> Verdict:
    """Judge a program that calls a function of Fortran bindings, on a host that has C's only."""
    root = make_root(tmp_path / "image")
    name = "libmpi.so.40" if source != MPICH_SOURCE else "libmpi.so.12"
    library = make_library(library_dir(root) / name, source + MORE)
    fortran = make_library(library_dir(root) / "libmpifort.so.12", BINDINGS + bindings, str(library))
    program = f"void {call}(int *); int main(void) {{ int e; {call}(&e); return e; }}"
    compile_c(root / "usr/bin/app", program, str(fortran), "-Wl,--allow-shlib-undefined")
    make_library(tmp_path / "host/lib" / name, source)
    host = probe_host(prefixes=(str(tmp_path / "host"),), search=False)[0]
    return judge(probe_image(RootView(str(root)), program="/bin/app", environment={}), host)


def test_the_images_bindings_stay_above_the_hosts_library(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, bindings="", call="mpi_init_")
    assert verdict.kind is VerdictKind.NATIVE
    assert {reason.code: reason.text for reason in verdict.reasons} == {
        Code.SYMBOLS: "MPICH 9.8.7 has all 0 MPI symbols that the program and its libraries need",
        Code.INTERFACE_KEPT: "/bin/app uses the Fortran interface (mpif.h), which MPICH 9.8.7 has not; "
        "the image's /lib/x86_64-linux-gnu/libmpifort.so.12 stays",
    }


EXTRA = "void mpi_extra_(int *e) { *e = MPI_Extra(); }"


@pytest.mark.parametrize(
    ("bindings", "call", "kind"),
    [
        (EXTRA, "mpi_init_", VerdictKind.NATIVE),
        (EXTRA, "mpi_extra_", VerdictKind.IMPOSSIBLE),
        ("void mpi_more_(int *e) { *e = MPII_Inner(); }", "mpi_init_", VerdictKind.IMPOSSIBLE),
    ],
    ids=["another function", "that function", "a function within"],
)
def test_what_the_host_lacks_counts_where_it_may_be_called(
    tmp_path: Path, bindings: str, call: str, kind: VerdictKind
) -> None:
    assert verdict_of(tmp_path, bindings=bindings, call=call).kind is kind


def test_bindings_that_share_more_than_functions_do_not_stay(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, bindings="", call="mpi_init_", source=OPENMPI_SOURCE % 64)
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].code is Code.INTERFACE_MISSING
