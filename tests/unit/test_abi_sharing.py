"""Libraries that program and host's MPI both use, and RPATHs that would find the image's for the latter."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import (
    MPICH_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_library,
    make_root,
)

from mpi_abi import (
    Closure,
    HostMpi,
    ImageMpiFacts,
    ImageProbe,
    VerdictKind,
    asked_of_image,
    find_closure,
    judge,
    make_swap,
    probe_host,
    used_too,
    with_exports,
)
from mpi_abi.judging import Judge
from mpi_abi.rootfs import RootView

PRIVATE = "/run/bareboat/mpi"
RPATH = "-Wl,--disable-new-dtags,-rpath,"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH that needs nothing."""
    top = make_root(tmp_path / "image")
    make_library(library_dir(top) / "libmpi.so.12", MPICH_SOURCE)
    return top


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "host/lib"


def _side(folder: Path, name: str, functions: str, *options: str) -> Path:
    """A library NAME.so.1 with these functions."""
    source = "".join(f"int {function}(void) {{ return 0; }}" for function in functions.split())
    return make_library(folder / f"{name}.so.1", source, *options)


def _host(prefix: Path, *libraries: Path) -> HostMpi:
    """A host MPICH that calls `common` and needs these libraries."""
    source = MPICH_SOURCE + "int common(void); int MPIR_Use(void) { return common(); }"
    options = ("-Wl,--no-as-needed", *map(str, libraries), "-Wl,-rpath,$ORIGIN")
    make_library(prefix / "libmpi.so.12", source, *options)
    return probe_host(prefixes=(str(prefix),))[0]


def _program(root: Path, calls: str, *options: str) -> None:
    """A program that calls MPI and one more function."""
    source = f"int {calls}(void);" + PROGRAM_SOURCE.replace("return", f"return {calls}() +")
    compile_c(root / "usr/bin/app", source, str(library_dir(root) / "libmpi.so.12"), *options)


def _launched(root: Path, host: HostMpi) -> tuple[ImageMpiFacts, Closure]:
    """Facts and closure as a launch has them, which reads less than `abi check`."""
    probe = ImageProbe(RootView(str(root)), {})
    facts, closure = probe.run("/bin/app"), find_closure(host)
    asked: frozenset[str] = frozenset()
    while more := asked_of_image(facts, host, closure) - asked:
        asked |= more
        facts = probe.complete(facts, asked)
    return facts, with_exports(closure, used_too(facts))


def _both_ways(root: Path, prefix: Path, host: HostMpi) -> tuple[dict[str, str], VerdictKind, list[str]]:
    """Covers (target -> source), verdict and reasons; a launch and `abi check` agree."""
    facts, closure = _launched(root, host)
    verdict = judge(facts, host, closure)
    swap = make_swap(facts, host, closure, private_dir=PRIVATE)
    covers = {cover.target: cover.source for cover in swap.covers}
    checked = Judge((str(prefix),)).judge(RootView(str(root)), "/bin/app")
    assert checked.verdict == verdict
    if checked.swap is not None:
        assert {cover.target: cover.source for cover in checked.swap.covers} == covers
    return covers, verdict.kind, [reason.text for reason in verdict.reasons]


@pytest.mark.parametrize("name", ["libpciaccess", "libfabric", "libucs"])
def test_a_copy_that_has_all_of_both_serves_both(root: Path, prefix: Path, name: str) -> None:
    mine = _side(library_dir(root), name, "common")
    theirs = _side(prefix, name, "common newer")
    (prefix / f"{name}.so.1").rename(prefix / f"{name}.so.1.9")
    (prefix / f"{name}.so.1").symlink_to(f"{name}.so.1.9")
    _program(root, "common", str(mine))
    covers, kind, _ = _both_ways(root, prefix, _host(prefix, theirs))
    assert kind is VerdictKind.NATIVE
    assert covers[f"{PRIVATE}/lib/{name}.so.1"] == f"{prefix}/{name}.so.1.9"


