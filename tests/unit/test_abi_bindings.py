"""A host's MPI without Fortran: the image's own Fortran interface stays where it gets all that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from abi_toolbox import MPICH_SOURCE, OPENMPI_SOURCE, compile_c, library_dir, make_library, make_root

from mpi_abi import Code, Verdict, VerdictKind, judge, probe_host, probe_image
from mpi_abi.rootfs import RootView

MORE = "int MPI_Extra(void) { return 0; } int MPII_Inner(void) { return 0; }"
BINDINGS = """
int MPI_Finalize(void); int MPI_Extra(void); int MPII_Inner(void);
void mpi_init_(int *e) { *e = MPI_Finalize(); }
"""


def verdict_of(
    tmp_path: Path,
    *,
    bindings: str,
    call: str,
    source: str = MPICH_SOURCE,
    host: str = MPICH_SOURCE,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Judge a program that calls a function of Fortran bindings, on a host that has C's only."""
    root = make_root(tmp_path / "image")
    name = "libmpi.so.40" if source != MPICH_SOURCE else "libmpi.so.12"
    library = make_library(library_dir(root) / name, source + MORE)
    fortran = make_library(
        library_dir(root) / "libmpifort.so.12", BINDINGS + bindings, str(library), *options
    )
    program = f"void {call}(int *); int main(void) {{ int e; {call}(&e); return e; }}"
    compile_c(root / "usr/bin/app", program, str(fortran), "-Wl,--allow-shlib-undefined")
    make_library(tmp_path / "host/lib" / name, host)
    found = probe_host(prefixes=(str(tmp_path / "host"),), search=False)[0]
    return judge(probe_image(RootView(str(root)), program="/bin/app", environment=environment), found)


def test_the_images_bindings_stay_above_the_hosts_library(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, bindings="", call="mpi_init_")
    assert verdict.kind is VerdictKind.NATIVE
    assert {reason.code: reason.text for reason in verdict.reasons} == {
        Code.SYMBOLS: "MPICH 9.8.7 has all 0 MPI symbols that the program and its libraries need",
        Code.INTERFACE_KEPT: "/bin/app uses the Fortran interface (mpif.h), which MPICH 9.8.7 has not; "
        "the image's /lib/x86_64-linux-gnu/libmpifort.so.12 stays",
    }


INNER = "void mpi_more_(int *e) { *e = MPII_Inner(); }"
STATIC = """
static __attribute__((noinline)) void first(int *e) { if (*e) mpi_more_(e); else *e = 1; }
void mpi_last_(int *e) { first(e); *e += 1; }
"""
POINTER = "static void call(int *e) { mpi_more_(e); } void (*mpi_callback)(int *) = call;"
EXTRA = "void mpi_extra_(int *e) { *e = MPI_Extra(); }"


@pytest.mark.parametrize(
    ("bindings", "call", "kind"),
    [
        (EXTRA, "mpi_init_", VerdictKind.NATIVE),
        (EXTRA, "mpi_extra_", VerdictKind.IMPOSSIBLE),
        (INNER, "mpi_init_", VerdictKind.NATIVE),
        (INNER, "mpi_more_", VerdictKind.IMPOSSIBLE),
        (INNER + STATIC, "mpi_last_", VerdictKind.IMPOSSIBLE),
        (INNER + POINTER, "mpi_init_", VerdictKind.IMPOSSIBLE),
    ],
    ids=["another function", "that function", "another inner", "that inner", "by another", "by a pointer"],
)
def test_what_the_host_lacks_counts_where_it_may_be_called(
    tmp_path: Path, bindings: str, call: str, kind: VerdictKind
) -> None:
    assert verdict_of(tmp_path, bindings=bindings, call=call).kind is kind


@pytest.mark.parametrize(
    ("inner", "version", "kind"),
    [
        ("ompi_fortran_string_f2c", "5.0.7", VerdictKind.NATIVE),
        ("ompi_attr_get_aint", "9.8.1", VerdictKind.NATIVE),
        ("ompi_attr_get_aint", "5.0.7", VerdictKind.IMPOSSIBLE),
        ("ompi_fortran_string_f2c", "4.0.3", VerdictKind.IMPOSSIBLE),
    ],
    ids=["the same everywhere", "the same series", "another series", "too old"],
)
def test_what_means_the_same_in_both_versions_may_be_shared(
    tmp_path: Path, inner: str, version: str, kind: VerdictKind
) -> None:
    host = OPENMPI_SOURCE % 64 + f"int {inner}(void) {{ return 0; }}"
    verdict = verdict_of(
        tmp_path,
        bindings=f"int {inner}(void); void mpi_more_(int *e) {{ *e = {inner}(); }}",
        call="mpi_more_",
        source=host.replace("9.8.7", version),
        host=host,
    )
    assert verdict.kind is kind
    if kind is VerdictKind.IMPOSSIBLE:
        assert verdict.reasons[0].code is Code.INTERFACE_MISSING


