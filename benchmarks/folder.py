"""A measurement's directory: what was asked for, and a line for each run, written through to the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.errors import BenchError
from benchmarks.records import Record, read_lines, to_line
from benchmarks.results import Failure, Setting, SideCommand, setting_from
from benchmarks.typed import require_shape, require_types

SCHEMA = "bareboat-bench-setting/1"
SETTING = "setting.json"
ROUNDS = "rounds.jsonl"
RESULTS = "results.json"
PAGE = "report.html"
TABLE = "results.csv"
_LOCK = ".lock"
_PROGRAMS = "programs"
_UNBEGUN = {_LOCK, _PROGRAMS, f".{SETTING}.new"}
"""What a measurement makes before it begins; the lock is the first of it."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What is kept of a case: enough to say what its records come to without its suite."""

    suite: str
    title: str
    key: str
    nodes: int
    ranks: int
    sides: tuple[str, ...]
    mpi: bool = True


@dataclass(frozen=True, slots=True)
class Kept:
    """The content of ``setting.json``: what a measurement is; it does not change while it runs.

    asked: the options of the command line by name; outlines: its cases, in the order of the table; images:
    which ones they are (`benchmarks.identity`).
    """

    setting: Setting
    asked: Mapping[str, Any]
    outlines: tuple[Outline, ...]
    commands: tuple[SideCommand, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    images: tuple[tuple[str, str], ...] = ()


def outline(case: Case) -> Outline:
    """What is kept of a case.  Pure."""
    return Outline(case.suite, case.title, case.key, case.nodes, case.ranks, tuple(case.commands), case.mpi)


class Folder:
    """The directory, from which all that is shown can be made anew."""

    def __init__(self, path: Path, *, made: bool = False) -> None:
        self.path = path
        self._made = made

    @classmethod
    def make(cls, path: Path) -> Folder:
        """Make the directory; an empty one is taken as well, and one that was killed before it had begun.

        Raises BenchError where it cannot be made, or holds something.
        """
        made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            found = {item.name for item in path.iterdir()}
        except OSError as error:
            raise BenchError(
                f"the results cannot be put into {path}: {error.strerror}",
                hint="name another directory with --out",
            ) from error
        if found and not (_LOCK in found and found <= _UNBEGUN):
            go_on = f", or go on with it: --resume {path}" if SETTING in found else ""
            raise BenchError(f"{path} is not empty", hint=f"name another directory{go_on}")
        return cls(path, made=made)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other measurements out of it.

        Raises BenchError where one is in it.
        """
        try:
            # Not with O_EXCL: it stays behind, and says nothing by being there.
            number = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise BenchError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(number)
            raise BenchError(
                f"another measurement is writing to {self.path}",
                hint="wait until it ends, or name another directory",
            ) from error
        except OSError:  # a file system that has no locks
            pass
        try:
            yield
        finally:
            os.close(number)

    def keep(self, kept: Kept) -> None:
        """Write ``setting.json``, whole or not at all."""
        write_whole(self.path / SETTING, json.dumps({"schema": SCHEMA, **asdict(kept)}, indent=1) + "\n")

    def drop_results(self) -> None:
        """Take away what is made from the others: it does not hold what is measured from now on."""
        try:
            for name in (RESULTS, PAGE, TABLE):
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise BenchError(f"{self.path} cannot be written: {error.strerror}") from error

    def kept(self) -> Kept:
        """Read ``setting.json``.  Raises BenchError where there is none, or of another version."""
        text = self._read(SETTING)
        try:
            data = json.loads(text)
            if data.pop("schema") != SCHEMA:
                raise BenchError(
                    f"{self.path / SETTING} has another schema than {SCHEMA}",
                    hint="it is of another version of bareboat",
                )
            kept = Kept(
                setting=setting_from(data["setting"]),
                asked=dict(data["asked"]),
                outlines=tuple(Outline(**{**one, "sides": tuple(one["sides"])}) for one in data["outlines"]),
                commands=tuple(SideCommand(**one) for one in data["commands"]),
                failures=tuple(Failure(**one) for one in data["failures"]),
                notes=tuple(data["notes"]),
                images=tuple((path, identity) for path, identity in data.get("images", ())),
            )
            require_types(kept, Kept, "the whole")
            for one in kept.outlines:
                require_shape(one.nodes, one.ranks, one.key)
            return kept
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise BenchError(f"{self.path / SETTING} is damaged: {type(error).__name__}: {error}") from error

    def records(self) -> tuple[Record, ...]:
        """All runs up to now, oldest first.  Raises BenchError for damaged lines."""
        path = self.path / ROUNDS
        return read_lines(self._read(ROUNDS), where=str(path)) if path.exists() else ()

    def open_rounds(self) -> Rounds:
        """Go on with ``rounds.jsonl``; a line that a crash cut off is taken away."""
        return Rounds(self.path / ROUNDS)

    def write(self, name: str, text: str) -> Path:
        """Write a file that is made from the others, whole or not at all; its path."""
        write_whole(self.path / name, text)
        return self.path / name

    @property
    def begun(self) -> bool:
        """Is there something to go on with?"""
        return (self.path / SETTING).exists()

    def forget(self) -> None:
        """Take the directory away, with what was compiled, where no measurement has begun in it."""
        if self.begun:
            return
        shutil.rmtree(self.path / _PROGRAMS, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.path / _LOCK).unlink(missing_ok=True)
        if self._made:
            shutil.rmtree(self.path, ignore_errors=True)

    def _hint(self) -> str:
        if (self.path / _LOCK).exists() and not self.begun:
            return f"it was ended before anything was measured: begin anew, with --out {self.path}"
        return "name one that `bareboat bench run` has made"

    def _read(self, name: str) -> str:
        try:
            return read_regular(self.path / name)
        except OSError as error:
            raise BenchError(
                f"{self.path} is no directory of a measurement: {name}: {error.strerror}",
                hint=self._hint(),
            ) from error
        except UnicodeDecodeError as error:
            raise BenchError(f"{self.path / name} is damaged: it is not text") from error


def read_regular(path: Path) -> str:
    """Read a file's text; a pipe or a device, which may never end, is refused.

    Raises OSError and UnicodeDecodeError.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    _require_regular(number)
    with os.fdopen(number, encoding="utf-8") as file:
        return file.read()


def _require_regular(number: int) -> None:
    """Close a descriptor of anything but a regular file, and raise OSError."""
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError(errno.EINVAL, "it is no regular file")


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; one that is there, a link too, is replaced.

    Names that are no UTF-8 are written as escapes.  Raises BenchError where it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        try:
            with fresh.open("x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written: {error.strerror}", hint="look at its directory, and for room there"
        ) from error


class Rounds:
    """``rounds.jsonl``, open for more lines."""

    def __init__(self, path: Path) -> None:
        try:
            # A link would lead to a file of somebody else's, which is cut off at its last line below.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            number = os.open(path, flags, 0o666)
            _require_regular(number)
            self._file = os.fdopen(number, "ab+", buffering=0)  # so that closing it has nothing left to write
            self._file.seek(0)
            content = self._file.read()
            self._end = content.rfind(b"\n") + 1
            self._file.truncate(self._end)
        except OSError as error:
            why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise BenchError(f"{path} cannot be written: {why}") from error
        self._path = path

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: Record) -> None:
        """Add a run, and return when it is on the disk.  Raises BenchError when it cannot be written."""
        try:
            line = to_line(record).encode()
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
            self._end += len(line)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise BenchError(f"{self._path} cannot be written: {error.strerror}") from error
