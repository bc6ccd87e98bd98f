"""What a library's functions come to call: never less than what its disassembly shows, and not much more."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from abi_toolbox import make_library

from mpi_abi.elf import open_as
from mpi_abi.elfcode import ElfCode

LIBRARIES = ("libmpi_mpifh.so.40", "libmpi_usempif08.so.40", "libmpichfort.so.12")


def _reached(path: Path, *names: str) -> frozenset[str]:
    with open_as(ElfCode, str(path)) as elf:
        return elf.reached(names)


def _disassembled(path: Path) -> dict[str, set[str]]:
    """For each function of a library, all names that it, or what it calls directly, calls or refers to."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, set[str]] = {}
    now: set[str] = set()
    for line in text.splitlines():
        if label := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            # What a stub jumps to is told by its name.
            now = set() if label[1].endswith("@plt") else found.setdefault(_plain(label[1]), set())
        elif "<" in line and (target := re.search(r"(?:call|j[a-z]+) +[0-9a-f]+ <([^+>]+)>", line)):
            now.add(_plain(target[1]))
    for names in found.values():
        todo = list(names)
        while todo:
            todo += (more := found.get(todo.pop(), set()) - names)
            names.update(more)
    return found


def _plain(label: str) -> str:
    return label.partition("@")[0]


@pytest.mark.parametrize("name", LIBRARIES)
def test_all_calls_of_a_real_library_are_found(name: str) -> None:
    path = Path("/usr/lib/x86_64-linux-gnu", name)
    shown = _disassembled(path)
    wanted = 0
    with open_as(ElfCode, str(path)) as elf:
        for function in sorted(elf.exports & shown.keys())[::4]:
            names = shown[function] & elf.undefined
            reached = elf.reached((function,))
            assert names <= reached, function
            # What is called by way of functions without a label, and what only looks like a call.
            assert len(reached - names) < 20, function
            wanted += len(names)
    assert wanted > 200


CODE = """
extern int a(void), b(void), c(void), d(void), e(void);
extern int data_a;
static __attribute__((noinline)) int inner(int n) { return n ? a() : 7; }
int calls(int n) { return inner(n) + 1; }
int tail(void) { return b(); }
int (*taken(void))(void) { return c; }
int table(int n) {
    switch (n) { case 0: return a(); case 1: return b() + 1; case 2: return 5; case 3: return c();
                 case 4: return d(); case 5: return 17 * n; case 6: return e(); default: return 0; }
}
int refers(void) { return data_a; }
int nothing(int n) { return n + 1; }
__attribute__((constructor)) static void first(void) { %s }
"""


@pytest.mark.parametrize("options", [("-O0",), ("-O2",), ("-O2", "-fno-plt"), ("-O2", "-fcf-protection")])
@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("calls", {"a"}),
        ("tail", {"b"}),
        ("taken", {"c"}),
        ("table", {"a", "b", "c", "d", "e"}),
        ("refers", {"data_a"}),
        ("nothing", set()),
        ("unknown", set()),
    ],
)
def test_each_way_to_call(tmp_path: Path, options: tuple[str, ...], function: str, names: set[str]) -> None:
    library = make_library(tmp_path / "libx.so", CODE % "", *options)
    assert _reached(library, function) == names


def test_what_runs_by_itself_always_counts(tmp_path: Path) -> None:
    assert _reached(make_library(tmp_path / "libx.so", CODE % "d();", "-O2"), "nothing") == {"d"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("-Wl,-z,lazy",), {"data_a", "c"}),
        (("-Wl,-z,now",), {"a", "b", "c", "d", "e", "data_a"}),
        (("-fno-plt",), {"a", "b", "c", "d", "e", "data_a"}),
    ],
)
def test_what_is_bound_at_start(tmp_path: Path, options: tuple[str, ...], names: set[str]) -> None:
    library = make_library(tmp_path / "libx.so", CODE % "", "-O2", *options)
    with open_as(ElfCode, str(library)) as elf:
        assert elf.bound_at_start == names


def test_where_functions_begin_is_not_known_everything_counts(tmp_path: Path) -> None:
    library = make_library(tmp_path / "libx.so", CODE % "", "-O2", "-Wl,--no-eh-frame-hdr")
    assert _reached(library, "nothing") == {"a", "b", "c", "d", "e", "data_a"}
