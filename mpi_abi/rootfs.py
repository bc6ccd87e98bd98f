"""A container's file tree, seen from the host: paths are followed as a process in there would follow them.

Images are made by strangers.  A link ``libmpi.so -> /etc/shadow`` or ``-> ../../../../etc`` must lead to the
*container's* /etc, so no path of an image is ever handed to the host's kernel to be followed: each component
is looked at and each link taken by hand, and both absolute links and ``..`` stop at the root.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from errno import ENOENT, ENOTDIR
from pathlib import Path

from .errors import AbiError
from .guards import Recorder

# The kernel's own limit (MAXSYMLINKS); see path_resolution(7).
_MAX_LINKS = 40
_MOST_ANSWERS = 50_000
"""Paths that are remembered; who asks for more than that is asked by a damaged or hostile file."""


def split_path(path: str) -> list[str]:
    """The components of a path, without empty ones and ``.``; ``..`` stays."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _steps(path: str) -> list[str]:
    """The components in the order in which a stack gives them; a slash at the end asks for a directory."""
    return [part for part in (path + "." if path.endswith("/") else path).split("/") if part][::-1]


@dataclass(frozen=True, slots=True)
class _Walk:
    """One path, followed: ``real`` is None where it leads nowhere, and ``lost`` then where it ends.

    ``turns`` are the links taken and the directories left by ``..``.  ``plain`` says that the host's kernel
    would have gone the same way from the root, along ``asked``: the path's own parts up to the end or to the
    place where it is lost.
    """

    real: str | None
    lost: str
    turns: tuple[str, ...]
    plain: bool
    asked: str


