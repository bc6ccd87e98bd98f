"""The directory of a self-test's programs: locked while its maker lives, and removed by the next if not."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "bareboat-selftest-"
LOCK = "lock"
LONG = 24 * 3600.0
"""Seconds after which no self-test lives, whatever its lock says: it has limits of its own, of minutes."""
_FIRST = "lock.new"
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@contextmanager
def working_directory(top: Path) -> Iterator[Path]:
    """Make a directory in ``top``, for the time of the context, and remove what killed makers left there.

    Raises OSError where it cannot be made.
    """
    remove_stale(top)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=top) as name:
        descriptor = _hold(Path(name))
        try:
            yield Path(name)
        finally:
            # Before it is removed: over NFS, an open file stays under another name.
            if descriptor >= 0:
                os.close(descriptor)


def _hold(directory: Path) -> int:
    """Lock the directory by a file in it; -1 where the file system knows no locks."""
    descriptor = os.open(directory / _FIRST, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, socket.gethostname().encode())
        # Under its name the file is locked from the first moment.
        (directory / _FIRST).rename(directory / LOCK)
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def remove_stale(top: Path) -> None:
    """Remove the directories of our user's in ``top`` whose makers are dead; what cannot be told stays.

    Nothing is followed, and errors are passed over: others may be at it as well.
    """
    try:
        where = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in os.listdir(where):
            if name.startswith(PREFIX) and _is_stale(name, where):
                shutil.rmtree(name, ignore_errors=True, dir_fd=where)
    finally:
        os.close(where)


def _is_stale(name: str, where: int) -> bool:
    with suppress(OSError):
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=where)
        try:
            status = os.fstat(directory)
            return status.st_uid == os.geteuid() and _is_dead(directory, status)
        finally:
            os.close(directory)
    return False


def _is_dead(directory: int, made: os.stat_result) -> bool:
    """Whether whoever made this directory is gone.  Raises OSError where that cannot be told."""
    try:
        lock = os.open(LOCK, os.O_RDWR | _OPEN, dir_fd=directory)
    except FileNotFoundError:
        # It was killed before it came to that, or there are no locks; or it comes to that right now.
        return _is_old(made)
    try:
        status = os.fstat(lock)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Some network file systems keep the locks of each host to itself.
        return os.read(lock, 256) == socket.gethostname().encode() or _is_old(status)
    finally:
        os.close(lock)


def _is_old(status: os.stat_result) -> bool:
    return time.time() - status.st_mtime > LONG
