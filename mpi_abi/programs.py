"""Which programs of an image use MPI: every executable that needs a library of one, or a library that does.

Found by a walk over all of the image's directories, cheap enough for an image of a gigabyte: of a program
only its NEEDED names are read, of libraries only those that programs name.  What is found may use MPI;
`judging` says whether it does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .elffile import ElfFile
from .errors import AbiError
from .filebytes import HEAD, FileBytes
from .mpilib import looks_like_mpi
from .rootfs import RootView

MOST_PROGRAMS = 250
MOST_FILES = 1_000_000
_MOST_NAMESAKES = 64
"""Of programs that are judged, of files that are looked at, of libraries with one name."""

# What is there belongs to the host, or to nobody, when the image runs.
_NOT_THE_IMAGE = frozenset(("/dev", "/proc", "/run", "/sys", "/tmp"))
# Names by which no program is called: these need not even be asked for their mode.
_NO_PROGRAM = frozenset(
    (
        *("a", "c", "cc", "cpp", "cxx", "f", "f90", "h", "hh", "hpp", "la", "mod", "o", "pc"),
        *("css", "gif", "htm", "html", "jpg", "js", "json", "md", "pdf", "png", "po", "rst", "svg", "tex"),
        *("bz2", "csv", "gz", "mo", "npy", "pm", "py", "pyc", "pyi", "toml", "ttf", "txt", "xml", "xz"),
    )
)  # fmt: skip
_SMALLEST = 64 + 56
"""Bytes of a file that has an ELF header and a program header."""
_AT_ONCE = 64
"""Files that are open at a time, for the disk to have work while some are read."""
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class ProgramsFound:
    """Container paths, sorted.

    ``left_out`` is how many more there are, ``closed`` what may not be read (directories and files);
    ``ended`` says that the walk ended before it had seen everything.
    """

    paths: tuple[str, ...]
    left_out: int
    closed: tuple[str, ...]
    ended: bool


def find_programs(
    view: RootView, *, most: int = MOST_PROGRAMS, most_files: int = MOST_FILES
) -> ProgramsFound:
    """Walk over an image.  What is read or listed leaves its guards with the view's recorder.

    Links are never followed out of the image, nor to directories at all; nothing is opened but regular files.
    """
    return _Search(view, most_files).run(most)


class _Search:
    def __init__(self, view: RootView, most_files: int) -> None:
        self._view = view
        self._room = most_files
        self._todo: list[tuple[str, os.stat_result]] = []
        self._candidates: list[str] = []
        self._programs: dict[str, tuple[str, ...]] = {}
        self._libraries: dict[str, list[str]] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._closed: list[str] = []

    def run(self, most: int) -> ProgramsFound:
        self._walk()
        self._read_candidates()
        asked = {name for needed in self._programs.values() for name in needed}
        users = self._users_of_mpi(asked)
        found = sorted(path for path, needed in self._programs.items() if not users.isdisjoint(needed))
        return ProgramsFound(
            tuple(found[:most]), len(found[most:]), tuple(sorted(self._closed)), self._room <= 0
        )

    # -- the walk --------------------------------------------------------------------------------------------

    def _walk(self) -> None:
        self._todo = [("", os.stat(self._view.root))]  # noqa: PTH116 - strings stay strings: any bytes are a name
        while self._todo and self._room > 0:
            folder, status = self._todo.pop()
            self._view.guard(folder or "/", status)
            try:
                with os.scandir(f"{self._view.root}{folder}/") as entries:
                    for entry in entries:
                        self._look(entry, f"{folder}/{entry.name}")
            except OSError:
                self._closed.append(folder or "/")

    def _look(self, entry: os.DirEntry[str], path: str) -> None:
        self._room -= 1
        try:
            if entry.is_symlink():
                self._name(entry.name, path)
            elif entry.is_dir(follow_symlinks=False):
                if path not in _NOT_THE_IMAGE:
                    self._todo.append((path, entry.stat(follow_symlinks=False)))
            elif entry.is_file(follow_symlinks=False) and entry.name.rpartition(".")[2] not in _NO_PROGRAM:
                self._name(entry.name, path)
                status = entry.stat(follow_symlinks=False)
                if status.st_mode & 0o111:
                    self._view.guard(path, status)
                    if status.st_size >= _SMALLEST:
                        self._candidates.append(path)
        except OSError:
            self._closed.append(path)

    def _name(self, name: str, path: str) -> None:
        if ".so" in name:
            self._libraries.setdefault(name, []).append(path)

    # -- what a loader starts --------------------------------------------------------------------------------

    def _read_candidates(self) -> None:
        """Find the programs that a loader starts among the files that can be executed."""
        for at in range(0, len(self._candidates), _AT_ONCE):
            with self._opened(self._candidates[at : at + _AT_ONCE]) as files:
                for path, descriptor in files:
                    interpreter, needed = _read(descriptor, path)
                    if interpreter and needed:
                        self._programs[path] = needed

    @contextmanager
    def _opened(self, paths: list[str]) -> Iterator[list[tuple[str, int]]]:
        """Some files with their descriptors; the kernel reads the heads of all of them meanwhile."""
        files: list[tuple[str, int]] = []
        try:
            for path in paths:
                try:
                    descriptor = os.open(f"{self._view.root}{path}", _FLAGS)
                except OSError:
                    self._closed.append(path)
                    continue
                files.append((path, descriptor))
                with suppress(OSError):
                    os.posix_fadvise(descriptor, 0, HEAD, os.POSIX_FADV_WILLNEED)
            yield files
        finally:
            for _, descriptor in files:
                os.close(descriptor)

    # -- what needs MPI --------------------------------------------------------------------------------------

    def _users_of_mpi(self, asked: Iterable[str]) -> set[str]:
        """Names of libraries that are an MPI's by their looks, or need such a one, by however many others.

        The names count here, wherever in the image their files lie: by which rules a program finds its
        libraries is asked for those only that may use MPI.
        """
        needed_by: dict[str, set[str]] = {}
        todo = list(asked)
        seen = set(todo)
        while todo:
            user = todo.pop()
            for path in self._libraries.get(user, ())[:_MOST_NAMESAKES]:
                for name in self._needed(path):
                    needed_by.setdefault(name, set()).add(user)
                    if name not in seen:
                        seen.add(name)
                        todo.append(name)
        todo = [name for name in seen if looks_like_mpi(name)]
        found = set(todo)
        while todo:
            new = needed_by.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found

    def _needed(self, path: str) -> tuple[str, ...]:
        host = self._view.resolve(path)
        if host is None or not self._view.is_file(path):
            return ()
        if host not in self._needs:
            try:
                descriptor = os.open(host, _FLAGS)
            except OSError:
                self._closed.append(path)
                return ()
            try:
                self._needs[host] = _read(descriptor, path)[1]
            finally:
                os.close(descriptor)
        return self._needs[host]


def _read(descriptor: int, path: str) -> tuple[str, tuple[str, ...]]:
    """The interpreter of an ELF file and the names (without directories) that it needs; nothing of others."""
    try:
        elf = ElfFile(FileBytes(descriptor), path)
        return elf.interpreter, tuple(name.rpartition("/")[2] for name in elf.needed)
    except (AbiError, OSError, ValueError):
        return "", ()  # What no loader can read is no program.
