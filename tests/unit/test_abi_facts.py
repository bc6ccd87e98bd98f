"""What decides beside plain symbols: value sets, two MPIs, MPIs linked in, Fortran compilers, markers."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from abi_toolbox import (
    MPICH_SOURCE,
    OPENMPI_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_library,
    make_root,
)

from mpi_abi import (
    Code,
    HostMpi,
    ImageMpiFacts,
    Verdict,
    VerdictKind,
    choose_host,
    judge,
    probe_host,
    probe_image,
)
from mpi_abi.image import MpiSource
from mpi_abi.product import value_set
from mpi_abi.rootfs import RootView
from slurm.testbed.wheels import get_wheel

OWN = "BAREBOAT_MPI=image runs the program with the image's own MPI"
STANDARD_SOURCE = """
int MPI_Abi_get_version(int *a, int *b) { return 0; }
int MPI_Init(int *c, char ***v) { return 0; }
int MPI_Finalize(void) { return 0; }
const char built[] = %s;
"""
FINAL = r'"Mon Nov 16 12:00:00 UTC 2026\0005.0.2"'
DRAFT = r'"Mon Nov 16 12:00:00 UTC 2025\0004.3.2"'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "image")


def host_of(prefix: Path) -> HostMpi:
    return probe_host(prefixes=(str(prefix),))[0]


def facts_of(root: Path, program: str | None = "/bin/app") -> ImageMpiFacts:
    return probe_image(RootView(str(root)), program=program, environment={})


def only(verdict: Verdict, code: Code) -> str:
    assert [reason.code for reason in verdict.reasons] == [code]
    return verdict.reasons[0].text


# -- the standard ABI


def standard_image(root: Path, built: str) -> ImageMpiFacts:
    library = make_library(library_dir(root) / "libmpi_abi.so.1", STANDARD_SOURCE % built)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    return facts_of(root)


def standard_host(tmp_path: Path, built: str) -> HostMpi:
    make_library(tmp_path / "host/lib/libmpi_abi.so.1", STANDARD_SOURCE % built)
    return host_of(tmp_path / "host")


@pytest.mark.parametrize("built", [FINAL, DRAFT])
def test_one_value_set_on_both_sides_is_native(root: Path, tmp_path: Path, built: str) -> None:
    verdict = judge(standard_image(root, built), standard_host(tmp_path, built))
    assert verdict.kind is VerdictKind.NATIVE


def test_two_value_sets_under_one_soname_are_translated_and_both_named(root: Path, tmp_path: Path) -> None:
    verdict = judge(standard_image(root, FINAL), standard_host(tmp_path, DRAFT))
    assert verdict.kind is VerdictKind.TRANSLATED
    assert only(verdict, Code.STANDARD_VALUES) == (
        "libmpi_abi.so.1 means two things: the image's standard MPI ABI (MPICH 5.0.2) has the values of "
        "standard-final, this host's standard MPI ABI (MPICH 4.3.2) those of standard-draft"
    )
    assert verdict.reasons[0].hint == f"install a library with standard-final on the host; {OWN}"


@pytest.mark.parametrize("unknown", ['"?"', r'"Mon Nov 16 12:00:00 UTC 2025\0005.0.0b1"'])
def test_an_unknown_value_set_is_refused_with_a_way_out(root: Path, tmp_path: Path, unknown: str) -> None:
    for image, host in ((FINAL, unknown), (unknown, FINAL), (unknown, unknown)):
        verdict = judge(standard_image(root, image), standard_host(tmp_path, host))
        assert verdict.kind is VerdictKind.IMPOSSIBLE
        text = only(verdict, Code.STANDARD_UNKNOWN)
        assert text.startswith(
            "two sets of constants exist under libmpi_abi.so.1, and which of them standard MPI"
        )
        assert verdict.reasons[0].hint == f"use MPICH 5.0.0 or newer in image and host; {OWN}"


def test_the_standard_abi_and_another_family_are_translated(root: Path, tmp_path: Path) -> None:
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    verdict = judge(standard_image(root, FINAL), host_of(tmp_path / "host"))
    assert verdict.kind is VerdictKind.TRANSLATED
    assert only(verdict, Code.OTHER_FAMILY) == (
        "the image uses standard MPI ABI, this host has MPICH 9.8.7: handles and constants differ"
    )


def test_versions_have_their_value_sets() -> None:
    assert value_set("standard", "MPICH", "5.1") == "standard-final"
    assert value_set("standard", "MPICH", "4.3.0") == "standard-draft"
    assert value_set("standard", "Intel MPI", "2021.19.0") == "standard-draft"
    for product, version in (("Intel MPI", "2021.20.0"), ("MPICH", "4.2.1"), ("", "5.0.2"), ("MPICH", "")):
        assert value_set("standard", product, version) == ""
    assert value_set("mpich", "Intel MPI", "2021.20.0") == "mpich"


def test_real_libraries_are_told_by_their_files() -> None:
    prefixes = tuple(str(get_wheel(name)) for name in ("impi-rt", "mpich", "openmpi"))
    hosts = probe_host(prefixes=prefixes)[:5]
    assert [(host.title, host.c_library.soname, host.values) for host in hosts] == [
        ("Intel MPI 2021.19.0", "libmpi.so.12", "mpich"),
        ("standard MPI ABI (Intel MPI 2021.19.0)", "libmpi_abi.so.1", "standard-draft"),
        ("MPICH 5.0.2", "libmpi.so.12", "mpich"),
        ("standard MPI ABI (MPICH 5.0.2)", "libmpi_abi.so.1", "standard-final"),
        ("Open MPI 5.0.11", "libmpi.so.40", "openmpi"),
    ]
    # Of a wheel's copies, the one counts that loaders find by the soname.
    intel = hosts[0]
    assert intel.c_library.real == f"{prefixes[0]}/lib/libmpi.so.12"
    fortran = intel.library("fortran")
    assert fortran is not None
    assert fortran.soname == "libmpifort.so.12"
    assert intel.library("fortran-ilp64") is not None
    # Whoever was built for the final values gets them, in whatever order the site prefers.
    chosen = choose_host(hosts, "standard", order=prefixes, values="standard-final")
    assert chosen is not None
    assert chosen.product == "MPICH"
    first = choose_host(hosts, "mpich", order=prefixes, values="mpich")
    assert first == intel


def test_real_libraries_of_the_standard_abi_are_judged(root: Path) -> None:
    mpich, intel = get_wheel("mpich"), get_wheel("impi-rt")
    library = mpich / "lib/libmpi_abi.so.1"
    shutil.copy(library, library_dir(root) / library.name)
    options = ("-Wl,--allow-shlib-undefined", f"-Wl,-rpath-link,{mpich}/lib/mpich")
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library), *options)
    facts = facts_of(root)
    hosts = probe_host(prefixes=(str(mpich), str(intel)))
    final, draft = (
        next(host for host in hosts if host.values == name) for name in ("standard-final", "standard-draft")
    )
    assert judge(facts, final).kind is VerdictKind.NATIVE
    assert judge(facts, draft).kind is VerdictKind.TRANSLATED
    assert only(judge(facts, draft), Code.STANDARD_VALUES).endswith(
        "this host's standard MPI ABI (Intel MPI 2021.19.0) those of standard-draft"
    )


# -- two MPIs in one program


def test_a_program_with_two_families_is_refused_with_both_named(root: Path, tmp_path: Path) -> None:
    mpich = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE)
    openmpi = make_library(library_dir(root) / "libmpi.so.40", OPENMPI_SOURCE % 64)
    source = "int MPI_Finalize(void); int help(void) { return MPI_Finalize(); }"
    helper = make_library(library_dir(root) / "libhelp.so.1", source, str(openmpi))
    program = PROGRAM_SOURCE + "int help(void); int also(void) { return help(); }"
    compile_c(root / "usr/bin/app", program, str(mpich), str(helper), "-Wl,--allow-shlib-undefined")
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    verdict = judge(facts_of(root), host_of(tmp_path / "host"))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert only(verdict, Code.TWO_MPIS) == (
        "/bin/app loads MPICH 9.8.7 (/lib/x86_64-linux-gnu/libmpi.so.12) and "
        "Open MPI 9.8.7 (/lib/x86_64-linux-gnu/libmpi.so.40): "
        "all of it would call the first, also what was built for the other"
    )
    assert verdict.reasons[0].hint == f"link the program and its libraries against one MPI; {OWN}"


# -- MPIs that are linked in


@pytest.mark.parametrize("options", [(), ("-rdynamic", "-s")], ids=["symbol table", "exports"])
def test_an_mpi_inside_a_dynamic_program_is_found(
    root: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    compile_c(root / "usr/bin/app", MPICH_SOURCE + PROGRAM_SOURCE, *options)
    facts = facts_of(root)
    assert (facts.source, facts.holder) == (MpiSource.STATIC, "/bin/app")
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    verdict = judge(facts, host_of(tmp_path / "host"))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert only(verdict, Code.STATIC_MPI) == (
        "/bin/app has its MPI linked in statically; it cannot be replaced"
    )


def test_an_mpi_inside_a_library_is_found(root: Path) -> None:
    library = make_library(library_dir(root) / "libsolver.so.1", OPENMPI_SOURCE % 64)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    facts = facts_of(root)
    assert (facts.source, facts.holder, facts.family) == (
        MpiSource.STATIC,
        "/lib/x86_64-linux-gnu/libsolver.so.1",
        "openmpi",
    )


def test_a_stub_for_one_process_is_no_mpi(root: Path) -> None:
    stub = "int MPI_Init(int *c, char ***v) { return 0; } int MPI_Finalize(void) { return 0; }"
    compile_c(root / "usr/bin/app", stub + PROGRAM_SOURCE)
    assert judge(facts_of(root), None).kind is VerdictKind.NO_MPI


def test_section_headers_that_make_no_sense_are_no_reason_to_refuse(root: Path) -> None:
    program = compile_c(root / "usr/bin/app", "int main(void) { return 0; }")
    content = bytearray(program.read_bytes())
    content[0x28:0x30] = (1 << 40).to_bytes(8, "little")  # e_shoff, which no loader reads
    program.write_bytes(content)
    assert judge(facts_of(root), None).kind is VerdictKind.NO_MPI


# -- Fortran


def fortran_side(
    folder: Path, program: Path | None, *, runtime: str, call: str = "mpi_init_", c_name: str = "libmpi.so.12"
) -> None:
    """An MPICH with a Fortran interface, compiled for a run-time library; and a program that uses it."""
    library = make_library(folder / c_name, MPICH_SOURCE)
    runtime_library = make_library(folder / runtime, "void rt_begin(void) {}")
    source = "int MPI_Finalize(void); void rt_begin(void); void mpi_init_(int *e) { rt_begin(); }"
    source += f"void {call}x(int *e) {{ *e = MPI_Finalize(); }}"
    interface = make_library(folder / "libmpifort.so.12", source, str(library), str(runtime_library))
    if program is not None:
        text = f"void rt_begin(void); void {call}x(int *);"
        text += f"int main(void) {{ int e; rt_begin(); {call}x(&e); return e; }}"
        compile_c(program, text, str(interface), str(runtime_library), "-Wl,--allow-shlib-undefined")


def fortran_verdict(root: Path, tmp_path: Path, mine: str, theirs: str, call: str = "mpi_init_") -> Verdict:
    fortran_side(library_dir(root), root / "usr/bin/app", runtime=mine, call=call)
    fortran_side(tmp_path / "host/lib", None, runtime=theirs, call=call)
    return judge(facts_of(root), host_of(tmp_path / "host"))


def test_one_compiler_on_both_sides_is_native(root: Path, tmp_path: Path) -> None:
    verdict = fortran_verdict(root, tmp_path, "libgfortran.so.5", "libgfortran.so.5")
    assert (verdict.kind, only(verdict, Code.SYMBOLS)[:12]) == (VerdictKind.NATIVE, "MPICH 9.8.7 ")


def test_another_major_version_of_the_compiler_is_refused(root: Path, tmp_path: Path) -> None:
    verdict = fortran_verdict(root, tmp_path, "libgfortran.so.4", "libgfortran.so.5")
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert only(verdict, Code.FORTRAN_RUNTIME) == (
        "/bin/app uses the Fortran interface and was compiled for libgfortran.so.4, "
        "that of MPICH 9.8.7 for libgfortran.so.5: they hand over arguments differently"
    )
    assert verdict.reasons[0].hint == f"build image and host MPI with the same Fortran compiler; {OWN}"


def test_another_makers_compiler_is_noted_and_refused_for_mpi_f08(root: Path, tmp_path: Path) -> None:
    verdict = fortran_verdict(root, tmp_path, "libgfortran.so.5", "libifcore.so.5")
    assert verdict.kind is VerdictKind.NATIVE
    assert verdict.reasons[1].code is Code.FORTRAN_LOGICAL
    assert verdict.reasons[1].text == (
        "the program was compiled for libgfortran.so.5 and the host's Fortran interface for libifcore.so.5: "
        "they write .true. in different numbers"
    )
    verdict = fortran_verdict(root, tmp_path, "libgfortran.so.5", "libifcore.so.5", call="mpi_init_f08_")
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert only(verdict, Code.FORTRAN_RUNTIME).startswith(
        "/bin/app uses mpi_f08 and was compiled for libgfortran"
    )


def test_another_mangling_is_a_missing_symbol(root: Path, tmp_path: Path) -> None:
    fortran_side(library_dir(root), root / "usr/bin/app", runtime="libgfortran.so.5", call="MPI_SEND")
    fortran_side(tmp_path / "host/lib", None, runtime="libgfortran.so.5", call="mpi_send_")
    verdict = judge(facts_of(root), host_of(tmp_path / "host"))
    assert only(verdict, Code.SYMBOL_MISSING).startswith("/bin/app needs MPI_SENDx, which MPICH 9.8.7 (")


def fortran_program(output: Path, wrapper: str) -> None:
    """A real Fortran program, which holds the markers of its MPI in common blocks of its own."""
    source = "program h\ninclude 'mpif.h'\ninteger e\ndouble precision a(2)\ncall mpi_init(e)\n"
    source += "call mpi_allreduce(MPI_IN_PLACE, a, 2, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, e)\n"
    source += "call mpi_finalize(e)\nend\n"
    command = [wrapper, "-ffree-form", "-x", "f95", "-", "-o", str(output)]
    subprocess.run(command, input=source.encode(), check=True, capture_output=True)


@pytest.mark.parametrize(
    ("family", "wrapper", "marker"),
    [("mpich", "mpif90.mpich", "mpipriv1_"), ("openmpi", "mpif90.openmpi", "mpi_fortran_in_place_")],
)
def test_the_host_must_look_for_the_markers_of_fortran_programs(
    tmp_path: Path, family: str, wrapper: str, marker: str
) -> None:
    fortran_program(tmp_path / "app", wrapper)
    facts = probe_image(RootView("/"), program=str(tmp_path / "app"), environment={})
    assert marker in facts.markers
    host = choose_host(probe_host(), family)
    assert host is not None
    assert judge(facts, host).kind is VerdictKind.NATIVE

    def without(*names: str) -> Verdict:
        exports = {role: known - set(names) for role, known in host.exports.items()}
        return judge(facts, replace(host, exports=exports))

    verdict = without(marker)
    assert verdict.kind is VerdictKind.NATIVE
    assert [reason.code for reason in verdict.reasons] == [Code.SYMBOLS, Code.FORTRAN_MARKER]
    assert verdict.reasons[1].text == (
        f"of the program's Fortran constants, {host.title} does not know {marker}"
    )
    verdict = without(*facts.markers)
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    text = only(verdict, Code.FORTRAN_MARKERS)
    assert text.startswith(f"{tmp_path}/app marks MPI_BOTTOM and the like by {sorted(facts.markers)[0]}, ")
    assert text.endswith(f", which {host.title} does not look for")


# -- objects, and functions beyond the standard


def test_a_marker_may_have_another_size_and_must_be_there(root: Path, tmp_path: Path) -> None:
    marker = "char mpi_fortran_status_ignore_[%d] = { 1 };"
    library = make_library(library_dir(root) / "libmpi.so.40", OPENMPI_SOURCE % 64 + marker % 8)
    source = "extern char mpi_fortran_status_ignore_[]; int MPI_Finalize(void);"
    source += "int main(void) { return MPI_Finalize() + mpi_fortran_status_ignore_[0]; }"
    compile_c(root / "usr/bin/app", source, "-no-pie", "-fno-pie", str(library))
    facts = facts_of(root)
    assert facts.copies == {"mpi_fortran_status_ignore_": 8}
    make_library(tmp_path / "host/lib/libmpi.so.40", OPENMPI_SOURCE % 64 + marker % 24)
    assert judge(facts, host_of(tmp_path / "host")).kind is VerdictKind.NATIVE
    make_library(tmp_path / "bare/lib/libmpi.so.40", OPENMPI_SOURCE % 64)
    verdict = judge(facts, host_of(tmp_path / "bare"))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[-1].text.endswith("libmpi.so.40 has no such object")


def test_functions_beyond_the_standard_count_like_the_others(root: Path, tmp_path: Path) -> None:
    extra = "int MPIX_Query_cuda_support(void) { return 0; }"
    library = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE + extra)
    source = "int MPIX_Query_cuda_support(void); int main(void) { return MPIX_Query_cuda_support(); }"
    compile_c(root / "usr/bin/app", source, str(library))
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE)
    verdict = judge(facts_of(root), host_of(tmp_path / "host"))
    assert only(verdict, Code.SYMBOL_MISSING).startswith(
        "/bin/app needs MPIX_Query_cuda_support, which MPICH"
    )