@pytest.mark.parametrize("name", ["libpciaccess", "libfabric", "libucs"])
def test_where_neither_copy_has_all_of_both_both_are_named(root: Path, prefix: Path, name: str) -> None:
    mine = _side(library_dir(root), name, "special")
    theirs = _side(prefix, name, "common")
    _program(root, "special", str(mine))
    _, kind, reasons = _both_ways(root, prefix, _host(prefix, theirs))
    assert kind is VerdictKind.IMPOSSIBLE
    said = f"the program needs special of /lib/x86_64-linux-gnu/{name}.so.1; "
    assert reasons == [f"{said}the host's MPI needs its own {prefix}/{name}.so.1, which does not have it"]


def test_versions_of_a_fabric_library_decide_as_well(root: Path, prefix: Path, tmp_path: Path) -> None:
    def versions(name: str, text: str) -> str:
        path = tmp_path / f"{name}.map"
        path.write_text(text)
        return f"-Wl,--version-script={path}"

    newer = versions("newer", "FABRIC_1.0 { global: common; }; FABRIC_1.8 { global: special; } FABRIC_1.0;")
    mine = _side(library_dir(root), "libfabric", "common special", newer)
    theirs = _side(prefix, "libfabric", "common", versions("older", "FABRIC_1.0 { global: common; };"))
    _program(root, "special", str(mine))
    _, kind, reasons = _both_ways(root, prefix, _host(prefix, theirs))
    assert kind is VerdictKind.IMPOSSIBLE
    assert reasons[0].startswith("the program needs FABRIC_1.8 of /lib/x86_64-linux-gnu/libfabric.so.1; ")


@pytest.mark.parametrize("name", ["libstdc++", "libgcc_s"])
@pytest.mark.parametrize(("image", "host"), [("30", "28"), ("28", "28")])
def test_a_compilers_library_is_never_older_than_the_images(
    root: Path, prefix: Path, name: str, image: str, host: str
) -> None:
    _side(library_dir(root), name, "common").rename(library_dir(root) / f"{name}.so.1.{image}")
    (library_dir(root) / f"{name}.so.1").symlink_to(f"{name}.so.1.{image}")
    theirs = _side(prefix, name, "common")
    theirs.rename(prefix / f"{name}.so.1.{host}")
    theirs.symlink_to(f"{name}.so.1.{host}")
    _program(root, "MPI_Finalize")
    covers, _, _ = _both_ways(root, prefix, _host(prefix, theirs))
    assert f"{PRIVATE}/lib/{name}.so.1" not in covers


def test_an_rpath_does_not_find_the_images_libraries_for_the_hosts_mpi(root: Path, prefix: Path) -> None:
    """The image's MPI needs none of them, so they are not in the program's tree."""
    folder = library_dir(root)
    for name in ("libucs", "libother"):
        _side(folder, name, "common")
    theirs = [_side(prefix, name, "common") for name in ("libucs", "libother")]
    _program(root, "MPI_Finalize", f"{RPATH}/usr/lib/x86_64-linux-gnu")
    covers, kind, _ = _both_ways(root, prefix, _host(prefix, *theirs))
    assert kind is VerdictKind.NATIVE
    for library in theirs:
        assert covers[f"/usr/lib/x86_64-linux-gnu/{library.name}"] == str(library)
        assert covers[f"{PRIVATE}/lib/{library.name}"] == str(library)


def test_only_rpaths_that_count_for_the_mpi_are_looked_at(root: Path, prefix: Path) -> None:
    """A RUNPATH is for a file's own needs, and one without MPI below it has no say."""
    _side(root / "opt/run", "libucs", "common")
    _side(root / "opt/aside", "libucs", "common")
    aside = make_library(root / "opt/libaside.so", "int aside(void) { return 0; }", f"{RPATH}/opt/aside")
    options = ("-Wl,--enable-new-dtags,-rpath,/opt/run:/opt", str(aside))
    _program(root, "aside", *options)
    theirs = _side(prefix, "libucs", "common")
    covers, _, _ = _both_ways(root, prefix, _host(prefix, theirs))
    assert not {target for target in covers if target.startswith("/opt")}
