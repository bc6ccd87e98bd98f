"""RPATHs of the host's own files: where they lead in a container, and what they find on the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, PROGRAM_SOURCE, compile_c, library_dir, make_image, make_library

from mpi_abi import VerdictKind, find_closure, probe_host
from mpi_abi.families import Group, PluginDirectory, Tables, tables
from mpi_abi.judging import Judge
from mpi_abi.rootfs import RootView
from mpi_abi.why import explain

OLD_TAGS = "-Wl,--disable-new-dtags"
NAMES = ("libdep.so.1", "liblow.so.1")


def make_private(deps: Path, *options: str) -> Path:
    """The libraries that a host's MPI keeps for itself, one of which needs the other."""
    low = make_library(deps / "liblow.so.1", "int low(void) { return 1; }")
    return make_library(
        deps / "libdep.so.1", "int low(void); int dep(void) { return low(); }", str(low), *options
    )


def make_mpi(prefix: Path, rpath: str, *options: str) -> None:
    """A host's MPI that finds these by its RPATH."""
    source = MPICH_SOURCE + "int dep(void); int MPIR_Use(void) { return dep(); }"
    more = (str(prefix / "deps/libdep.so.1"), f"-Wl,-rpath-link,{prefix}/deps", f"-Wl,-rpath,{rpath}")
    make_library(prefix / "lib/libmpi.so.12", source, *more, *options)


@pytest.mark.parametrize("tags", [OLD_TAGS, "-Wl,--enable-new-dtags"])
@pytest.mark.parametrize("by_name", [True, False])
def test_it_does_not_find_the_images_libraries(tmp_path: Path, tags: str, *, by_name: bool) -> None:
    """In there it leads to the same directory of the image, or to one beside the image's MPI."""
    root, prefix = make_image(tmp_path / "image"), tmp_path / "host"
    # Unlike RPATH, RUNPATH only counts for what a file needs itself; and LD_LIBRARY_PATH comes before it.
    make_private(prefix / "deps", *([] if tags == OLD_TAGS else ["-Wl,-rpath,$ORIGIN"]))
    make_mpi(prefix, str(prefix / "deps") if by_name else "$ORIGIN/../deps", tags)
    inside = root / str(prefix)[1:] / "deps" if by_name else root / "usr/lib/deps"
    for name in NAMES:
        make_library(inside / name, "int other;")
    # Found by its path, the host's file has the image's for $ORIGIN.
    library = str(library_dir(root) / "libmpi.so.12")
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, library, OLD_TAGS, "-Wl,-rpath,/lib/x86_64-linux-gnu")
    view = RootView(str(root))
    judgement = Judge((str(prefix),), search=False).judge(view, "/usr/bin/app")
    assert judgement.verdict.kind is VerdictKind.NATIVE
    after = explain(view, judgement.image, judgement.swap, {}).after
    assert after is not None and judgement.swap is not None
    found = {each.name: each.host for each in after.lookups if each.name in NAMES}
    assert found == {name: str(prefix / "deps" / name) for name in NAMES}
    covered = [cover.target for cover in judgement.swap.covers if cover.target.count("/deps/")]
    there = [str(inside / name).removeprefix(str(root)) for name in NAMES]
    assert sorted(covered) == (there if tags == OLD_TAGS else [])


def test_it_counts_for_what_its_plugins_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "host"
    make_private(prefix / "deps")
    make_library(prefix / "lib/libmpi.so.12", MPICH_SOURCE, OLD_TAGS, "-Wl,-rpath,$ORIGIN/../deps")
    source = "int dep(void); int open_me(void) { return dep(); }"
    dep = prefix / "deps/libdep.so.1"
    make_library(prefix / "lib/plugins/one.so", source, str(dep), "-Wl,--allow-shlib-undefined")
    row = PluginDirectory("libmpi", ("plugins",), target="lib/plugins", plugins=("*.so",))
    known = tables()
    values = {name: getattr(known, name) for name in Tables.__slots__}
    mine = Tables(**{**values, "groups": (*known.groups, Group("mine", ("libmpi",), (row,)))})
    for module in ("closure", "sharing"):
        monkeypatch.setattr(f"mpi_abi.{module}.tables", lambda: mine)
    closure = find_closure(probe_host(prefixes=(str(prefix),), search=False)[0])
    assert {item.soname: item.path for item in closure.files if not item.plugin} == {
        "libmpi.so.12": str(prefix / "lib/libmpi.so.12"),
        **{name: str(prefix / "deps" / name) for name in NAMES},
    }
    assert closure.missing == ()
