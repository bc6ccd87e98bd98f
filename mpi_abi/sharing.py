"""Which copy of a library serves, the image's or the host's.  Pure.

Everything that the host's MPI needs could be brought along, but a library that is loaded once serves the
program too: an older libstdc++ from the host would end programs that are newer than it.  So the image keeps
its copy where that has all the closure asks for; what must be brought must have all the program asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .closure import Closure, ClosureFile
from .copies import SharedLibrary
from .families import tables
from .host import HostMpi
from .image import ImageMpiFacts
from .loader import Found


@dataclass(frozen=True, slots=True)
class Kept:
    """A library of the closure that the image's copy stands in for."""

    file: ClosureFile
    image_path: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A library that program and closure need differently: ``lacking`` is what the host's copy has not."""

    file: ClosureFile
    image_path: str
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sharing:
    """The closure's files: brought from the host, kept from the image, and those that fit neither way."""

    brought: tuple[ClosureFile, ...]
    kept: tuple[Kept, ...]
    conflicts: tuple[Conflict, ...]


def share(image: ImageMpiFacts, host: HostMpi, closure: Closure) -> Sharing:
    """Divide a closure between host and image.

    A library of the image is kept if every copy that could be loaded is at least as new by its file's numbers
    and has the symbol versions (or, without versions, the symbols) that the closure needs.  What only a kept
    library needs stays behind with it, and so does a host library for a language that the image has none for.
    """
    by_soname = {item.soname: item for item in closure.files if not item.plugin}
    kept: dict[str, Kept] = {}
    for item in closure.files:
        copies = [copy for copy in image.shared if copy.soname == item.soname]
        if item.shared and copies and all(_serves(copy, item, closure) for copy in copies):
            kept[item.soname] = Kept(item, copies[0].path)
    roles = {item.role for item in image.mpi}
    covering = {item.real for item in host.libraries if item.role in roles}
    roots = [item for item in closure.files if item.plugin or item.path in covering]
    brought: dict[str, ClosureFile] = {}
    todo = [item for item in roots if not _left_behind(item, kept)]
    while todo:
        item = todo.pop(0)
        if item.path in brought or item.soname in kept:
            continue
        brought[item.path] = item
        todo += [by_soname[name] for name in item.needed if name in by_soname]
    conflicts = tuple(
        Conflict(brought_file, copy.path, lacking)
        for brought_file in brought.values()
        for copy in image.shared
        if copy.soname == brought_file.soname
        for lacking in [_lacking(copy, brought_file)]
        if lacking
    )
    return Sharing(tuple(brought.values()), tuple(kept.values()), conflicts)


def _left_behind(item: ClosureFile, kept: dict[str, Kept]) -> bool:
    """Whether a plugin belongs to a library that stays the image's, which opens its own plugins."""
    group = next((group for group in tables().groups if group.name == item.group), None)
    return item.plugin and group is not None and group.shared and group_is_kept(item.group, kept.values())


def group_is_kept(group: str, kept: Iterable[Kept]) -> bool:
    """Whether the image's copy serves for a shared group (hwloc)."""
    return any(item.file.group == group for item in kept)


def _serves(copy: SharedLibrary, item: ClosureFile, closure: Closure) -> bool:
    if copy.file_version < item.file_version:
        return False
    if item.versions_defined:
        needed = frozenset[str]().union(
            *(user.versions_needed.get(item.soname, ()) for user in closure.files)
        )
        return needed <= copy.versions
    return item.wanted <= copy.exports


def _lacking(copy: SharedLibrary, item: ClosureFile) -> tuple[str, ...]:
    """What the program needs of a library and the host's copy does not have."""
    has = item.versions_defined if copy.versions else item.exports
    return tuple(sorted(copy.required - has))


def loaded_by_path(how: Found) -> bool:
    """Whether a library was found by a rule that comes before LD_LIBRARY_PATH."""
    return how in (Found.RPATH, Found.PATH)