class RootView:
    """The tree below ``root`` with host directories bound into it.  Reads; never executes, never writes.

    ``binds`` are pairs (container path, host path).  Answers are remembered: a view is for one decision.
    What the answers depend on is left with ``recorder``.  A ``sealed`` root is that of a file, which whoever
    asks guards as a whole: what is in it leaves no guards.  It may be a path of /proc/self/fd; ``name`` is
    what messages call it.
    """

    def __init__(
        self,
        root: str,
        binds: tuple[tuple[str, str], ...] = (),
        *,
        recorder: Recorder | None = None,
        sealed: bool = False,
        name: str = "",
    ) -> None:
        self.root = root if sealed else os.path.realpath(root)
        self.name = name or self.root
        self.sealed = sealed
        self.recorder = recorder
        # As it was named: a guard of what lies behind a link must notice when that leads elsewhere.
        self._named = os.path.abspath(root).rstrip("/")  # noqa: PTH100
        self._binds: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._above_binds: set[str] = set()
        self._seen: dict[str, os.stat_result | None] = {}
        self._walks: dict[str, _Walk] = {}
        self._listed: dict[str, tuple[str, ...]] = {}
        self._guarded: set[str] = set()
        for target, source in binds:
            place = "/" + "/".join(split_path(os.path.normpath("/" + target)))
            # Where the target runs through links, the kernel mounts at their end.
            place = self._follow(place, missing_ok=True).real or place
            self._binds[place] = os.path.realpath(source)
            self._sources[place] = source.rstrip("/")
            parts = split_path(place)
            self._above_binds.update("/" + "/".join(parts[:n]) for n in range(len(parts)))
            self._seen.clear()

    def alone(self) -> RootView:
        """The root itself, without binds, for questions that leave no guards."""
        return RootView(self.root, sealed=self.sealed, name=self.name)

    def covered(self, covers: Iterable[tuple[str, str]]) -> RootView:
        """The same tree with more of the host's (container path, host path) on top; no guards."""
        binds = (*self._sources.items(), *covers)
        return RootView(self.root, binds, sealed=self.sealed, name=self.name)

    def resolve(self, path: str) -> str | None:
        """Container path -> host path of the real file; None if missing, unreadable or a loop of links."""
        real = self.canonical(path)
        return None if real is None else self._host(real)

    def canonical(self, path: str) -> str | None:
        """Container path -> container path of the real file, with every link taken; None as in `resolve`."""
        walk = self._walk(path)
        if self.recorder is not None and path not in self._guarded:
            self._guarded.add(path)
            self._record(self.recorder, walk)
        return walk.real

    def exists(self, path: str) -> bool:
        """Whether the path leads to anything; unlike `canonical`, its content is of no interest."""
        walk = self._walk(path)
        if self.recorder is not None and path not in self._guarded:
            self._record(self.recorder, walk, content=False)
        return walk.real is not None

    def is_endless(self, path: str) -> bool:
        """Whether the path is a loop of links; asked after `canonical`, which leaves the guard."""
        walk = self._walk(path)
        return walk.real is None and not walk.lost

    def is_bound(self, real: str) -> bool:
        """Whether a container path without links is the host's, by a bind."""
        return bool(self._bind_of(real))

    def identity(self, real: str) -> tuple[int, int]:
        """Device and inode of a file by its real container path: two names of one file have the same."""
        status = self._status(real)
        return (status.st_dev, status.st_ino) if status else (0, 0)

    def watch(self, path: str) -> None:
        """Guard the names in a directory that is to be listed or searched.

        Not in what is bound: a user's directories change all the time, and there each name is guarded alone.
        """
        walk = self._walk(path)
        if self.recorder is None or walk.real is None or self._bind_of(walk.real) or self.sealed:
            return
        status = self._status(walk.real)
        if status is not None:
            self._record_turns(self.recorder, walk)
            self.recorder.same(self._guard_path(walk), status)

    def guard(self, real: str, status: os.stat_result) -> None:
        """Guard what is at a container path without links, which whoever walks has asked for its status."""
        if self.recorder is not None and not self._is_sealed(real):
            self.recorder.same(self._guarded_place(real), status)

    def link_text(self, path: str) -> str | None:
        """What a symbolic link at a path without links on the way says; None where there is no link."""
        return self._link_text(path)

    def is_dir(self, path: str) -> bool:
        """Whether the path leads to a directory."""
        real = self.canonical(path)
        return real is not None and stat.S_ISDIR(self._mode(real))

    def is_file(self, path: str) -> bool:
        """Whether the path leads to a regular file."""
        real = self.canonical(path)
        return real is not None and stat.S_ISREG(self._mode(real))

    def names(self, path: str) -> tuple[str, ...]:
        """Names in a directory, sorted; none if it cannot be read."""
        host = self.resolve(path)
        if host is None:
            return ()
        if self.recorder is not None:
            self._list(self.recorder, path)
        if host not in self._listed:
            try:
                self._listed[host] = tuple(sorted(os.listdir(host)))
            except OSError:
                self._listed[host] = ()
        return self._listed[host]

    def expand(self, pattern: str) -> tuple[str, ...]:
        """What of the tree an absolute pattern with ``*`` names, sorted."""
        found = [""]
        for part in split_path(pattern):
            if "*" in part:
                names = ((base, self.names(base or "/")) for base in found)
                found = [f"{base}/{name}" for base, inside in names for name in fnmatch.filter(inside, part)]
            else:
                found = [f"{base}/{part}" for base in found]
        return tuple(path for path in found if self.exists(path))

    # -- places ----------------------------------------------------------------------------------------------

    def _bind_of(self, real: str) -> str:
        """The place of the innermost bind that holds a container path without links, or ""."""
        place = real if self._binds else ""
        while place and place not in self._binds:
            place = place[: place.rindex("/")]
        return place

    def _host(self, real: str) -> str:
        """Host path of a container path that has no links."""
        if place := self._bind_of(real):
            return self._binds[place] + real[len(place) :]
        if real == "/":
            return self.root
        return self.root + real if self.root != "/" else real

    def _status(self, real: str) -> os.stat_result | None:
        """What lstat(2) says of a container path; None if there is nothing."""
        if real not in self._seen:
            try:
                self._seen[real] = os.lstat(self._host(real))
            except OSError as error:
                self._seen[real] = None
                missing = error.errno in (ENOENT, ENOTDIR)
                if self.recorder is not None and not missing and not self._is_sealed(real):
                    self.recorder.forbid(f"{self._host(real)}: {error.strerror}")
        return self._seen[real]

    def _mode(self, real: str) -> int:
        """st_mode of a container path without following it; 0 if there is nothing."""
        status = self._status(real)
        if status is not None:
            return status.st_mode
        # A mount point that launch will make, or a directory on the way to one.
        return stat.S_IFDIR if real in self._above_binds else 0

    def _walk(self, path: str) -> _Walk:
        if path not in self._walks:
            if len(self._walks) > _MOST_ANSWERS:
                self._walks.clear()
                self._seen.clear()
            self._walks[path] = self._follow(path, missing_ok=False)
        return self._walks[path]

    def _follow(self, path: str, *, missing_ok: bool) -> _Walk:
        todo = [(part, True) for part in _steps(path)]
        done: list[str] = []
        turns: list[str] = []
        links = 0
        asked = ""
        host = self.root == "/"
        plain = True
        while todo:
            part, own = todo.pop()
            asked += f"/{part}" if own else ""
            if part == ".":
                continue
            if part == "..":
                plain = plain and (host or bool(done))
                turns += ["/" + "/".join(done)] if done else []
                del done[-1:]
                continue
            here = "/" + "/".join([*done, part])
            mode = self._mode(here)
            plain = plain and here not in self._binds and (mode == 0 or self._seen[here] is not None)
            if stat.S_ISLNK(mode) and here not in self._binds:
                turns.append(here)
                links += 1
                target = self._link_text(here)
                if links > _MAX_LINKS or target is None:
                    return _Walk(None, "", tuple(turns), plain=False, asked=asked)
                if target.startswith("/"):
                    plain = plain and host
                    done = []
                todo.extend((step, False) for step in _steps(target))
                continue
            if not missing_ok and not (stat.S_ISDIR(mode) if todo else mode):
                return _Walk(None, here, tuple(turns), plain=plain and own, asked=asked)
            done.append(part)
        return _Walk("/" + "/".join(done), "", tuple(turns), plain=plain, asked=asked)

    def _link_text(self, real: str) -> str | None:
        try:
            return os.readlink(self._host(real))  # noqa: PTH115 - half the time of Path.readlink
        except OSError:
            return None

    # -- guards ----------------------------------------------------------------------------------------------

    def _is_sealed(self, real: str) -> bool:
        """Whether what is at a container path without links cannot change while the image's file does not."""
        return self.sealed and not self._bind_of(real)

    def _guard_path(self, walk: _Walk) -> str:
        """The host path to guard: as asked where the kernel goes the same way, else behind all links."""
        if walk.plain:
            return self._named + walk.asked or "/"
        return self._guarded_place(walk.real or walk.lost)

    def _record_turns(self, recorder: Recorder, walk: _Walk) -> None:
        """Guard each turn of the way, unless one question to the kernel covers them all."""
        for turn in () if walk.plain else walk.turns:
            if self._is_sealed(turn):
                continue
            status, path = self._status(turn), self._guarded_place(turn)
            if status is not None and stat.S_ISLNK(status.st_mode):
                recorder.link(path, status)
            elif status is not None:
                recorder.there(f"{path}/.")

    def _guarded_place(self, real: str) -> str:
        """Host path of a container path without links, by the names that root and binds were given by."""
        place = self._bind_of(real)
        return (self._sources[place] + real[len(place) :] if place else self._named + real) or "/"

    def _record(self, recorder: Recorder, walk: _Walk, *, content: bool = True) -> None:
        self._record_turns(recorder, walk)
        if self._is_sealed(walk.real or walk.lost):
            return
        guard = self._guard_path(walk)
        status = self._status(walk.real or walk.lost) if walk.real or walk.lost else None
        if walk.real is None and walk.lost and status is None:
            # Only the first thing that is missing: behind it, the kernel might follow a link out of the root.
            recorder.absent(guard)
        if status is None:
            return  # or a mount point yet to be made
        if content and stat.S_ISREG(status.st_mode):
            recorder.same(guard, status)
            # Who asks again by the real path learns nothing new.
            self._guarded.add(walk.real or walk.lost)
        else:
            # With the dot, a file in the place of a directory is noticed.
            recorder.there(f"{guard}/." if stat.S_ISDIR(status.st_mode) else guard)

    def _list(self, recorder: Recorder, path: str) -> None:
        walk = self._walk(path)
        status = self._status(walk.real) if walk.real else None
        if status is not None and not self._is_sealed(walk.real or ""):
            recorder.same(self._guard_path(walk), status)


Opener = Callable[[str], AbstractContextManager[RootView]]
"""Opens an image by its name, to be read until the context ends.  Raises AbiError where it cannot."""


@contextmanager
def open_directory(name: str) -> Iterator[RootView]:
    """Open an image that is a directory: the `Opener` of this package alone, which mounts nothing."""
    if not Path(name).is_dir():
        what = "is not a directory" if Path(name).exists() else "does not exist"
        raise AbiError(
            f"the image {name} {what}",
            hint="give the directory of an unpacked image; only `bareboat` opens squashfs files, too",
        )
    yield RootView(name)
