"""What a program's start reads of its image, to be unpacked while the container is made.  Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from launcher.plan import MpiDecision
from launcher.program import PATH_MAX, Operation, Verb

_LOADER_CACHE = "/etc/ld.so.cache"
_ROOM = 1 << 16
"""Bytes for all paths together: what only saves time must not make a program too long to be run."""


def plan_ahead(
    names: Iterable[str], programs: Iterable[str], search: str, mpi: MpiDecision
) -> tuple[Operation, ...]:
    """Name the files in the order in which they are asked for.

    Args:
        names: the programs as they were asked for, each of which is searched for in ``search`` (a PATH).
        programs: where in the container they are.
        search: directories with colons between them.
        mpi: what was decided, with the loader and the libraries that the programs need.
    """
    covered = {cover.target for cover in mpi.swap.covers} if mpi.swap else set()
    libraries = [path for path in mpi.libraries if path not in covered]
    paths = [
        *(path for name in names for path in _searched(name, search, programs)),
        *programs,
        *libraries[:1],
        *([_LOADER_CACHE] if libraries else []),
        *libraries[1:],
    ]
    reason = "the start of the program reads it"
    return tuple(Operation(Verb.READ_AHEAD, (path,), reason) for path in _fitting(dict.fromkeys(paths)))


def _fitting(paths: Iterable[str]) -> Iterator[str]:
    """Leave out what is no path that a program can hold, and what is too much."""
    room = _ROOM
    for path in paths:
        size = len(path.encode("utf-8", "surrogateescape")) + 1
        if path.startswith("/") and size <= PATH_MAX and size <= room:
            room -= size
            yield path


def _searched(name: str, search: str, programs: Iterable[str]) -> Iterator[str]:
    """List where the program is looked for in vain: that reads the directory."""
    if "/" in name:
        return
    for directory in search.split(":"):
        path = posixpath.join(directory, name)
        if path in programs:
            return
        if path.startswith("/"):
            yield path