def test_cxx_bindings_count_as_a_whole(tmp_path: Path) -> None:
    """What unwinds the stack comes by ways that no instruction tells."""
    more = EXTRA + "int __gxx_personality_v0(void); int unwind(void) { return __gxx_personality_v0(); }"
    assert verdict_of(tmp_path, bindings=more, call="mpi_init_").kind is VerdictKind.IMPOSSIBLE


def test_what_is_bound_at_start_must_be_there(tmp_path: Path) -> None:
    for number, options in enumerate((("-Wl,-z,lazy",), ("-Wl,-z,now",), ("-fno-plt",))):
        verdict = verdict_of(tmp_path / str(number), bindings=EXTRA, call="mpi_init_", options=options)
        assert (verdict.kind is VerdictKind.NATIVE) is (number == 0)
    late = verdict_of(tmp_path / "late", bindings=EXTRA, call="mpi_init_", environment={"LD_BIND_NOW": "1"})
    assert late.kind is VerdictKind.IMPOSSIBLE
    names = "MPICH 9.8.7 has not; the image's own would not find MPI_Extra as it knows it"
    assert names in late.reasons[0].text


def test_one_of_the_images_interfaces_may_rest_on_another(tmp_path: Path) -> None:
    """A chain: Fortran 2008 calls mpif.h's functions, and these what the host lacks."""
    for number, inner in enumerate(("MPI_Finalize", "MPI_Extra")):
        verdict = chain_of(tmp_path / str(number), inner)
        assert (verdict.kind is VerdictKind.NATIVE) is (number == 0)


def test_an_object_of_a_library_that_stays_is_as_large_as_ever(tmp_path: Path) -> None:
    """A program that is no PIE copies Fortran's markers, which the host's C library need not have."""
    root = make_root(tmp_path / "image")
    library = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE)
    text = (
        BINDINGS.replace("int MPI_Extra(void); int MPII_Inner(void);", "") + "long MPIR_F08_MPI_IN_PLACE = 1;"
    )
    fortran = make_library(library_dir(root) / "libmpifort.so.12", text, str(library))
    program = "extern long MPIR_F08_MPI_IN_PLACE; void mpi_init_(int *);"
    program += "int main(void) { int e; mpi_init_(&e); return MPIR_F08_MPI_IN_PLACE; }"
    compile_c(root / "usr/bin/app", program, str(fortran), str(library), "-no-pie", "-fno-pie")
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    host = probe_host(prefixes=(str(tmp_path / "host"),), search=False)[0]
    facts = probe_image(RootView(str(root)), program="/bin/app", environment={})
    assert (facts.copies, facts.owners) == (
        {"MPIR_F08_MPI_IN_PLACE": 8},
        {"MPIR_F08_MPI_IN_PLACE": ("fortran",)},
    )
    assert judge(facts, host).kind is VerdictKind.NATIVE


def chain_of(tmp_path: Path, inner: str) -> Verdict:
    """Judge a program of the Fortran 2008 interface, which calls that of mpif.h, which calls ``inner``."""
    root = make_root(tmp_path / "image")
    library = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE + MORE)
    text = f"int {inner}(void); void mpi_init_(int *e) {{ *e = {inner}(); }}"
    text += "void mpi_other_(int *e) { MPI_Extra(); }"
    fortran = make_library(library_dir(root) / "libmpifort.so.12", text, str(library))
    text = "void mpi_init_(int *); void mpi_init_f08_(int *e) { mpi_init_(e); }"
    f08 = make_library(library_dir(root) / "libmpif08.so.12", text, str(fortran))
    program = "void mpi_init_f08_(int *); int main(void) { int e; mpi_init_f08_(&e); return e; }"
    compile_c(root / "usr/bin/app", program, str(f08), "-Wl,--allow-shlib-undefined")
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    host = probe_host(prefixes=(str(tmp_path / "host"),), search=False)[0]
    return judge(probe_image(RootView(str(root)), program="/bin/app", environment={}), host)
