"""The site's stores of squashfs images: which there are, and whether the plugin will use them.

The rules are those of slurm/spank/store.c, which alone decides in a step; this says it beforehand.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STORE = "/var/lib/bareboat/store"
STORE_HINT = "a store is a directory of root's, and so is each above it, writable by nobody else"
_ARGUMENT = "store="


@dataclass(frozen=True, slots=True)
class Component:
    """A directory on the way to a store, or the store: owner, and st_mode of lstat(2), 0 if missing."""

    path: str
    uid: int
    mode: int


def named_stores(arguments: Iterable[str]) -> tuple[str, ...]:
    """The stores that the plugin's arguments name; where there are none, `DEFAULT_STORE` is one.  Pure."""
    return tuple(argument.removeprefix(_ARGUMENT) for argument in arguments if argument.startswith(_ARGUMENT))


def look_at_store(store: str) -> tuple[Component, ...]:
    """Each component on the way from / to the store, up to the first that is missing or no directory."""
    found: list[Component] = []
    path = Path(store)
    for part in (*reversed(path.parents), path):
        try:
            status = part.lstat()
        except OSError:
            return (*found, Component(str(part), 0, 0))
        found.append(Component(str(part), status.st_uid, status.st_mode))
        if not stat.S_ISDIR(status.st_mode):
            break
    return tuple(found)


def judge_store(store: str, components: Iterable[Component]) -> str:
    """Say why the plugin will have no image of the store mounted; "" if it will.  Pure."""
    plain = "/" + "/".join(part for part in store.split("/") if part not in {"", ".", ".."})
    if not store.startswith("/") or plain != (store.rstrip("/") or "/"):
        return "it is not an absolute path without //, . and .."
    for component in components:
        if not component.mode:
            return f"{component.path} does not exist, or cannot be looked at"
        if stat.S_ISLNK(component.mode):
            return f"{component.path} is a link"
        if not stat.S_ISDIR(component.mode):
            return f"{component.path} is not a directory"
        if component.uid != 0 or component.mode & 0o022 or not component.mode & stat.S_IXOTH:
            return f"{component.path} is of user {component.uid}, mode {stat.S_IMODE(component.mode):04o}"
    return ""
