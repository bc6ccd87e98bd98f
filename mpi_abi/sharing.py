"""Which copy of a library serves, the image's or the host's.  Pure.

Everything that the host's MPI needs could be brought along, but a library that is loaded once serves the
program too: an older libstdc++ from the host would end programs that are newer than it.  So the image keeps
its copy where that has all the closure asks for; what must be brought must have all the program asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from .closure import Closure, ClosureFile
from .copies import HostPaths, SharedLibrary
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
    kept: dict[str, Kept] = {}
    by_soname: dict[str, list[SharedLibrary]] = {}
    for copy in image.shared:
        by_soname.setdefault(copy.soname, []).append(copy)
    for item in closure.files:
        copies = by_soname.get(item.soname)
        if item.shared and copies and all(_serves(copy, item, closure) for copy in copies):
            kept[item.soname] = Kept(item, copies[0].path)
    brought = _reach(image, host, closure, stop=set(kept), left=lambda item: _left_behind(item, kept))
    conflicts = tuple(
        Conflict(brought_file, copy.path, lacking)
        for brought_file in brought.values()
        for copy in by_soname.get(brought_file.soname, ())
        for lacking in [_lacking(copy, brought_file)]
        if lacking
    )
    return Sharing(tuple(brought.values()), tuple(kept.values()), conflicts)


def asked_of_image(image: ImageMpiFacts, host: HostMpi, closure: Closure) -> frozenset[str]:
    """The sonames that ``share`` and the verdict ask of the image, as far as its known copies tell.

    For who reads only what matters: the copies of these are to be added to the facts, and the question asked
    again, until nothing new comes.
    """
    known = {copy.soname for copy in image.shared}
    kept = {item.file.soname: item for item in share(image, host, closure).kept}
    open_ones = {item.soname for item in closure.files if item.shared and item.soname not in known}
    undecided = {file.group for file in closure.files if file.soname in open_ones and not file.plugin}

    def left(item: ClosureFile) -> bool:
        return item.plugin and (item.group in undecided or _left_behind(item, kept))

    brought = _reach(image, host, closure, stop={*kept, *open_ones}, left=left)
    names = {name for item in brought.values() for name in (*item.needed, *item.versions_needed)}
    # What is brought in any case: the program may use it as well, or find the image's by an RPATH.
    certain = {item.soname for item in brought.values() if not item.plugin}
    if not any(item.facts.rpath for item in image.tree.objects):
        certain &= {item.facts.soname for item in image.tree.objects}
    return frozenset(names & (open_ones | known | tables().libc) | certain)


def host_paths(image: ImageMpiFacts, host: HostMpi, closure: Closure, private_dir: str) -> HostPaths:
    """Where in the container the RPATHs of what comes from the host lead, and for which names.

    The MPI's own libraries lie in the place of the image's there, the others in ``private_dir``.
    """
    brought = [item for item in share(image, host, closure).brought if not item.plugin]
    places = {item.path: [f"{private_dir}/lib"] for item in brought}
    for item in image.mpi:
        replacement = host.library(item.role)
        if replacement is not None and replacement.real in places:
            # The loader expands $ORIGIN by the path at which it found the file, which may be a link.
            places[replacement.real] += [path.rpartition("/")[0] for path in (item.path, item.real)]
    lists = [(place, item.rpath) for item in brought if item.rpath for place in places[item.path]]
    return HostPaths(tuple(dict.fromkeys(lists)), frozenset(item.soname for item in brought))


def used_too(image: ImageMpiFacts) -> frozenset[str]:
    """The sonames of libraries that the program needs something of, and a host's MPI perhaps as well."""
    return frozenset(copy.soname for copy in image.shared if copy.required)


def _reach(
    image: ImageMpiFacts,
    host: HostMpi,
    closure: Closure,
    *,
    stop: Collection[str],
    left: Callable[[ClosureFile], bool],
) -> dict[str, ClosureFile]:
    """What comes from the host, by path: what the covering libraries and the plugins need up to ``stop``."""
    by_soname = {item.soname: item for item in closure.files if not item.plugin}
    roles = {item.role for item in image.mpi}
    covering = {item.real for item in host.libraries if item.role in roles}
    roots = [item for item in closure.files if item.plugin or item.path in covering]
    brought: dict[str, ClosureFile] = {}
    todo = [item for item in roots if not left(item)]
    while todo:
        item = todo.pop(0)
        if item.path in brought or item.soname in stop:
            continue
        brought[item.path] = item
        todo += [by_soname[name] for name in item.needed if name in by_soname]
    return brought


def _left_behind(item: ClosureFile, kept: dict[str, Kept]) -> bool:
    """Whether a plugin belongs to a library that stays the image's, which opens its own plugins."""
    if not item.plugin or not group_is_kept(item.group, kept.values()):
        return False
    return any(group.shared for group in tables().groups if group.name == item.group)


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
    """What the program needs of a library and the host's copy does not have (`with_exports`)."""
    if not copy.versions and not item.exports:
        return ()
    has = item.versions_defined if copy.versions else item.exports
    return tuple(sorted(copy.required - has))


def loaded_by_path(how: Found) -> bool:
    """Whether a library was found by a rule that comes before LD_LIBRARY_PATH."""
    return how in (Found.RPATH, Found.PATH)
