"""Whether the host's glibc comes along, and what it covers: all of it, or nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from abi_toolbox import (
    HOST_LIBS,
    MPICH_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_host,
    make_image,
    make_library,
    make_old_libc,
)

from mpi_abi import (
    Action,
    Closure,
    HostMpi,
    ImageMpiFacts,
    ImageProbe,
    Recorder,
    Swap,
    VerdictKind,
    asked_of_image,
    find_closure,
    judge,
    make_swap,
    needs_host_libc,
    probe_host,
    probe_image,
    with_libc,
)
from mpi_abi.libc import probe_host_libc
from mpi_abi.rootfs import RootView

PRIVATE = "/run/bareboat/mpi"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
NEEDS_2_34 = (
    MPICH_SOURCE
    + "int pthread_create(void *, void *, void *, void *);\n"
    + "int MPIR_Thread(void) { return pthread_create(0, 0, 0, 0); }"
)
OWN = "BAREBOAT_MPI=image runs the program with the image's own MPI"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH, a program that uses it, and this machine's C library."""
    return make_image(tmp_path / "image")


@pytest.fixture
def old(root: Path) -> Path:
    """The same with a glibc that ends at 2.31."""
    make_old_libc(root)
    return root


@pytest.fixture
def host(tmp_path: Path) -> HostMpi:
    """An MPICH that needs glibc 2.34."""
    return probe_host(prefixes=(make_host(tmp_path / "host", NEEDS_2_34),))[0]


def _facts(root: Path, program: str | None = "/bin/app") -> ImageMpiFacts:
    return probe_image(RootView(str(root)), program=program, environment={})


def _closure(facts: ImageMpiFacts, host: HostMpi) -> Closure:
    return with_libc(facts, host, find_closure(host))


def _swap(facts: ImageMpiFacts, host: HostMpi) -> Swap:
    return make_swap(facts, host, _closure(facts, host), private_dir=PRIVATE)


def _covers(swap: Swap) -> dict[str, str]:
    return {cover.target: cover.source for cover in swap.covers}


def test_a_glibc_that_is_new_enough_stays_the_images(root: Path, host: HostMpi) -> None:
    facts = _facts(root)
    closure = _closure(facts, host)
    assert closure.libc is None
    assert "host-glibc" not in [reason.code for reason in judge(facts, host, closure).reasons]
    assert set(_covers(_swap(facts, host))) == {f"{LIBRARIES}/libmpi.so.12", f"{PRIVATE}/lib/libmpi.so.12"}


def test_a_glibc_that_is_too_old_is_replaced_as_a_whole(old: Path, host: HostMpi) -> None:
    facts = _facts(old)
    verdict = judge(facts, host, _closure(facts, host))
    assert verdict.kind is VerdictKind.NATIVE
    reason = next(reason for reason in verdict.reasons if reason.code == "host-glibc")
    assert reason.text == (
        f"{host.c_library.real} of this host needs GLIBC_2.34 of libc.so.6; the image's glibc ends at 2.31: "
        "the host's glibc 2.36 takes its place as a whole, with its loader, for all programs in the container"
    )
    assert reason.evidence == ("libmpi.so.12: GLIBC_2.34 (libc.so.6)",)
    swap = _swap(facts, host)
    covers = _covers(swap)
    # What the image has is covered where it lies; what only the host has lies where LD_LIBRARY_PATH points.
    for name in ("libc.so.6", "ld-linux-x86-64.so.2"):
        assert covers[f"{LIBRARIES}/{name}"] == f"{HOST_LIBS}/{name}"
    for name in (
        "libm.so.6",
        "libpthread.so.0",
        "libdl.so.2",
        "librt.so.1",
        "libresolv.so.2",
        "libutil.so.1",
    ):
        assert covers[f"{PRIVATE}/lib/{name}"] == f"{HOST_LIBS}/{name}"
    for name in ("libanl.so.1", "libmvec.so.1", "libthread_db.so.1", "libnss_files.so.2", "libnss_dns.so.2"):
        assert covers[f"{PRIVATE}/lib/{name}"] == f"{HOST_LIBS}/{name}"
    assert covers[f"{LIBRARIES}/gconv"] == f"{HOST_LIBS}/gconv"
    assert swap.summary.endswith(", glibc 2.31 -> 2.36")


def test_every_copy_that_a_loader_could_take_is_covered(old: Path, host: HostMpi) -> None:
    # Another interpreter with the same C library beside it, as the program and others in the image name it.
    program = old / "usr/bin/app"
    own = make_library(old / "opt/app/lib/libm.so.6", "int image(void) { return 0; }")
    (old / "opt/app/ld.so").write_bytes((library_dir(old) / "ld-linux-x86-64.so.2").read_bytes())
    source = "int image(void);" + PROGRAM_SOURCE.replace("return", "return image() +")
    options = ("-Wl,--dynamic-linker=/opt/app/ld.so", "-Wl,--disable-new-dtags,-rpath,/opt/app/lib")
    compile_c(program, source, str(library_dir(old) / "libmpi.so.12"), str(own), *options)
    covers = _covers(_swap(_facts(old), host))
    assert covers["/opt/app/ld.so"] == f"{HOST_LIBS}/ld-linux-x86-64.so.2"
    assert covers[f"{LIBRARIES}/ld-linux-x86-64.so.2"] == f"{HOST_LIBS}/ld-linux-x86-64.so.2"
    assert covers["/opt/app/lib/libm.so.6"] == f"{HOST_LIBS}/libm.so.6"


