"""A container's file tree, seen from the host: paths are followed as a process in there would follow them.

Images are made by strangers.  A link ``libmpi.so -> /etc/shadow`` or ``-> ../../../../etc`` must lead to the
*container's* /etc, so no path of an image is ever handed to the host's kernel to be followed: each component
is looked at and each link taken by hand, and both absolute links and ``..`` stop at the root.
"""

from __future__ import annotations

import fnmatch
import os
import stat

# The kernel's own limit (MAXSYMLINKS); see path_resolution(7).
_MAX_LINKS = 40


def split_path(path: str) -> list[str]:
    """The components of a path, without empty ones and ``.``; ``..`` stays."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _steps(path: str) -> list[str]:
    """The components in the order in which a stack gives them; a slash at the end asks for a directory."""
    return [part for part in (path + "." if path.endswith("/") else path).split("/") if part][::-1]


class RootView:
    """The tree below ``root`` with host directories bound into it.  Reads; never executes, never writes.

    ``binds`` are pairs (container path, host path).  Answers are remembered: a view is for one decision.
    """

    def __init__(self, root: str, binds: tuple[tuple[str, str], ...] = ()) -> None:
        self.root = os.path.realpath(root)
        self._binds: dict[str, str] = {}
        self._above_binds: set[str] = set()
        self._modes: dict[str, int] = {}
        self._answers: dict[str, str | None] = {}
        for target, source in binds:
            place = "/" + "/".join(split_path(os.path.normpath("/" + target)))
            # Where the target runs through links, the kernel mounts at their end.
            place = self._follow(place, missing_ok=True) or place
            self._binds[place] = os.path.realpath(source)
            parts = split_path(place)
            self._above_binds.update("/" + "/".join(parts[:n]) for n in range(len(parts)))
            self._modes.clear()

    def resolve(self, path: str) -> str | None:
        """Container path -> host path of the real file; None if missing, unreadable or a loop of links."""
        real = self.canonical(path)
        return None if real is None else self._host(real)

    def canonical(self, path: str) -> str | None:
        """Container path -> container path of the real file, with every link taken; None as in `resolve`."""
        if path not in self._answers:
            self._answers[path] = self._follow(path, missing_ok=False)
        return self._answers[path]

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
        try:
            return tuple(sorted(os.listdir(host)))
        except OSError:
            return ()

    def expand(self, pattern: str) -> tuple[str, ...]:
        """What of the tree an absolute pattern with ``*`` names, sorted."""
        found = [""]
        for part in split_path(pattern):
            if "*" in part:
                names = ((base, self.names(base or "/")) for base in found)
                found = [f"{base}/{name}" for base, inside in names for name in fnmatch.filter(inside, part)]
            else:
                found = [f"{base}/{part}" for base in found]
        return tuple(path for path in found if self.canonical(path) is not None)

    def _host(self, real: str) -> str:
        """Host path of a container path that has no links."""
        if self._binds:
            place, rest = real, ""
            while place:
                if place in self._binds:
                    return self._binds[place] + rest
                place, rest = place[: place.rindex("/")], place[place.rindex("/") :] + rest
        if real == "/":
            return self.root
        return self.root + real if self.root != "/" else real

    def _mode(self, real: str) -> int:
        """st_mode of a container path without following it; 0 if there is nothing."""
        if real in self._modes:
            return self._modes[real]
        try:
            mode = os.lstat(self._host(real)).st_mode
        except OSError:
            # A mount point that launch will make, or a directory on the way to one.
            mode = stat.S_IFDIR if real in self._above_binds else 0
        self._modes[real] = mode
        return mode

    def _follow(self, path: str, *, missing_ok: bool) -> str | None:
        todo = _steps(path)
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == ".":
                continue
            if part == "..":
                del done[-1:]
                continue
            here = "/" + "/".join([*done, part])
            mode = self._mode(here)
            if stat.S_ISLNK(mode) and here not in self._binds:
                links += 1
                target = self._link_text(here)
                if links > _MAX_LINKS or target is None:
                    return None
                if target.startswith("/"):
                    done = []
                todo.extend(_steps(target))
                continue
            if not missing_ok and not (stat.S_ISDIR(mode) if todo else mode):
                return None
            done.append(part)
        return "/" + "/".join(done)

    def _link_text(self, real: str) -> str | None:
        try:
            return os.readlink(self._host(real))  # noqa: PTH115 - half the time of Path.readlink
        except OSError:
            return None
