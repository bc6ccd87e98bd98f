"""`bareboat abi why`: the loader's walk before and after the swap, and what has no walk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from abi_toolbox import MPICH_SOURCE, PROGRAM_SOURCE, compile_c, make_library, make_root
from click.testing import CliRunner, Result

from mpi_abi.cli import abi
from mpi_abi.elfcache import ElfCache
from mpi_abi.loader import Loader
from mpi_abi.rootfs import RootView
from mpi_abi.swap import Action, EnvironmentChange
from mpi_abi.why import changed


def _run(*args: object) -> Result:
    return CliRunner().invoke(abi, [str(arg) for arg in args])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH in a directory of its own, and /bin/app that finds it by DT_RUNPATH."""
    top = make_root(tmp_path / "image")
    deep = make_library(top / "opt/mpi/lib/libdeep.so.1", "int deep(void) { return 1; }")
    own = ("-Wl,--no-as-needed", str(deep), "-Wl,-rpath,$ORIGIN")
    library = make_library(top / "opt/mpi/lib/libmpi.so.12", MPICH_SOURCE, *own)
    options = ("-Wl,--enable-new-dtags,-rpath,/none:/opt/mpi/lib", "-Wl,--allow-shlib-undefined")
    compile_c(top / "usr/bin/app", PROGRAM_SOURCE, str(library), *options)
    return top


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A host MPICH with a library beside it that the image does not have."""
    other = make_library(tmp_path / "host/lib/libother.so.1", "int other(void) { return 1; }")
    options = ("-Wl,--no-as-needed", str(other), "-Wl,-rpath,$ORIGIN")
    make_library(tmp_path / "host/lib/libmpi.so.12", MPICH_SOURCE, *options)
    return tmp_path / "host"


def test_both_walks_are_shown_side_by_side(root: Path, prefix: Path) -> None:
    result = _run("why", "--prefix", prefix, root, "app")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        result.stdout
        == f"""\
program: /usr/bin/app (x86_64, /lib64/ld-linux-x86-64.so.2)
swap:    MPICH 9.8.7 (/opt/mpi/lib/libmpi.so.12) -> MPICH 9.8.7 ({prefix}/lib/libmpi.so.12)
    prepend LD_LIBRARY_PATH /run/bareboat/mpi/lib
* another file with the swap, + only with it, - only without it
* libmpi.so.12, needed by /usr/bin/app
    before:
        RUNPATH of /usr/bin/app /none  no such directory
        RUNPATH of /usr/bin/app /opt/mpi/lib/libmpi.so.12  found
        = the image's /opt/mpi/lib/libmpi.so.12
    after:
        LD_LIBRARY_PATH  /run/bareboat/mpi/lib/libmpi.so.12  found
        = this host's {prefix}/lib/libmpi.so.12
  libc.so.6, needed by /usr/bin/app
    RUNPATH of /usr/bin/app /none  no such directory
    RUNPATH of /usr/bin/app /opt/mpi/lib/libc.so.6  not there
    ld.so.cache      /etc/ld.so.cache  has no such name
    default directory /lib/x86_64-linux-gnu/libc.so.6  found
    = the image's /usr/lib/x86_64-linux-gnu/libc.so.6
+ libother.so.1, needed by /run/bareboat/mpi/lib/libmpi.so.12
    LD_LIBRARY_PATH  /run/bareboat/mpi/lib/libother.so.1  found
    = this host's {prefix}/lib/libother.so.1
  ld-linux-x86-64.so.2, needed by /lib/x86_64-linux-gnu/libc.so.6
    interpreter      /lib64/ld-linux-x86-64.so.2  loaded by the kernel
    = the image's /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
- libdeep.so.1, needed by /opt/mpi/lib/libmpi.so.12
    RUNPATH of /opt/mpi/lib/libmpi.so.12 /opt/mpi/lib/libdeep.so.1  found
    = the image's /opt/mpi/lib/libdeep.so.1
