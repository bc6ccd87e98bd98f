"""What covers what: the swap of small MPIs, and the closures of this machine's real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import (
    HOST_LIBS,
    MPICH_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_library,
    make_root,
)

from mpi_abi import (
    Action,
    HostMpi,
    ImageMpiFacts,
    Swap,
    VerdictKind,
    choose_host,
    find_closure,
    judge,
    make_swap,
    probe_host,
    probe_image,
)
from mpi_abi.rootfs import RootView
from mpi_abi.sharing import share

PRIVATE = "/run/bareboat/mpi"
OLD_TAGS = "-Wl,--disable-new-dtags"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH and a program that uses it."""
    top = make_root(tmp_path / "image")
    library = make_library(library_dir(top) / "libmpi.so.12.1", MPICH_SOURCE, soname="libmpi.so.12")
    (library_dir(top) / "libmpi.so.12").symlink_to("libmpi.so.12.1")
    compile_c(top / "usr/bin/app", PROGRAM_SOURCE, str(library))
    return top


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where the tests' host MPI lies."""
    return tmp_path / "host/lib"


def _host(prefix: Path, *libraries: Path) -> HostMpi:
    """A host MPICH that needs these libraries beside it."""
    calls = "".join(f"int {path.name.partition('.')[0]}_do(void); " for path in libraries)
    uses = "".join(f" + {path.name.partition('.')[0]}_do()" for path in libraries)
    source = MPICH_SOURCE + calls + f"int MPIR_Use(void) {{ return 0{uses}; }}"
    make_library(prefix / "libmpi.so.12", source, *map(str, libraries), "-Wl,-rpath,$ORIGIN")
    return probe_host(prefixes=(str(prefix),))[0]


def _side(folder: Path, name: str, version: str, extra: str = "", *options: str) -> Path:
    """A library NAME.so.1 whose file is NAME.so.1.VERSION, with a function NAME_do and more."""
    source = f"int {name}_do(void) {{ return 0; }} {extra}"
    path = make_library(folder / f"{name}.so.1.{version}", source, *options, soname=f"{name}.so.1")
    link = folder / f"{name}.so.1"
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    return link


def _facts(root: Path, program: str | None = "/bin/app") -> ImageMpiFacts:
    return probe_image(RootView(str(root)), program=program, environment={})


def _swap(facts: ImageMpiFacts, host: HostMpi) -> Swap:
    return make_swap(facts, host, find_closure(host), private_dir=PRIVATE)


def _targets(swap: Swap) -> dict[str, str]:
    return {cover.target: cover.source for cover in swap.covers}


def test_the_images_file_is_covered_and_the_closure_lies_apart(root: Path, prefix: Path) -> None:
    other = _side(prefix, "libother", "4")
    swap = _swap(_facts(root), _host(prefix, other))
    assert _targets(swap) == {
        "/usr/lib/x86_64-linux-gnu/libmpi.so.12.1": f"{prefix}/libmpi.so.12",
        f"{PRIVATE}/lib/libmpi.so.12": f"{prefix}/libmpi.so.12",
        f"{PRIVATE}/lib/libother.so.1": f"{prefix}/libother.so.1.4",
    }
    assert [(e.action, e.name, e.value) for e in swap.environment] == [
        (Action.PREPEND, "LD_LIBRARY_PATH", f"{PRIVATE}/lib")
    ]
    assert swap.summary == (
        f"MPICH 9.8.7 (/usr/lib/x86_64-linux-gnu/libmpi.so.12.1) -> MPICH 9.8.7 ({prefix}/libmpi.so.12)"
    )
    assert all(cover.reason for cover in swap.covers)


def test_who_asks_for_the_images_soname_gets_the_hosts_library(root: Path, tmp_path: Path) -> None:
    """mpi4py opens a library by its path, and its extension module then needs it by its soname."""
    make_library(tmp_path / "debian/libmpich.so.12", MPICH_SOURCE)
    host = probe_host(prefixes=(str(tmp_path / "debian"),), search=False)[0]
    targets = _targets(_swap(_facts(root), host))
    assert targets[f"{PRIVATE}/lib/libmpi.so.12"] == f"{tmp_path}/debian/libmpich.so.12"
    assert targets[f"{PRIVATE}/lib/libmpich.so.12"] == f"{tmp_path}/debian/libmpich.so.12"


def test_the_c_librarys_own_files_are_never_brought(root: Path) -> None:
    hosts = probe_host()
    for family in ("mpich", "openmpi"):
        host = choose_host(hosts, family)
        assert host is not None
        swap = make_swap(_facts(root), host, find_closure(host), private_dir=PRIVATE)
        names = {cover.target.rpartition("/")[2] for cover in swap.covers}
        assert not names & {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "libdl.so.2"}


@pytest.mark.parametrize(
    ("image", "host", "kept"),
    [("7", "7", True), ("10", "9", True), ("6", "7", False)],
)
def test_the_newer_copy_of_a_shared_library_serves(
    root: Path, prefix: Path, image: str, host: str, kept: bool
) -> None:
    _side(library_dir(root), "libpciaccess", image)
    swap = _swap(_facts(root), _host(prefix, _side(prefix, "libpciaccess", host)))
    assert (f"{PRIVATE}/lib/libpciaccess.so.1" not in _targets(swap)) is kept


