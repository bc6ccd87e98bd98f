"""Which files of a tree use an MPI, and what they need of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .elfcache import ElfCache
from .families import C_ROLE, matches, tables
from .loader import LoadedObject, Tree
from .mpilib import MpiLibrary, identify, looks_like_mpi


@dataclass(frozen=True, slots=True)
class Need:
    """Symbols that a file (container path) needs of an MPI library of the image (its role)."""

    user: str
    role: str
    library: str
    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class Binding:
    """What a Fortran or C++ library of the image's MPI (container path) needs of its library of another role.

    Only for what the program calls: ``symbols`` must be there, ``used`` are those of them that calls may come
    to.
    """

    user: str
    role: str
    symbols: frozenset[str]
    used: frozenset[str]


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
    users = tuple(objects[at] for at in reachable(tree, stop=frozenset(libraries)) if at not in libraries)
    users = tuple(item for item in users if item.facts.soname not in tables().libc)
    theirs = frozenset[str]().union(*(elves.exports(item.host_path) for item in libraries.values()))
    own = frozenset[str]().union(*(elves.exports(item.host_path) & theirs for item in users))
    needs = []
    for user in users:
        undefined = (elves.undefined(user.host_path) & theirs) - own
        for library in libraries.values():
            symbols = undefined & elves.exports(library.host_path)
            if symbols:
                needs.append(Need(user.path, library.role, library.path, symbols))
                undefined -= symbols
    return tuple(needs), users


def bindings_of(
    elves: ElfCache,
    tree: Tree,
    libraries: dict[int, MpiLibrary],
    needs: tuple[Need, ...],
    *,
    at_once: bool,
) -> tuple[Binding, ...]:
    """What the Fortran and C++ libraries of an MPI need of its other libraries, to serve ``needs``.

    ``at_once``: nothing is bound only when it is called (LD_BIND_NOW).
    """
    internal = {sibling.role for sibling in tables().siblings if sibling.internal}
    above = {at: item for at, item in libraries.items() if item.role not in {C_ROLE, *internal}}
    called: dict[str, frozenset[str]] = {item.path: frozenset() for item in libraries.values()}
    for need in needs:
        called[need.library] |= need.symbols
    found: dict[tuple[int, int], Binding] = {}
    todo = list(above)
    while todo:
        at = todo.pop(0)
        library, path = above[at], tree.objects[at].host_path
        at_start, used = elves.reached(path, called[library.path])
        left = elves.undefined(path)
        wanted = left if at_once else at_start | used
        for place, other in libraries.items():
            exports = elves.exports(other.host_path)
            if place == at or not (names := left & wanted & exports):
                continue
            left -= names
            found[at, place] = Binding(library.path, other.role, names, names & used)
            if place in above and not names <= called[other.path]:
                called[other.path] |= names
                todo.append(place)
    return tuple(found.values())


def markers_of(
    elves: ElfCache, users: Iterable[LoadedObject], libraries: Iterable[MpiLibrary], family: str
) -> frozenset[str]:
    """The objects of the MPI's Fortran constants that the files which use it define themselves."""
    patterns = tables().families[family].markers
    names = frozenset(
        name for item in libraries for name in elves.exports(item.host_path) if matches(name, patterns)
    )
    return frozenset[str]().union(*(elves.exports(item.host_path) & names for item in users))


def copies_of(
    elves: ElfCache, program: LoadedObject, libraries: Iterable[MpiLibrary]
) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """The objects that a program copies out of libraries: their sizes in bytes, and the roles of these."""
    owners: dict[str, tuple[str, ...]] = {}
    if copied := elves.copies(program.host_path):
        for item in libraries:
            for name in copied.keys() & elves.exports(item.host_path):
                owners[name] = (*owners.get(name, ()), item.role)
    return {name: copied[name] for name in owners}, owners


def runtimes_of(users: Iterable[LoadedObject]) -> tuple[str, ...]:
    """The Fortran compilers' run-time libraries (sonames) that these need."""
    names = (name for user in users for name in user.facts.needed)
    return tuple(dict.fromkeys(name for name in names if tables().fortran_maker(name)))


def offered_by(elves: ElfCache, libraries: Iterable[MpiLibrary]) -> frozenset[str]:
    """All MPI functions of the C library among these."""
    for item in libraries:
        if item.role == C_ROLE:
            return elves.public(item.host_path)
    return frozenset()


def c_first(libraries: Iterable[MpiLibrary]) -> tuple[MpiLibrary, ...]:
    """MPI libraries with those of the C interface in front."""
    return tuple(sorted(libraries, key=lambda item: item.role != C_ROLE))


def reachable(tree: Tree, *, stop: frozenset[int]) -> list[int]:
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