def test_programs_that_use_private_symbols_are_covered_where_the_image_has_them(
    old: Path, host: HostMpi
) -> None:
    (old / "usr/bin/getent").write_text("")
    covers = _covers(_swap(_facts(old), host))
    assert covers["/usr/bin/getent"] == "/usr/bin/getent"
    assert "/usr/bin/iconv" not in covers


def test_an_image_without_a_program_gets_it_as_well(old: Path, host: HostMpi) -> None:
    facts = _facts(old, program=None)
    assert judge(facts, host, _closure(facts, host)).kind is VerdictKind.NATIVE
    assert f"{LIBRARIES}/libc.so.6" in _covers(_swap(facts, host))


def test_a_glibc_with_versions_that_the_hosts_lacks_is_refused(root: Path, host: HostMpi) -> None:
    make_old_libc(root, versions=("GLIBC_2.31", "GLIBC_2.99"))
    facts = _facts(root)
    closure = _closure(facts, host)
    verdict = judge(facts, host, closure)
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    (reason,) = verdict.reasons
    assert (reason.code, reason.hint) == ("glibc", f"use an image with a newer distribution; {OWN}")
    assert reason.text == (
        f"{host.c_library.real} of this host needs GLIBC_2.34 of libc.so.6; the image's glibc ends at 2.99, "
        "and this host's, 2.36, cannot take its place: it has no GLIBC_2.99 of libc.so.6"
    )
    # A forced swap brings nothing of it, rather than parts.
    forced = _covers(make_swap(facts, host, closure, private_dir=PRIVATE))
    assert set(forced) == {f"{LIBRARIES}/libmpi.so.12", f"{PRIVATE}/lib/libmpi.so.12"}


def test_a_part_that_the_program_uses_and_the_host_lacks_is_named(old: Path, host: HostMpi) -> None:
    part = make_library(library_dir(old) / "libnsl.so.1", "int yp(void) { return 0; }")
    source = "int yp(void);" + PROGRAM_SOURCE.replace("return", "return yp() +")
    compile_c(old / "usr/bin/app", source, str(library_dir(old) / "libmpi.so.12"), str(part))
    facts = _facts(old)
    closure = _closure(facts, host)
    assert closure.libc is not None
    mine = {name: files for name, files in closure.libc.defined.items() if name != "libnsl.so.1"}
    verdict = judge(facts, host, replace(closure, libc=replace(closure.libc, defined=mine)))
    assert verdict.reasons[0].text.endswith(", cannot take its place: it has no libnsl.so.1")


def test_charsets_that_the_host_lacks_are_told(old: Path, host: HostMpi) -> None:
    facts = _facts(old)
    closure = _closure(facts, host)
    image = replace(facts, libc=replace(facts.libc, charsets=frozenset(["ISO8859-1.so", "MARTIAN.so"])))
    reason = next(r for r in judge(image, host, closure).reasons if r.code == "host-glibc")
    assert reason.text.endswith(". This host's iconv has no MARTIAN")


def test_directories_that_only_the_images_loader_knows_are_named(old: Path, host: HostMpi) -> None:
    facts = _facts(old)
    closure = _closure(facts, host)
    assert closure.libc is not None
    # A loader of another distribution, in an image without a table of libraries, and with one.
    elsewhere = replace(closure, libc=replace(closure.libc, directories=("/lib64", "/usr/lib64")))
    swap = make_swap(facts, host, elsewhere, private_dir=PRIVATE)
    added = [e.value for e in swap.environment if e.action is Action.APPEND and e.name == "LD_LIBRARY_PATH"]
    assert added == [folder for folder in facts.libc.directories if folder not in ("/lib64", "/usr/lib64")]
    assert f"/lib/{HOST_LIBS.name}" in added
    cached = replace(facts, libc=replace(facts.libc, cached=True))
    swap = make_swap(cached, host, elsewhere, private_dir=PRIVATE)
    assert all(change.action is not Action.APPEND for change in swap.environment)


def test_a_launch_reads_the_whole_libc_only_where_it_is_needed(old: Path, host: HostMpi) -> None:
    probe = ImageProbe(RootView(str(old)), {})
    facts = probe.run("/bin/app")
    closure = find_closure(host)
    facts = probe.complete(facts, asked_of_image(facts, host, closure))
    assert not facts.libc.whole
    assert set(facts.libc.files) == {"libc.so.6"}
    assert needs_host_libc(facts, host, closure)
    assert probe.complete(facts, (), whole_libc=True).libc == _facts(old).libc


def test_this_machines_glibc_is_whole_and_guarded() -> None:
    recorder = Recorder()
    libc = probe_host_libc(recorder)
    assert libc.whole
    assert libc.version >= (2, 36)
    assert set(libc.programs) == {"iconv", "getent", "pldd"}
    assert libc.gconv == f"{HOST_LIBS}/gconv"
    assert "ISO8859-1.so" in libc.charsets
    guarded = {os.path.realpath(guard.path) for guard in recorder.guards}
    for name, (path, *_) in libc.files.items():
        assert path in guarded, name
    assert recorder.obstacles == ()
