"""Verdicts on small real images against small real host MPIs: each reason with its text."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import (
    HOST_LIBS,
    MPICH_SOURCE,
    OPENMPI_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_library,
    make_old_libc,
    make_root,
)

from mpi_abi import (
    HostMpi,
    ImageMpiFacts,
    Verdict,
    VerdictKind,
    choose_host,
    find_closure,
    judge,
    probe_host,
    probe_image,
)
from mpi_abi.errors import AbiError
from mpi_abi.image import MpiSource, ProgramKind
from mpi_abi.rootfs import RootView

OWN = "BAREBOAT_MPI=image runs the program with the image's own MPI"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with a C library only."""
    return make_root(tmp_path / "image")


@pytest.fixture
def mpich_image(root: Path) -> Path:
    """An image with an MPICH, and /bin/app that uses it."""
    library = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    return root


def _host(tmp_path: Path, source: str = MPICH_SOURCE, *options: str, name: str = "libmpi.so.12") -> HostMpi:
    prefix = tmp_path / "host"
    make_library(prefix / "lib" / name, source, *options)
    return probe_host(prefixes=(str(prefix),))[0]


def _facts(root: Path, program: str | None = "/bin/app", **environment: str) -> ImageMpiFacts:
    return probe_image(RootView(str(root)), program=program, environment=environment)


def _judge(facts: ImageMpiFacts, host: HostMpi | None) -> Verdict:
    return judge(facts, host, find_closure(host) if host else None)


def test_the_same_family_with_all_symbols_is_native(mpich_image: Path, tmp_path: Path) -> None:
    facts, host = _facts(mpich_image), _host(tmp_path)
    verdict = _judge(facts, host)
    assert verdict.kind is VerdictKind.NATIVE
    assert [(r.code, r.text, r.evidence) for r in verdict.reasons] == [
        (
            "symbols",
            "MPICH 9.8.7 has all 2 MPI symbols that the program and its libraries need",
            ("/bin/app",),
        )
    ]
    assert verdict.image_library == "/lib/x86_64-linux-gnu/libmpi.so.12"
    assert verdict.host_library == f"{tmp_path}/host/lib/libmpi.so.12"
    assert facts.source is MpiSource.TREE
    assert facts.machine == "x86_64"
    assert facts.interpreter_exists
    assert facts.glibc >= (2, 30)
    assert facts.missing == ()


