"""What a decision depends on, as guards: one system call each tells whether it still holds.

A probe that is given a ``Recorder`` leaves there a guard for everything it reads, with the stamp that the
thing had before it was read: what changes during the probe is seen as well.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

# Their files have the times at which the kernel last made an inode for them: stamps say nothing there.
_TIMELESS = ("/proc/", "/sys/")
_TICK = 10_000_000
"""Nanoseconds, with the slowest clock that kernels are built with (CONFIG_HZ=100)."""
_TIMES = 1 << 64
_MISSING = (errno.ENOENT, errno.ENOTDIR)


class GuardKind(StrEnum):
    """What is asked about a path: ``SAME`` follows links (stat), ``LINK`` does not (lstat).

    ``READABLE`` and ``WRITABLE`` ask whether the kernel would let this process open it (access(2)).
    """

    SAME = "same"
    LINK = "link"
    THERE = "there"
    ABSENT = "absent"
    READABLE = "readable"
    WRITABLE = "writable"


@dataclass(frozen=True, slots=True)
class Guard:
    """One condition on an absolute host path; ``stamp`` is "" for others than SAME and LINK."""

    kind: GuardKind
    path: str
    stamp: str = ""


def make_stamp(status: os.stat_result) -> str:
    """Device, inode, size and the times of change of content and inode, in nanoseconds (stat(2)).

    Times before 1970 are written as the unsigned numbers of 64 bits that they are to C.
    """
    # Thousands of these are made in a row.
    mtime, ctime = status.st_mtime_ns % _TIMES, status.st_ctime_ns % _TIMES
    return f"{status.st_dev} {status.st_ino} {status.st_size} {mtime} {ctime}"


def is_fresh(guard: Guard, since: int) -> bool:
    """Say whether what ``guard`` is about may change once more and keep its stamp.

    Times of change advance in ticks of up to 10 ms (until Linux 6.13): what changes twice within one looks
    the same.  ``since`` is a time before the stamp was taken, in nanoseconds.
    """
    return bool(guard.stamp) and int(guard.stamp.rpartition(" ")[2]) > since - 2 * _TICK


def holds(guard: Guard) -> bool:
    """Say whether a guard still holds, as the C core does for launches (cffi_build/core/entry.c)."""
    if guard.kind in (GuardKind.READABLE, GuardKind.WRITABLE):
        return os.access(guard.path, os.R_OK if guard.kind is GuardKind.READABLE else os.W_OK)
    try:
        # Of what is absent, a link that leads to nothing is not.
        follow = guard.kind in (GuardKind.SAME, GuardKind.THERE)
        status = os.stat(guard.path, follow_symlinks=follow)  # noqa: PTH116
    except OSError as error:
        return guard.kind is GuardKind.ABSENT and error.errno in _MISSING
    if guard.kind in (GuardKind.SAME, GuardKind.LINK):
        return make_stamp(status) == guard.stamp
    return guard.kind is GuardKind.THERE


class Recorder:
    """Collects the guards of one decision.  The first stamp of a path counts: it is the oldest."""

    def __init__(self) -> None:
        self._guards: dict[tuple[str, GuardKind], Guard] = {}
        self._obstacles: dict[str, None] = {}

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards in the order in which they were found, without those that others include."""
        return tuple(
            guard
            for guard in self._guards.values()
            if guard.kind is not GuardKind.THERE
            or (guard.path.removesuffix("/.") or "/", GuardKind.SAME) not in self._guards
        )

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why the decision cannot be kept: what no guard can tell.  None where it can."""
        return tuple(self._obstacles)

    def forbid(self, reason: str) -> None:
        """Note that the decision depends on something that no guard can tell."""
        self._obstacles[reason] = None

    def same(self, path: str, status: os.stat_result | None = None) -> None:
        """Guard a file's content or a directory's entries; ``status`` where stat was asked already."""
        if (path, GuardKind.SAME) in self._guards:
            return
        if path.startswith(_TIMELESS):
            self.forbid(f"{path} has no times that change with it")
            return
        try:
            self._add(GuardKind.SAME, path, status or os.stat(path))  # noqa: PTH116 - paths stay strings
        except OSError as error:
            self._missing(path, error)

    def link(self, path: str, status: os.stat_result | None = None) -> None:
        """Guard a symbolic link."""
        if (path, GuardKind.LINK) in self._guards:
            return
        try:
            self._add(GuardKind.LINK, path, status or os.lstat(path))
        except OSError as error:
            self._missing(path, error)

    def there(self, path: str) -> None:
        """Guard that something exists, whatever it is."""
        self._add(GuardKind.THERE, path)

    def absent(self, path: str) -> None:
        """Guard that nothing exists; needless in a directory whose entries are guarded already."""
        if (os.path.dirname(path) or "/", GuardKind.SAME) not in self._guards:  # noqa: PTH120
            self._add(GuardKind.ABSENT, path)

    def usable(self, path: str, *, write: bool) -> None:
        """Guard that this process may read, or write, what is at ``path``."""
        self._add(GuardKind.WRITABLE if write else GuardKind.READABLE, path)

    def exists(self, path: str) -> bool:
        """Say whether ``path`` leads to something, and guard the answer."""
        try:
            os.stat(path)  # noqa: PTH116
        except OSError as error:
            self._missing(path, error)
            return False
        self.there(path)
        return True

    def _missing(self, path: str, error: OSError) -> None:
        if error.errno not in _MISSING:
            self.forbid(f"{path}: {error.strerror}")
        elif os.path.islink(path):  # noqa: PTH114
            # It is there for lstat, and leads to nothing.
            self.link(path)
            self.absent(os.path.realpath(path))
        else:
            self.absent(path)

    def _add(self, kind: GuardKind, path: str, status: os.stat_result | None = None) -> None:
        self._guards.setdefault((path, kind), Guard(kind, path, make_stamp(status) if status else ""))