"""
    )


def test_json_has_both_walks_in_full(root: Path, prefix: Path) -> None:
    result = _run("why", "--json", "--prefix", prefix, root, "/bin/app")
    assert (result.exit_code, result.stderr) == (0, "")
    value = json.loads(result.stdout)
    assert (value["program"], value["verdict"]) == ("/bin/app", "native")
    before = {(each["name"], each["needed_by"]): each for each in value["before"]["lookups"]}
    after = {(each["name"], each["needed_by"]): each for each in value["after"]["lookups"]}
    assert before["libmpi.so.12", "/bin/app"] == {
        "name": "libmpi.so.12",
        "needed_by": "/bin/app",
        "found": "/opt/mpi/lib/libmpi.so.12",
        "file": "/opt/mpi/lib/libmpi.so.12",
        "host_file": None,
        "rule": "RUNPATH",
        "loaded_already": False,
        "searched": [
            {"rule": "RUNPATH", "of": "/bin/app", "place": "/none", "outcome": "no such directory"},
            {"rule": "RUNPATH", "of": "/bin/app", "place": "/opt/mpi/lib/libmpi.so.12", "outcome": "found"},
        ],
        "change": "other",
    }
    there = after["libc.so.6", "/run/bareboat/mpi/lib/libmpi.so.12"]
    assert (there["loaded_already"], there["searched"], there["change"]) == (True, [], "")
    new = after["libother.so.1", "/run/bareboat/mpi/lib/libmpi.so.12"]
    assert (new["host_file"], new["change"]) == (f"{prefix}/lib/libother.so.1", "only-after")
    lost = before["libdeep.so.1", "/opt/mpi/lib/libmpi.so.12"]
    assert (lost["file"], lost["change"]) == ("/opt/mpi/lib/libdeep.so.1", "only-before")


def test_without_a_swap_the_images_walk_is_shown_and_why_there_is_none(root: Path, tmp_path: Path) -> None:
    make_library(tmp_path / "new/lib/libgone.so.1", "int gone(void) { return 1; }")
    source = "int gone(void); int main(void) { return gone(); }"
    compile_c(root / "usr/bin/plain", source, str(tmp_path / "new/lib/libgone.so.1"))
    result = _run("why", root, "plain")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[1].startswith("swap:    none; NO_MPI: /usr/bin/plain ")
    at = lines.index("  libgone.so.1, needed by /usr/bin/plain")
    assert lines[at + 1] == "    ld.so.cache      /etc/ld.so.cache  has no such name"
    assert lines[at + 2 : at + 6] == [
        "    default directory /lib/x86_64-linux-gnu/libgone.so.1  not there",
        "    default directory /usr/lib/x86_64-linux-gnu/libgone.so.1  not there",
        "    default directory /lib/libgone.so.1  not there",
        "    default directory /usr/lib/libgone.so.1  not there",
    ]
    assert lines[at + 6] == "    = not found"
    assert json.loads(_run("why", "--json", root, "plain").stdout)["after"] is None


def test_a_library_can_be_asked_about_and_files_in_the_way_are_named(root: Path) -> None:
    leaf = make_library(root / "opt/good/libleaf.so", "int leaf(void) { return 1; }")
    foreign = bytearray(leaf.read_bytes())
    foreign[4] = 1
    (root / "opt/bad").mkdir()
    (root / "opt/bad/libleaf.so").write_bytes(foreign)
    options = ("-Wl,--disable-new-dtags,-rpath,/opt/bad:relative:/opt/good", "-Wl,--audit,libspy.so")
    source = "int leaf(void); int top(void) { return leaf(); }"
    make_library(root / "opt/libtop.so", source, str(leaf), *options)
    result = _run("why", root, "/opt/libtop.so")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    at = lines.index("  libleaf.so, needed by /opt/libtop.so")
    assert lines[at + 1 : at + 5] == [
        "    RPATH of /opt/libtop.so /opt/bad/libleaf.so  for another machine, or closed",
        "    RPATH of /opt/libtop.so relative  relative to the working directory: passed over",
        "    RPATH of /opt/libtop.so /opt/good/libleaf.so  found",
        "    = the image's /opt/good/libleaf.so",
    ]
    assert lines[-1] == "/opt/libtop.so has libspy.so audit it, which is loaded apart"


def test_what_has_no_walk_is_refused(root: Path) -> None:
    compile_c(root / "usr/bin/static", "int main(void) { return 0; }", "-static")
    (root / "usr/bin/script").write_text("#!/bin/app -x\n")
    (root / "usr/bin/text").write_text("no program\n")
    foreign = bytearray((root / "usr/bin/app").read_bytes())
    foreign[4], foreign[18] = 1, 3
    (root / "usr/bin/foreign").write_bytes(foreign)
    (root / "usr/bin/cut").write_bytes(foreign[:4] + b"\x02" + foreign[5:70])
    for name, text, hint in (
        ("none", f"none: no such file in {root}", "give the program's path in the image"),
        (
            "static",
            "/usr/bin/static: a static program; no loader searches anything for it",
            "`bareboat abi check` says whether an MPI is linked into it",
        ),
        (
            "script",
            "/usr/bin/script: a script; the loader only sees /bin/app, which runs it",
            "ask about /bin/app",
        ),
        ("text", "/usr/bin/text: not an ELF file", "give a program or a library of the image"),
        (
            "foreign",
            "/usr/bin/foreign: built for i386; only 64-bit little-endian files can be followed",
            "use an image built for this machine",
        ),
        (
            "cut",
            "/usr/bin/cut: damaged ELF file: the program header table lies outside the file",
            "put a whole copy in its place: install its package anew, or build the image anew",
        ),
    ):
        result = _run("why", root, name)
        hints = f"bareboat: hint: {hint}\n" if hint else ""
        assert (result.exit_code, result.stdout) == (125, "")
        assert result.stderr == f"bareboat: error: {text}\n{hints}"


def test_a_program_on_musl_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "image"
    (root / "lib").mkdir(parents=True)
    (root / "lib/ld-musl-x86_64.so.1").write_bytes(b"")
    compile_c(root / "app", "int main(void) { return 0; }", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
    result = _run("why", root, "/app")
    assert result.exit_code == 125
    assert result.stderr == (
        "bareboat: error: /app: runs on musl's loader (/lib/ld-musl-x86_64.so.1), which searches in other "
        "ways than glibc's\n"
        "bareboat: hint: this host's MPI needs an image with glibc\n"
    )


def test_a_swap_changes_the_environment() -> None:
    changes = [
        EnvironmentChange(Action.PREPEND, "A", "/new", ""),
        EnvironmentChange(Action.PREPEND, "B", "/new", ""),
        EnvironmentChange(Action.SET, "C", "x", ""),
        EnvironmentChange(Action.UNSET, "D", "", ""),
    ]
    assert changed({"A": "/old", "D": "1", "E": "e"}, changes) == {
        "A": "/new:/old",
        "B": "/new",
        "C": "x",
        "E": "e",
    }


def test_nothing_is_written_down_unless_asked(root: Path) -> None:
    loader = Loader(RootView(str(root)), ElfCache(), machine="x86_64", environment={})
    loader.load("/bin/app")
    assert loader.trace is None