def test_a_missing_symbol_is_named_with_who_needs_it(mpich_image: Path, tmp_path: Path) -> None:
    extra = "int MPI_Future(void) { return 0; } int MPI_Perhaps(void) { return 0; }"
    library = make_library(library_dir(mpich_image) / "libmpi.so.12", MPICH_SOURCE + extra)
    source = "int MPI_Future(void); int helper(void) { return MPI_Future(); }"
    weak = "extern int MPI_Perhaps(void) __attribute__((weak));\n"
    weak += "int maybe(void) { return MPI_Perhaps && MPI_Perhaps(); }"
    helper = make_library(library_dir(mpich_image) / "libhelper.so", source + weak, str(library))
    source = "int helper(void); int main(void) { return helper(); }"
    compile_c(mpich_image / "usr/bin/app", source, str(helper), "-Wl,--allow-shlib-undefined")
    verdict = _judge(_facts(mpich_image), _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    reason = verdict.reasons[0]
    assert (reason.code, reason.evidence) == ("symbol-missing", ("MPI_Future",))
    assert reason.text == (
        "/lib/x86_64-linux-gnu/libhelper.so needs MPI_Future, "
        f"which MPICH 9.8.7 ({tmp_path}/host/lib/libmpi.so.12) does not have"
    )
    assert reason.hint == f"use a newer MPICH on the host; {OWN}"


def test_a_tool_between_program_and_mpi_satisfies_the_program(mpich_image: Path, tmp_path: Path) -> None:
    extra = "int MPI_Tooled(void) { return 0; } int PMPI_Tooled(void) { return 0; }"
    library = make_library(library_dir(mpich_image) / "libmpi.so.12", MPICH_SOURCE + extra)
    tool = make_library(
        library_dir(mpich_image) / "libmpitool.so", "int MPI_Tooled(void) { return 1; }", str(library)
    )
    source = "int MPI_Tooled(void); int main(void) { return MPI_Tooled(); }"
    compile_c(mpich_image / "usr/bin/app", source, "-Wl,--no-as-needed", str(tool), str(library))
    facts = _facts(mpich_image)
    assert [item.soname for item in facts.mpi] == ["libmpi.so.12"]
    assert _judge(facts, _host(tmp_path)).kind is VerdictKind.NATIVE


def test_another_family_is_translated_whatever_the_file_is_called(root: Path, tmp_path: Path) -> None:
    # Open MPI 1.10 had the soname that is MPICH's today.
    library = make_library(library_dir(root) / "libmpi.so.12", OPENMPI_SOURCE % 64)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    verdict = _judge(_facts(root), _host(tmp_path))
    assert verdict.kind is VerdictKind.TRANSLATED
    text = "the image uses Open MPI, this host has MPICH 9.8.7: handles and constants differ"
    assert (verdict.reasons[0].text, verdict.reasons[0].hint) == (
        text,
        f"install Open MPI on the host; {OWN}",
    )


def test_copied_objects_must_have_the_same_size(root: Path, tmp_path: Path) -> None:
    library = make_library(library_dir(root) / "libmpi.so.40", OPENMPI_SOURCE % 64)
    source = "extern long ompi_mpi_comm_world[]; int MPI_Finalize(void);\n"
    source += "int main(void) { return MPI_Finalize() + (int) ompi_mpi_comm_world[0]; }"
    compile_c(root / "usr/bin/app", source, "-no-pie", "-fno-pie", str(library))
    facts = _facts(root)
    assert facts.copies == {"ompi_mpi_comm_world": 512}
    same = _host(tmp_path, OPENMPI_SOURCE % 64, name="libmpi.so.40")
    assert _judge(facts, same).kind is VerdictKind.NATIVE
    verdict = _judge(facts, _host(tmp_path, OPENMPI_SOURCE % 48, name="libmpi.so.40"))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == (
        "/bin/app has reserved 512 bytes for ompi_mpi_comm_world; "
        f"{tmp_path}/host/lib/libmpi.so.40 has 384 bytes"
    )


def test_a_host_that_needs_a_newer_glibc_is_refused_by_version(mpich_image: Path, tmp_path: Path) -> None:
    make_old_libc(mpich_image)
    source = MPICH_SOURCE + "int pthread_create(void *, void *, void *, void *);\n"
    source += "int MPI_Thread(void) { return pthread_create(0, 0, 0, 0); }"
    host = _host(tmp_path, source)
    verdict = _judge(_facts(mpich_image), host)
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    reason = verdict.reasons[0]
    assert reason.code == "glibc"
    assert reason.text == (
        f"{tmp_path}/host/lib/libmpi.so.12 of this host needs GLIBC_2.34 of libc.so.6; "
        "the image's glibc ends at 2.31"
    )
    assert reason.evidence == ("libmpi.so.12: GLIBC_2.34 (libc.so.6)",)
    assert reason.hint == f"use an image with a newer distribution; {OWN}"


def test_musl_images_are_refused(mpich_image: Path, tmp_path: Path) -> None:
    loader = "/lib/ld-musl-x86_64.so.1"
    library = library_dir(mpich_image) / "libmpi.so.12"
    compile_c(mpich_image / "usr/bin/app", PROGRAM_SOURCE, str(library), f"-Wl,--dynamic-linker={loader}")
    facts = _facts(mpich_image)
    assert not facts.interpreter_exists
    verdict = _judge(facts, _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == f"the image runs on musl ({loader}), and this host's MPI needs glibc"


@pytest.mark.parametrize(("machine", "wide", "name"), [(183, True, "aarch64"), (3, False, "i386")])
def test_other_architectures_are_named(
    mpich_image: Path, tmp_path: Path, machine: int, wide: bool, name: str
) -> None:
    program = mpich_image / "usr/bin/app"
    content = bytearray(program.read_bytes())
    content[4] = 2 if wide else 1
    content[18] = machine
    program.write_bytes(content)
    facts = _facts(mpich_image)
    assert facts.machine == name
    verdict = _judge(facts, _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == f"/bin/app is built for {name}; this host is x86_64"


def test_a_statically_linked_mpi_cannot_be_replaced(root: Path, tmp_path: Path) -> None:
    compile_c(root / "usr/bin/app", MPICH_SOURCE + PROGRAM_SOURCE, "-static")
    facts = _facts(root)
    assert facts.kind is ProgramKind.STATIC
    verdict = _judge(facts, _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == "/bin/app has its MPI linked in statically; it cannot be replaced"


def test_static_programs_without_mpi_just_run(root: Path, tmp_path: Path) -> None:
    compile_c(root / "usr/bin/app", "int main(void) { return 0; }", "-static")
    verdict = _judge(_facts(root), _host(tmp_path))
    assert (verdict.kind, verdict.reasons[0].text) == (VerdictKind.NO_MPI, "/bin/app has no MPI library")


def test_images_and_programs_without_mpi_just_run(root: Path) -> None:
    compile_c(root / "usr/bin/app", "int main(void) { return 0; }")
    assert _judge(_facts(root, None), None).reasons[0].text == "the image has no MPI library"
    assert _judge(_facts(root), None).reasons[0].text == "/bin/app has no MPI library"


def test_a_program_that_cannot_reach_the_images_mpi_just_runs(mpich_image: Path) -> None:
    compile_c(mpich_image / "usr/bin/plain", "int main(void) { return 0; }")
    verdict = _judge(_facts(mpich_image, "/bin/plain"), None)
    assert verdict.kind is VerdictKind.NO_MPI
    assert verdict.reasons[0].text == (
        "/bin/plain needs no MPI library, and can neither open nor start anything that does"
    )


def test_interpreters_and_scripts_get_the_mpi_that_the_image_has(mpich_image: Path, tmp_path: Path) -> None:
    compile_c(
        mpich_image / "usr/bin/opener", "void *dlopen(char *, int); int main(void) { return !dlopen(0, 1); }"
    )
    (mpich_image / "usr/bin/script").write_text("#!/bin/opener -x\nhello\n")
    host = _host(tmp_path)
    for program in ("/bin/opener", "/bin/script", None):
        facts = _facts(mpich_image, program)
        assert (facts.source, facts.family) == (MpiSource.SEARCH, "mpich")
        verdict = _judge(facts, host)
        assert verdict.kind is VerdictKind.NATIVE
        assert verdict.reasons[0].code == "unchecked"
        assert verdict.reasons[0].text == (
            f"{program or 'the image'} does not name its MPI; "
            "/lib/x86_64-linux-gnu/libmpi.so.12 was found in the image and is replaced"
        )
    script = _facts(mpich_image, "/bin/script")
    assert (script.kind, script.interpreter, script.interpreter_exists) == (
        ProgramKind.SCRIPT,
        "/bin/opener",
        True,
    )
    (mpich_image / "usr/bin/opener").unlink()
    assert not _facts(mpich_image, "/bin/script").interpreter_exists


def test_what_could_not_be_checked_is_said(mpich_image: Path, tmp_path: Path) -> None:
    extra = "int MPI_Future(void) { return 0; }"
    make_library(library_dir(mpich_image) / "libmpi.so.12", MPICH_SOURCE + extra)
    compile_c(library_dir(mpich_image) / "libmpifort.so.12", "", "-shared")
    verdict = _judge(_facts(mpich_image, None), _host(tmp_path))
    assert verdict.kind is VerdictKind.NATIVE
    assert verdict.reasons[0].evidence == ("MPI_Future",)
    assert verdict.reasons[0].text.endswith(
        "What in the image calls MPI_Future would fail: MPICH 9.8.7 does not have it"
    )


def test_of_several_mpis_the_preferred_family_is_taken(mpich_image: Path, tmp_path: Path) -> None:
    make_library(library_dir(mpich_image) / "libmpi.so.40", OPENMPI_SOURCE % 64)
    view = RootView(str(mpich_image))
    for family, other in (("mpich", "openmpi"), ("openmpi", "mpich")):
        facts = probe_image(view, program=None, environment={}, prefer=(family,))
        assert (facts.family, facts.other_families) == (family, (other,))
    facts = probe_image(view, program=None, environment={}, prefer=("mpich",))
    reason = _judge(facts, _host(tmp_path)).reasons[-1]
    assert (reason.code, reason.text) == ("other-mpi", "the image also holds Open MPI, which stays its own")
    # A program that names its MPI has no choice.
    named = probe_image(view, program="/bin/app", environment={}, prefer=("openmpi",))
    assert named.family == "mpich"


def test_an_mpi_by_ld_library_path_is_found(root: Path, tmp_path: Path) -> None:
    make_library(root / "opt/deep/mpi/libmpi.so.12", MPICH_SOURCE)
    assert _facts(root, None).mpi == ()
    assert [item.path for item in _facts(root, None, LD_LIBRARY_PATH="/opt/deep/mpi").mpi] == [
        "/opt/deep/mpi/libmpi.so.12"
    ]


def test_an_mpi_that_the_image_lacks_is_named(mpich_image: Path, tmp_path: Path) -> None:
    (library_dir(mpich_image) / "libmpi.so.12").unlink()
    verdict = _judge(_facts(mpich_image), _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == "/bin/app needs libmpi.so.12, which is not in the image"


def test_an_interface_that_the_host_lacks_is_named(mpich_image: Path, tmp_path: Path) -> None:
    library = make_library(
        library_dir(mpich_image) / "libmpi.so.12", MPICH_SOURCE + "int MPII_Inner(void) { return 0; }"
    )
    fortran = make_library(
        library_dir(mpich_image) / "libmpifort.so.12",
        "int MPII_Inner(void); void mpi_init_(int *e) { *e = MPII_Inner(); }",
        str(library),
    )
    source = "void mpi_init_(int *); int main(void) { int e; mpi_init_(&e); return e; }"
    compile_c(mpich_image / "usr/bin/app", source, str(fortran), "-Wl,--allow-shlib-undefined")
    verdict = _judge(_facts(mpich_image), _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == (
        "/bin/app uses the Fortran interface (mpif.h) in /lib/x86_64-linux-gnu/libmpifort.so.12, "
        "which MPICH 9.8.7 has not; the image's own would not find MPII_Inner as it knows it"
    )


def test_an_mpi_of_no_known_family_is_refused(root: Path, tmp_path: Path) -> None:
    source = "int PMPI_Init(void) { return 0; } int MPI_Init(void) { return 0; }"
    source += "int MPI_Finalize(void) { return 0; }"
    library = make_library(library_dir(root) / "libmpi.so.1", source)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    verdict = _judge(_facts(root), _host(tmp_path))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == (
        "/lib/x86_64-linux-gnu/libmpi.so.1 is an MPI library of no known family: "
        "its handles cannot be compared"
    )


def test_a_host_without_mpi(mpich_image: Path) -> None:
    verdict = judge(_facts(mpich_image), None)
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == "the image uses MPICH, and no MPI was found on this host"


def test_a_program_that_is_not_in_the_image(root: Path) -> None:
    with pytest.raises(AbiError) as caught:
        _facts(root, "/bin/none")
    assert str(caught.value) == f"/bin/none: no such file in {root}"
    assert caught.value.hint == "give the program's path in the image"


def test_a_prefix_without_mpi_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AbiError, match=f"^{tmp_path}: no MPI library there$"):
        probe_host(prefixes=(str(tmp_path),))


def test_the_hosts_own_mpis_are_found_with_their_versions_and_languages() -> None:
    hosts = probe_host()
    found = {host.family: host for host in hosts}
    assert found["mpich"].c_library.real.startswith(str(HOST_LIBS / "libmpich.so.12"))
    assert found["openmpi"].c_library.real.startswith(str(HOST_LIBS / "libmpi.so.40"))
    assert found["mpich"].version.startswith("4.")
    assert found["openmpi"].title.startswith("Open MPI 4.")
    assert {item.role for item in found["openmpi"].libraries} >= {
        "c",
        "fortran",
        "fortran-f08",
        "cxx",
        "rte",
        "pal",
    }
    assert found["openmpi"].objects["ompi_mpi_comm_world"] == 512
    assert [host.family for host in probe_host(family="mpich")] == ["mpich"]


def test_the_sites_order_decides_between_members_of_a_family(tmp_path: Path) -> None:
    host = _host(tmp_path)
    hosts = (*probe_host(), host)
    own = choose_host(hosts, "mpich")
    assert own is not None
    assert own.prefix == str(HOST_LIBS)
    assert choose_host(hosts, "mpich", order=(str(tmp_path / "host"),)) == host
    assert choose_host(hosts, "none") is None
