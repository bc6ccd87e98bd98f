"""What a container's real loader maps for many files, and what ours says of the same."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from launching import bareboat

from mpi_abi.elf import open_elf
from mpi_abi.elfcache import ElfCache, file_machine
from mpi_abi.elftypes import ElfType, ForeignElf
from mpi_abi.errors import AbiError
from mpi_abi.ldfiles import INTERPRETERS
from mpi_abi.loader import Loader
from mpi_abi.rootfs import RootView

INTERPRETER = INTERPRETERS["x86_64"]
DRIVER = Path(__file__).parents[1] / "data/trace_loader.c"
Mapped = frozenset[tuple[str, str]] | str
"""Pairs of a name that was asked for and the real path of what stands for it, "" where nothing does; or why
the loader gives up."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A file to be loaded; the kernel starts a program, and the loader lists a library."""

    path: str
    program: bool


def compile_driver(directory: Path) -> Path:
    program = directory / "trace_loader"
    options = ["-Wall", "-Wextra", "-Werror", "-O1", "-static"]
    subprocess.run(["gcc", *options, "-o", program, DRIVER], check=True)
    return program


def loadable(root: Path) -> Iterator[Asked]:
    """Every file of a tree that glibc's loader can be asked about, by its real path."""
    for directory, _, names in os.walk(root):
        for name in names:
            file = Path(directory, name)
            if not stat.S_ISREG(file.lstat().st_mode) or file_machine(str(file)) != "x86_64":
                continue
            path = "/" + str(file.relative_to(root))
            try:
                with open_elf(str(file)) as elf:
                    kind, interpreter, dynamic = elf.kind, elf.interpreter, elf.needed or elf.soname
            except ForeignElf:
                continue
            # Neither objects nor static programs; and the loader does not load itself.
            if kind not in (ElfType.EXEC, ElfType.DYN) or not dynamic or name.startswith("ld-"):
                continue
            assert interpreter in ("", INTERPRETER), f"{path} wants {interpreter}"
            yield Asked(path, bool(interpreter) and os.access(file, os.X_OK))


def real(root: Path, driver: Path, asked: Iterable[Asked], environment: dict[str, str]) -> dict[str, Mapped]:
    """What the container's loader itself says, by file."""
    lines = "".join(f"{'P' if item.program else 'L'} {item.path}\n" for item in asked)
    options = ["--mpi", "image", "--mount", f"{driver}:/run/trace_loader", root]
    given = [f"{name}={value}" for name, value in environment.items()]
    done = bareboat("run", *options, "--", "/run/trace_loader", INTERPRETER, *given, input=lines)
    assert (done.returncode, done.stderr) == (0, "")
    answers = re.findall(r"^= (.*)\n((?:(?![=!] ).*\n)*)! (.*)$", done.stdout, re.MULTILINE)
    view = RootView(str(root))
    return {path: _read(view, text) if status == "0" else text or status for path, text, status in answers}


def _read(view: RootView, text: str) -> Mapped:
    loader = view.canonical(INTERPRETER)
    found = set()
    for line in text.splitlines():
        match = re.fullmatch(r"\t(\S+)(?: => (not found|\S+))?(?: \(0x[0-9a-f]+\))?", line)
        if match is None or match[1].startswith("linux-vdso"):
            continue
        target = match[2] or match[1]
        place = "" if target == "not found" else view.canonical(target) or f"? {target}"
        if place != loader:
            found.add((match[1], place))
    return frozenset(found)


def emulated(root: Path, asked: Iterable[Asked], environment: dict[str, str]) -> dict[str, Mapped]:
    """What ours says of the same files."""
    view, elves = RootView(str(root)), ElfCache()
    loader = view.canonical(INTERPRETER)
    answers: dict[str, Mapped] = {}
    missing: list[tuple[str, int]] = []

    def note(name: str, at: int, found: int | None) -> None:
        if found is None:
            missing.append((name, at))

    for item in asked:
        missing.clear()
        own = Loader(view, elves, machine="x86_64", environment=environment)
        try:
            tree = own.load(item.path, asked=note)
        except AbiError as error:
            answers[item.path] = str(error)
            continue
        found = {(each.name, each.real) for each in tree.objects[1:] if each.real != loader}
        found |= {(each.name, "") for each in tree.missing}
        # Only when it traces does the real loader speak of these.
        found |= {(name, "") for name, at in missing if name in tree.objects[at].facts.auxiliary}
        answers[item.path] = frozenset(found)
    return answers


def differences(
    root: Path, driver: Path, asked: tuple[Asked, ...], environment: dict[str, str] | None = None
) -> dict[str, tuple[object, object]]:
    """By file what only ours says, and what only the real loader says."""
    theirs = real(root, driver, asked, environment or {})
    ours = emulated(root, asked, environment or {})
    assert set(theirs) == set(ours) == {item.path for item in asked}
    found: dict[str, tuple[object, object]] = {}
    for path, mine in ours.items():
        other = theirs[path]
        if isinstance(mine, str) or isinstance(other, str):
            # Both give up, each in its words.
            if not (isinstance(mine, str) and isinstance(other, str)):
                found[path] = (mine, other)
        elif mine != other:
            found[path] = (mine - other, other - mine)
    return found
