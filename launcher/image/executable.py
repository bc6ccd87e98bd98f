"""Find the program inside the container, as execve(2) will, and say beforehand why it could not run.

Reads only.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import BareboatError, NotExecutableError, NotFoundError
from launcher.image.facts import elf_machine
from mpi_abi.elf import open_elf
from mpi_abi.errors import AbiError
from mpi_abi.rootfs import RootView

_DEPTH = 5
"""How many scripts may interpret each other (BINPRM_MAX_RECURSION of the kernel)."""


@dataclass(frozen=True, slots=True)
class Executable:
    """A program of the container: its container ``path`` and the host path ``file`` of the same file."""

    path: str
    file: str


def find_executable(view: RootView, name: str, *, search: str, cwd: str, machine: str) -> Executable:
    """Find ``name`` by the container's PATH ``search``, or by its path from ``cwd``.

    Also follows it to its interpreters, without which execve(2) says ENOENT of a file that is there.
    Raises NotFoundError for a missing program or interpreter, NotExecutableError for one that cannot be run.
    """
    found = _by_path(view, name, cwd) if "/" in name else _by_search(view, name, search)
    _follow(view, found, search=search, machine=machine, depth=_DEPTH)
    return found


def _by_path(view: RootView, name: str, cwd: str) -> Executable:
    path = posixpath.join(cwd, name)
    if ".." not in path.split("/"):
        path = posixpath.normpath(path)
    file = view.resolve(path)
    if file is None:
        raise NotFoundError(
            f"cannot run {path}: it is not in the container",
            hint="paths are looked up inside; BAREBOAT_MOUNTS=DIR shows a directory of the host there",
        )
    _require_executable(path, file)
    return Executable(path, file)


def _by_search(view: RootView, name: str, search: str) -> Executable:
    refused: BareboatError | None = None
    for directory in search.split(":"):
        path = posixpath.join(directory or ".", name)
        file = view.resolve(path) if path.startswith("/") else None
        if file is None:
            continue
        try:
            _require_executable(path, file)
        except NotExecutableError as error:
            # execvp(3) goes on after EACCES and reports it only when nothing else is found.
            refused = refused or error
            continue
        return Executable(path, file)
    if refused is not None:
        raise refused
    raise NotFoundError(
        f"cannot run {name!r}: it is not in the container's PATH ({search})",
        hint="name it by its path inside the container, or install it in the image",
    )


def _require_executable(path: str, file: str) -> None:
    mode = Path(file).stat().st_mode
    if stat.S_ISDIR(mode):
        raise NotExecutableError(f"cannot run {path}: it is a directory")
    if not stat.S_ISREG(mode) or not os.access(file, os.X_OK):
        raise NotExecutableError(
            f"cannot run {path}: it is not executable by you",
            hint="give it execute permission (chmod +x), or name its interpreter before it",
        )


def _follow(view: RootView, program: Executable, *, search: str, machine: str, depth: int) -> None:
    """Check what runs ``program``: the interpreter of a script, or the loader of an ELF file."""
    try:
        with Path(program.file).open("rb") as file:
            head = file.read(256)
    except OSError:
        return  # executable and not readable: legal, and then nothing can be said
    if head.startswith(b"#!"):
        _follow_script(view, program, head, search=search, machine=machine, depth=depth)
    elif head.startswith(b"\x7fELF"):
        _follow_elf(view, program, machine=machine)


def _follow_script(
    view: RootView, program: Executable, head: bytes, *, search: str, machine: str, depth: int
) -> None:
    words = head[2:].split(b"\n")[0].decode("utf-8", "surrogateescape").split()
    if not words or depth == 0:
        return
    found = _interpreter(view, words[0], program)
    if posixpath.basename(words[0]) == "env" and len(words) > 1 and not words[1].startswith("-"):
        try:
            _by_search(view, words[1], search)
        except NotFoundError as error:
            raise NotFoundError(
                f"cannot run {program.path}: "
                f"its interpreter {words[1]} is not in the container's PATH ({search})",
                hint=f"install {words[1]} in the image, or use an image that has it",
            ) from error
    _follow(view, found, search=search, machine=machine, depth=depth - 1)


def _follow_elf(view: RootView, program: Executable, *, machine: str) -> None:
    own = elf_machine(program.file)
    if machine and own and own != machine:
        raise NotExecutableError(
            f"cannot run {program.path}: it is for {own}, the image is for {machine}",
            hint=f"use a program that was built for {machine}",
        )
    try:
        with open_elf(program.file, shown=program.path) as elf:
            loader = elf.interpreter
    except AbiError:
        return  # of a kind that is not read here (32-bit, big-endian): the kernel's word counts
    if loader:
        _interpreter(view, loader, program)


def _interpreter(view: RootView, name: str, program: Executable) -> Executable:
    file = view.resolve(name)
    if file is None:
        raise NotFoundError(
            f"cannot run {program.path}: its interpreter {name} is not in the container",
            hint=f"install {name} in the image, or use an image that has it",
        )
    _require_executable(name, file)
    return Executable(name, file)