def test_a_newer_copy_that_lacks_a_symbol_does_not_serve(root: Path, prefix: Path) -> None:
    make_library(
        library_dir(root) / "libpciaccess.so.1.9",
        "int another(void) { return 0; }",
        soname="libpciaccess.so.1",
    )
    (library_dir(root) / "libpciaccess.so.1").symlink_to("libpciaccess.so.1.9")
    swap = _swap(_facts(root), _host(prefix, _side(prefix, "libpciaccess", "7")))
    assert f"{PRIVATE}/lib/libpciaccess.so.1" in _targets(swap)


@pytest.mark.parametrize(
    ("image", "kept"), [("NUMA_1 { *; }; NUMA_2 { later; };", True), ("NUMA_1 { *; };", False)]
)
def test_symbol_versions_decide_where_there_are_some(
    root: Path, prefix: Path, image: str, kept: bool
) -> None:
    def versions(name: str, text: str) -> str:
        path = root.parent / f"{name}.map"
        path.write_text(text)
        return f"-Wl,--version-script={path}"

    both = versions("host", "NUMA_1 { global: *; }; NUMA_2 { global: libnuma_do; };")
    host = _host(prefix, _side(prefix, "libnuma", "1", "int later;", both))
    _side(library_dir(root), "libnuma", "5", "int later;", versions("image", image))
    swap = _swap(_facts(root), host)
    assert (f"{PRIVATE}/lib/libnuma.so.1" not in _targets(swap)) is kept


def test_a_program_that_needs_more_of_a_brought_library_is_refused(root: Path, prefix: Path) -> None:
    mine = _side(library_dir(root), "libpciaccess", "5", "int special(void) { return 0; }")
    source = PROGRAM_SOURCE.replace("return", "return special() +") + "int special(void);"
    compile_c(
        root / "usr/bin/app",
        "int special(void);" + source,
        str(library_dir(root) / "libmpi.so.12"),
        str(mine),
    )
    host = _host(prefix, _side(prefix, "libpciaccess", "6"))
    verdict = judge(_facts(root), host, find_closure(host))
    assert verdict.kind is VerdictKind.IMPOSSIBLE
    assert verdict.reasons[0].text == (
        "the program needs special of /lib/x86_64-linux-gnu/libpciaccess.so.1; "
        f"the host's MPI needs its own {prefix}/libpciaccess.so.1.6, which does not have it"
    )


def test_what_only_a_kept_library_needs_stays_behind(root: Path, prefix: Path) -> None:
    deep = _side(prefix, "libdeep", "1")
    shared = _side(
        prefix, "libpciaccess", "7", "int libdeep_do(void); int x(void) { return libdeep_do(); }", str(deep)
    )
    host = _host(prefix, shared)
    _side(library_dir(root), "libpciaccess", "8")
    facts, closure = _facts(root), find_closure(host)
    sharing = share(facts, host, closure)
    assert [item.soname for item in sharing.brought] == ["libmpi.so.12"]
    assert [(item.file.soname, item.image_path) for item in sharing.kept] == [
        ("libpciaccess.so.1", "/lib/x86_64-linux-gnu/libpciaccess.so.1")
    ]
    assert sharing.conflicts == ()


def test_copies_that_a_program_finds_by_rpath_are_covered(root: Path, prefix: Path) -> None:
    own = _side(root / "opt/app/lib", "libucs", "1")
    source = "int libucs_do(void);" + PROGRAM_SOURCE.replace("return", "return libucs_do() +")
    tags = f"{OLD_TAGS},-rpath,/opt/app/lib"
    compile_c(root / "usr/bin/app", source, str(library_dir(root) / "libmpi.so.12"), str(own), tags)
    swap = _swap(_facts(root), _host(prefix, _side(prefix, "libucs", "2")))
    targets = _targets(swap)
    assert targets["/opt/app/lib/libucs.so.1.1"] == f"{prefix}/libucs.so.1.2"
    assert targets[f"{PRIVATE}/lib/libucs.so.1"] == f"{prefix}/libucs.so.1.2"
    reason = next(c.reason for c in swap.covers if c.target == "/opt/app/lib/libucs.so.1.1")
    assert reason == "the program finds its own libucs.so.1 by RPATH"


def test_plugins_come_along_with_what_they_need(root: Path, prefix: Path) -> None:
    ucs = _side(prefix, "libucs", "2")
    driver = _side(prefix, "libdriver", "3")
    source = "int libdriver_do(void); int p(void) { return libdriver_do(); }"
    make_library(prefix / "ucx/libuct_x.so.0", source, str(driver), "-Wl,-rpath,$ORIGIN/..")
    swap = _swap(_facts(root), _host(prefix, ucs))
    targets = _targets(swap)
    assert targets[f"{PRIVATE}/lib/ucx"] == f"{prefix}/ucx"
    assert targets[f"{PRIVATE}/lib/libdriver.so.1"] == f"{prefix}/libdriver.so.1.3"
    assert ("set", "UCX_MODULE_DIR", f"{PRIVATE}/lib/ucx") in [
        (e.action, e.name, e.value) for e in swap.environment
    ]


