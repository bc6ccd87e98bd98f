"""Which files use an MPI, and what they need of it: a program's tree, and what it is known to open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from .elfcache import ElfCache
from .families import C_ROLE, matches, tables
from .loader import LoadedObject, Tree
from .mpilib import MpiLibrary, identify, looks_like_mpi
from .rootfs import RootView


@dataclass(frozen=True, slots=True)
class Need:
    """Symbols that a file (container path) needs of an MPI library of the image (its role)."""

    user: str
    role: str
    library: str
    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A file that a program opens by itself: its container path, its tree, and the MPI libraries in that."""

    path: str
    tree: Tree
    mpi: dict[int, MpiLibrary]

    @property
    def family(self) -> str:
        """The family of the MPI that it was built for."""
        return next(item.family for item in self.mpi.values() if item.role == C_ROLE)


def mpi_in(elves: ElfCache, tree: Tree) -> dict[int, MpiLibrary]:
    """The MPI libraries of a tree, by position."""
    found = {}
    for position, item in enumerate(tree.objects):
        if position and looks_like_mpi(item.name, item.real, item.facts.soname):
            library = identify(elves, item.path, item.real, item.host_path)
            if library is not None:
                found[position] = library
    # A layer below MPI, or a tool above it, is no MPI alone.
    return found if any(item.role == C_ROLE for item in found.values()) else {}


def of_family(found: dict[int, MpiLibrary], family: str) -> dict[int, MpiLibrary]:
    """Those libraries that belong to a family; siblings belong to any."""
    return {at: replace(item, family=family) for at, item in found.items() if item.family in ("", family)}


def needs_of(
    elves: ElfCache, tree: Tree, libraries: dict[int, MpiLibrary]
) -> tuple[tuple[Need, ...], tuple[LoadedObject, ...]]:
    """What a tree needs of the MPI libraries in it (by position), and the objects that can need anything."""
    objects = tree.objects
    users = tuple(objects[at] for at in _reachable(tree, stop=frozenset(libraries)) if at not in libraries)
    users = tuple(item for item in users if item.facts.soname not in tables().libc)
    own = frozenset[str]().union(*(elves.exports(item.host_path) for item in users))
    needs = []
    for user in users:
        undefined = elves.undefined(user.host_path) - own
        for library in libraries.values():
            symbols = undefined & elves.exports(library.host_path)
            if symbols:
                needs.append(Need(user.path, library.role, library.path, symbols))
                undefined -= symbols
    return tuple(needs), users


def bindings_of(elves: ElfCache, tree: Tree, libraries: dict[int, MpiLibrary]) -> tuple[Need, ...]:
    """What the Fortran and C++ libraries of an MPI need of its other libraries."""
    internal = {sibling.role for sibling in tables().siblings if sibling.internal}
    found = []
    for at, library in libraries.items():
        if library.role in {C_ROLE, *internal}:
            continue
        undefined = elves.undefined(tree.objects[at].host_path)
        for other in libraries.values():
            symbols = undefined & elves.exports(other.host_path)
            if symbols:
                found.append(Need(library.path, other.role, other.path, symbols))
                undefined -= symbols
    return tuple(found)


def plugin_files(view: RootView, names: Collection[str] | None) -> Iterator[str]:
    """What a program opens by the table, if one of ``names`` is in it (None: whatever may be opened)."""
    seen = set()
    for row in tables().plugins:
        if names is not None and not any(matches(name, row.openers) for name in names):
            continue
        for path in (found for pattern in row.files for found in view.expand(pattern)):
            real = view.canonical(path)
            if real not in seen and view.is_file(path):
                seen.add(real)
                yield path


def c_first(libraries: Iterable[MpiLibrary]) -> tuple[MpiLibrary, ...]:
    """MPI libraries with those of the C interface in front."""
    return tuple(sorted(libraries, key=lambda item: item.role != C_ROLE))


def _reachable(tree: Tree, *, stop: frozenset[int]) -> list[int]:
    """Positions of what is loaded also without following the needs of ``stop``."""
    todo, seen = [0], [0]
    while todo:
        position = todo.pop(0)
        if position in stop:
            continue
        for needed in tree.objects[position].needs:
            if needed not in seen:
                seen.append(needed)
                todo.append(needed)
    return seen
