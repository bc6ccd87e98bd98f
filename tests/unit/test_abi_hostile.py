"""Images that were made to hold up, fill or lead astray who judges them: each is answered or refused."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
from handmade_elf import INTERPRETER, write_elf

from mpi_abi import AbiError, Code, Judge, Reason, RootView, VerdictKind, probe_host
from mpi_abi.ldso import LdSo
from mpi_abi.rootfs import _MOST_ANSWERS

MOST = 200 << 20
LIMIT = 120.0
"""Bytes of memory that any image may cost, and seconds after which something hangs."""
HUGE = 3 << 30

# What getrusage(2) tells of a child includes what its parent had when it was forked.
_COMMAND = """
import atexit, pathlib, sys
place, status = pathlib.Path(sys.argv.pop(1)), pathlib.Path("/proc/self/status")
atexit.register(lambda: place.write_text(status.read_text()))
from mpi_abi.cli import abi
abi()
"""


@dataclass(frozen=True)
class Said:
    """What the command printed, its exit code, and the most memory that it had, in bytes."""

    code: int
    out: str
    error: str
    memory: int


@dataclass(frozen=True)
class Scene:
    """An image with an MPICH and /bin/app, which uses it, and a host MPICH."""

    root: Path
    prefix: str

    def ask(self, *words: str) -> Said:
        status = self.root.parent / "status"
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, str(status), *words, "--prefix", self.prefix],
            capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip
        most = re.findall(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        return Said(done.returncode, done.stdout, done.stderr, int(most[0]) << 10)

    def check(self, *app: str) -> Said:
        return self.ask("check", str(self.root), *app)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = make_root(tmp_path / "image")
    (root / "etc").mkdir()
    library = make_library(library_dir(root) / "libmpich.so.12", MPICH_SOURCE)
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(library))
    make_library(tmp_path / "host/lib/libmpich.so.12", MPICH_SOURCE)
    return Scene(root, str(tmp_path / "host"))


def _loader(scene: Scene) -> Path:
    return library_dir(scene.root) / "ld-linux-x86-64.so.2"


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(HUGE)


# -- what is no file, and what is too big -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["etc/ld.so.cache", "etc/ld.so.preload", "etc/environment"])
def test_a_pipe_in_the_place_of_a_table_is_no_table(scene: Scene, name: str) -> None:
    os.mkfifo(scene.root / name)
    said = scene.check("/bin/app")
    assert (said.code, said.error) == (0, "")


@pytest.mark.parametrize("app", [(), ("/bin/app",)])
def test_a_pipe_in_the_place_of_the_loader_is_refused(scene: Scene, app: tuple[str, ...]) -> None:
    _loader(scene).unlink()
    os.mkfifo(_loader(scene))
    said = scene.check(*app)
    assert "ld-linux-x86-64.so.2: cannot be read: not a file" in said.out + said.error
    assert said.code == 125


@pytest.mark.parametrize("name", ["etc/ld.so.cache", "lib/x86_64-linux-gnu/libc.so.6", "etc/environment"])
def test_files_of_gigabytes_cost_no_memory(scene: Scene, name: str) -> None:
    _grow(scene.root / name)
    said = scene.check("/bin/app")
    assert (said.code, said.error) == (0, "")
    assert said.memory < MOST, said.memory


def test_a_loader_of_gigabytes_costs_no_memory(scene: Scene) -> None:
    _grow(_loader(scene))
    said = scene.check("/bin/app")
    assert (said.code, said.error) == (0, "")
    assert said.memory < MOST, said.memory


def test_a_list_of_preloads_without_end_is_refused(scene: Scene) -> None:
    _grow(scene.root / "etc/ld.so.preload")
    said = scene.check("/bin/app")
    assert said.code == 125
    assert said.error == (
        "bareboat: error: /etc/ld.so.preload: more than 65536 bytes of libraries for every program\n"
        "bareboat: hint: remove the file from the image, or all but the names that it needs\n"
    )
    assert said.memory < MOST, said.memory


def test_a_loader_of_slashes_is_searched_in_linear_time() -> None:
    # The square of this size would take days.
    assert LdSo(b"/a" * (1 << 21), "x86_64").directories[0] == "/lib/x86_64-linux-gnu"


def test_a_zero_ends_a_list_of_preloads_and_a_scripts_first_line(scene: Scene) -> None:
    (scene.root / "etc/ld.so.preload").write_bytes(b"/lib/a.so\0/lib/b.so\n")
    script = scene.root / "usr/bin/script"
    script.write_bytes(b"#!/bin/app\0x\n")
    assert scene.check("/bin/app").code == 0
    assert scene.check("/bin/script").code == 0


# -- names and numbers --------------------------------------------------------------------------------------


def test_names_times_directories_come_to_an_end(scene: Scene) -> None:
    names = [b"libn%d.so" % number for number in range(60_000)]
    program = write_elf(
        scene.root / "usr/bin/many", needed=names, rpath=b":".join([b"/"] * 10_000), interpreter=INTERPRETER
    )
    said = scene.check(f"/bin/{program.name}")
    assert said.code == 125
    assert "gave up after 200000 places where its loader would look" in said.error
    assert "hint: " in said.error
    assert said.memory < MOST, said.memory


def test_a_chain_of_libraries_with_rpaths_comes_to_an_end(scene: Scene) -> None:
    for number in range(1000):
        write_elf(
            library_dir(scene.root) / f"libc{number}.so",
            needed=[b"libc%d.so" % (number + 1)],
            soname=b"libc%d.so" % number,
            rpath=b"/r%d:/usr/bin" % number,
        )
    write_elf(scene.root / "usr/bin/chain", needed=[b"libc0.so"], interpreter=INTERPRETER)
    said = scene.check("/bin/chain")
    assert said.code == 125
    assert "gave up after 200000 places" in said.error
    assert said.memory < MOST, said.memory


def test_symbols_of_many_huge_libraries_do_not_fill_the_memory(scene: Scene) -> None:
    names = [b"libfat%d.so" % number for number in range(6)]
    for number, name in enumerate(names):
        exports = [b"%d_%d_%040d" % (number, each, each) for each in range(300_000)]
        write_elf(library_dir(scene.root) / name.decode(), soname=name, exports=exports)
    write_elf(scene.root / "usr/bin/fat", needed=[b"libmpich.so.12", *names], interpreter=INTERPRETER)
    said = scene.check("/bin/fat")
    assert (said.code, said.error) == (0, "")
    assert said.memory < MOST, said.memory


def test_a_view_forgets_before_it_fills_the_memory(scene: Scene) -> None:
    view = RootView(str(scene.root))
    for number in range(_MOST_ANSWERS + 10):
        assert view.canonical(f"/usr/bin/none{number}") is None
    assert view.canonical("/bin/app") == "/usr/bin/app"
    assert len(view._walks) < 100


def test_no_soname_leads_a_cover_out_of_its_directory(scene: Scene, tmp_path: Path) -> None:
    (library_dir(scene.root) / "libmpich.so.12").unlink()
    make_library(library_dir(scene.root) / "libmpich.so.12", MPICH_SOURCE, soname="../../../../etc/passwd")
    judgement = Judge((scene.prefix,)).judge(RootView(str(scene.root)), None)
    assert judgement.swap is not None
    targets = [cover.target for cover in judgement.swap.covers]
    assert targets
    assert not [target for target in targets if ".." in target]


# -- files that cannot be read beside files that can --------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [_cut, _directory, lambda path: path.write_bytes(b"\x7fELF")])
def test_a_broken_mpi_in_an_image_does_not_hide_the_other(
    scene: Scene, harm: Callable[[Path], object]
) -> None:
    harm(make_library(library_dir(scene.root) / "libampi.so.1", MPICH_SOURCE))
    judgement = Judge((scene.prefix,)).judge(RootView(str(scene.root)), None)
    assert [item.soname for item in judgement.image.mpi] == ["libmpich.so.12"]


def test_an_image_with_nothing_but_a_broken_mpi_is_refused_by_its_path(scene: Scene) -> None:
    _cut(library_dir(scene.root) / "libmpich.so.12")
    with pytest.raises(AbiError, match=r"^/lib/x86_64-linux-gnu/libmpich\.so\.12: damaged ELF file"):
        Judge((scene.prefix,)).judge(RootView(str(scene.root)), None)


@pytest.fixture
def spoilt(tmp_path: Path) -> str:
    """A prefix with an MPICH that is told by its symbols, and of which one name lies nowhere."""
    path = tmp_path / "spoilt/lib/libmpich.so.12"
    path.parent.mkdir(parents=True)
    write_elf(path, exports=[b"MPI_UNWEIGHTED", b"PMPI_Init", b"MPI_Finalize"], soname=b"libmpich.so.12")
    data = bytearray(path.read_bytes())
    last = data.rindex(struct.pack("<BBHQQ", 0x12, 0, 1, 0x1000, 8)) - 4
    struct.pack_into("<I", data, last, 0x7FFFFFFF)
    path.write_bytes(data)
    return str(tmp_path / "spoilt")


def test_a_broken_mpi_of_the_host_does_not_hide_the_others(scene: Scene, spoilt: str) -> None:
    problems: list[str] = []
    found = probe_host(prefixes=(scene.prefix,), optional=(spoilt,), search=False, problems=problems)
    assert [host.prefix for host in found] == [f"{scene.prefix}/lib"]
    assert problems == [
        f"{spoilt}/lib/libmpich.so.12: damaged ELF file: a name without end in the string table"
    ]


def test_a_broken_mpi_that_was_asked_for_is_refused(spoilt: str) -> None:
    with pytest.raises(AbiError, match=r"libmpich\.so\.12: damaged ELF file") as caught:
        probe_host(prefixes=(spoilt,))
    assert caught.value.hint == "repair that MPI, or name another prefix"


# -- what the program needs beside its MPI ------------------------------------------------------------------


def _missing(scene: Scene, program: str) -> list[Reason]:
    verdict = Judge((scene.prefix,)).judge(RootView(str(scene.root)), program).verdict
    assert verdict.kind is VerdictKind.NATIVE
    return [reason for reason in verdict.reasons if reason.code is Code.LIBRARY_MISSING]


def test_a_library_that_is_not_there_is_told(scene: Scene) -> None:
    library = make_library(library_dir(scene.root) / "libfoo.so.1", "int foo(void) { return 1; }")
    mpi = library_dir(scene.root) / "libmpich.so.12"
    options = ("-Wl,--no-as-needed", str(library))
    compile_c(scene.root / "usr/bin/lacks", PROGRAM_SOURCE, str(mpi), *options)
    library.unlink()
    lost = _missing(scene, "/bin/lacks")
    text = "/bin/lacks needs libfoo.so.1, which its loader does not find: it cannot start without"
    assert [reason.text for reason in lost] == [text]
    assert lost[0].hint.startswith("install it in the image, or ")
    assert _missing(scene, "/bin/app") == []


def test_what_only_the_replaced_mpi_lacks_is_not_told(scene: Scene) -> None:
    library = make_library(library_dir(scene.root) / "libbar.so.1", "int bar(void) { return 1; }")
    mpi = library_dir(scene.root) / "libmpich.so.12"
    make_library(mpi, MPICH_SOURCE, "-Wl,--no-as-needed", str(library))
    library.unlink()
    assert _missing(scene, "/bin/app") == []


@pytest.fixture
def apart(scene: Scene) -> Scene:
    """The image's MPI and program where only its /etc/environment says."""
    for name, folder in (("usr/lib/x86_64-linux-gnu/libmpich.so.12", "mpi"), ("usr/bin/app", "tools")):
        (scene.root / "odd" / folder).mkdir(parents=True)
        (scene.root / name).rename(scene.root / "odd" / folder / Path(name).name)
    text = 'LD_LIBRARY_PATH="/odd/mpi:"\nPATH=/odd/tools\n'
    (scene.root / "etc/environment").write_text(text)
    return scene


def test_the_images_own_variables_count_as_in_a_launch(apart: Scene) -> None:
    said = apart.check("app")
    assert (said.code, said.error) == (0, "")
    assert "/odd/mpi/libmpich.so.12 <- " in said.out
    said = apart.ask("why", str(apart.root), "app")
    assert said.code == 0
    assert f"{'LD_LIBRARY_PATH':16} /odd/mpi/libmpich.so.12  found" in said.out
    assert f"{'LD_LIBRARY_PATH':16} .  relative to the working directory: passed over" in said.out
    (apart.root / "etc/environment").unlink()
    assert "no such file" in apart.check("app").error
    assert apart.check("/odd/tools/app").code == 4