def test_a_plugin_directory_that_the_host_lacks_hides_the_images(root: Path, prefix: Path) -> None:
    swap = _swap(_facts(root), _host(prefix, _side(prefix, "libucs", "2")))
    assert f"{PRIVATE}/lib/ucx" not in _targets(swap)
    assert [e.value for e in swap.environment if e.name == "UCX_MODULE_DIR"] == [f"{PRIVATE}/lib/ucx"]


def test_languages_that_the_image_does_not_use_are_left_out(root: Path, prefix: Path) -> None:
    host = _host(prefix)
    source = "int MPI_Init(int *, char ***); void mpi_init_(int *e) { *e = MPI_Init(0, 0); }"
    make_library(prefix / "libmpifort.so.12", source, str(prefix / "libmpi.so.12"))
    host = probe_host(prefixes=(str(prefix),))[0]
    assert {item.role for item in host.libraries} == {"c", "fortran"}
    assert f"{PRIVATE}/lib/libmpifort.so.12" not in _targets(_swap(_facts(root), host))
    fortran = make_library(
        library_dir(root) / "libmpichfort.so.12", source, str(library_dir(root) / "libmpi.so.12")
    )
    program = "void mpi_init_(int *); int main(void) { int e; mpi_init_(&e); return e; }"
    compile_c(root / "usr/bin/app", program, str(fortran), "-Wl,--allow-shlib-undefined")
    targets = _targets(_swap(_facts(root), host))
    # The same part under another name.
    assert targets["/usr/lib/x86_64-linux-gnu/libmpichfort.so.12"] == f"{prefix}/libmpifort.so.12"
    assert targets[f"{PRIVATE}/lib/libmpifort.so.12"] == f"{prefix}/libmpifort.so.12"


def test_the_real_mpichs_closure_has_its_ucx_modules() -> None:
    host = choose_host(probe_host(), "mpich")
    assert host is not None
    closure = find_closure(host)
    sonames = {item.soname for item in closure.files}
    assert sonames >= {
        "libmpich.so.12",
        "libucp.so.0",
        "libuct.so.0",
        "libucs.so.0",
        "libuct_cma.so.0",
        "libhwloc.so.15",
    }
    ucx = next(item for item in closure.directories if item.variable == "UCX_MODULE_DIR")
    assert ucx.sources == ((str(HOST_LIBS / "ucx"), ""),)
    assert ucx.target == "lib/ucx"


def test_the_real_open_mpis_closure_has_components_pmix_help_and_settings() -> None:
    host = choose_host(probe_host(), "openmpi")
    assert host is not None
    closure = find_closure(host)
    found = {
        item.variable: item.sources[0][0] for item in closure.directories if item.variable and item.sources
    }
    assert found["OPAL_PKGLIBDIR"] == str(HOST_LIBS / "openmpi/lib/openmpi3")
    assert found["OPAL_PKGDATADIR"] == "/usr/share/openmpi"
    assert found["OPAL_SYSCONFDIR"] == "/etc/openmpi"
    assert found["PMIX_PKGLIBDIR"] == str(HOST_LIBS / "pmix2/lib/pmix")
    assert {item.soname for item in closure.files} >= {"libpmix.so.2", "libfabric.so.1", "libpsm2.so.2"}
    assert ("OMPI_MCA_ess_singleton_isolated", "1") in closure.environment


@pytest.mark.parametrize("family", ["mpich", "openmpi"])
def test_a_real_program_and_this_machine_fit_each_other(tmp_path: Path, family: str) -> None:
    compiler = {
        "mpich": "/usr/lib/x86_64-linux-gnu/mpich/include",
        "openmpi": "/usr/lib/x86_64-linux-gnu/openmpi/include",
    }
    library = {"mpich": HOST_LIBS / "libmpich.so.12", "openmpi": HOST_LIBS / "libmpi.so.40"}[family]
    source = "#include <mpi.h>\nint main(int c, char **v) { double x = 0, y; MPI_Init(&c, &v);"
    source += "MPI_Allreduce(&x, &y, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD); return MPI_Finalize(); }"
    program = compile_c(tmp_path / "app", source, f"-I{compiler[family]}", str(library))
    facts = probe_image(RootView("/"), program=str(program), environment={})
    assert facts.family == family
    hosts = probe_host()
    host = choose_host(hosts, family)
    assert host is not None
    assert judge(facts, host, find_closure(host)).kind is VerdictKind.NATIVE
    other = next(item for item in hosts if item.family != family)
    assert judge(facts, other).kind is VerdictKind.TRANSLATED
    if family == "openmpi":
        assert facts.copies == {"ompi_mpi_comm_world": 512, "ompi_mpi_double": 512, "ompi_mpi_op_sum": 2048}
