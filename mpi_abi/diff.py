"""What of one MPI another does not have: for a site that is about to upgrade.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .families import matches, tables
from .mpilib import MpiLibrary
from .sides import Side


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one interface (its role) that only one side has, sorted."""

    role: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resized:
    """A data object whose sizes differ, in bytes; of a ``marker`` only the address counts."""

    name: str
    before: int
    after: int
    marker: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """From one MPI to another.

    ``dropped`` are the libraries of interfaces that the other has not, whose names are in no other list;
    ``lost`` and ``gained`` the names that programs use; ``internal`` counts further names that went.
    ``renamed`` are pairs of sonames that differ.
    """

    before: MpiLibrary
    after: MpiLibrary
    dropped: tuple[MpiLibrary, ...]
    added: tuple[MpiLibrary, ...]
    lost: tuple[Names, ...]
    gained: tuple[Names, ...]
    internal: int
    resized: tuple[Resized, ...]
    renamed: tuple[tuple[str, str], ...]

    @property
    def other_values(self) -> bool:
        """Whether handles and constants are not known to be the same, so that nothing else matters."""
        return self.before.family != self.after.family or self.before.values != self.after.values

    @property
    def loses(self) -> bool:
        """Whether a program may use something of the one that the other has not."""
        resized = any(not item.marker for item in self.resized)
        return self.other_values or bool(self.dropped or self.lost) or resized


def pair(before: Iterable[Side], after: Iterable[Side]) -> tuple[Side, Side]:
    """The first MPI of each side that are of one kind, else the first of each.

    Both must hold one at least.
    """
    ours, theirs = tuple(before), tuple(after)
    for same in (_kind, _family):
        for one in ours:
            for other in theirs:
                if same(one) == same(other):
                    return one, other
    return ours[0], theirs[0]


def compare(before: Side, after: Side) -> Difference:
    """What is lost, and what is gained, by taking ``after`` in the place of ``before``."""
    old = {item.role: item for item in before.libraries}
    new = {item.role: item for item in after.libraries}
    internal = {sibling.role for sibling in tables().siblings if sibling.internal}
    # A name counts wherever it is: Open MPI has moved some between its libraries.
    there, here = _all(after.exports), _all(before.exports)
    shared = [role for role in old if role in new]
    gone = {role: before.exports[role] - there for role in shared}
    come = {role: after.exports[role] - here for role in shared}
    lost = {role: _public(names, before.objects) for role, names in gone.items()}
    gained = {role: _public(names, after.objects) for role, names in come.items()}
    return Difference(
        before=before.c_library,
        after=after.c_library,
        dropped=tuple(item for role, item in old.items() if role not in new and role not in internal),
        added=tuple(item for role, item in new.items() if role not in old and role not in internal),
        lost=tuple(Names(role, names) for role, names in lost.items() if names),
        gained=tuple(Names(role, names) for role, names in gained.items() if names),
        internal=sum(len(names) for names in gone.values()) - sum(len(names) for names in lost.values()),
        resized=tuple(_resized(before, after)),
        renamed=tuple(
            (old[role].soname, new[role].soname)
            for role in shared
            if role not in internal and old[role].soname != new[role].soname
        ),
    )


def _kind(side: Side) -> tuple[str, str]:
    return side.c_library.family, side.c_library.values


def _family(side: Side) -> str:
    return side.c_library.family


def _all(exports: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*exports.values())


def _public(names: Iterable[str], objects: Mapping[str, int]) -> tuple[str, ...]:
    """The names that compilers put into programs: functions of the standard, and the data of its headers."""
    public, data = tables().public, tables().public_objects
    return tuple(
        sorted(name for name in names if matches(name, public) or (name in objects and matches(name, data)))
    )


def _resized(before: Side, after: Side) -> Iterable[Resized]:
    markers = tables().families[before.c_library.family].markers
    public = (*tables().public, *tables().public_objects)
    for name, size in sorted(before.objects.items()):
        other = after.objects.get(name, size)
        if other != size and matches(name, public):
            yield Resized(name, size, other, matches(name, markers))
