"""What programs open at run time that uses MPI, by ``plugins.toml``, and what that needs of its MPI."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .elfcache import ElfCache
from .errors import AbiError
from .families import C_ROLE, matches, tables
from .files import read_start
from .loader import LoadedObject, Loader, Tree
from .mpilib import MpiLibrary, looks_like_mpi
from .rootfs import RootView
from .users import Need, mpi_in, needs_of, of_family

Follow = Callable[[tuple[LoadedObject, ...], str], bool]
"""As `Loader.load` has it."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A file that a program opens by itself: its container path, its tree, and the MPI libraries in that.

    ``adapts`` is as in `PluginRow`; such a file may find its MPI only because the program has opened that.
    """

    path: str
    tree: Tree
    mpi: dict[int, MpiLibrary]
    adapts: str = ""

    @property
    def family(self) -> str:
        """The family of the MPI that it was built for."""
        found = (item.family for item in self.mpi.values() if item.role == C_ROLE)
        return next(found, self.adapts)


def plugin_files(view: RootView, names: Collection[str] | None) -> Iterator[tuple[str, str]]:
    """What a program opens by the table, if one of ``names`` is in it (None: whatever may be opened).

    Each with the family that it is for, "" if it is opened in any case.
    """
    seen = set()
    for row in tables().plugins:
        if names is not None and not any(matches(name, row.openers) for name in names):
            continue
        for path in (found for pattern in row.files for found in view.expand(pattern)):
            real = view.canonical(path)
            if real not in seen and view.is_file(path):
                seen.add(real)
                yield path, row.adapts


def find_plugins(loader: Loader, names: Collection[str] | None, *, follow: Follow | None) -> list[Plugin]:
    """The files that use MPI among those that a program opens by the table; ``names`` as for `plugin_files`.

    ``follow`` is for `Loader.load`.
    """
    found = []
    for path, adapts in plugin_files(loader.view, names):
        # What cannot be loaded cannot be opened either.
        with suppress(AbiError):
            tree = loader.load(path, follow=follow, preload=False)
            mpi = mpi_in(loader.elves, tree)
            if mpi or adapts:
                found.append(Plugin(path, tree, mpi, adapts))
    return found


def opened_alone(loader: Loader, tree: Tree) -> Plugin | None:
    """A file that adapts, judged by itself: who opens it has opened its MPI before.  None if it is none."""
    real = tree.objects[0].real
    rows = (row for row in tables().plugins if row.adapts)
    for row in rows:
        paths = (path for pattern in row.files for path in loader.view.expand(pattern))
        if any(loader.view.canonical(path) == real for path in paths):
            return Plugin(tree.objects[0].path, tree, {}, row.adapts)
    return None


def plugin_needs(
    elves: ElfCache, plugin: Plugin, library: MpiLibrary
) -> tuple[tuple[Need, ...], tuple[LoadedObject, ...]]:
    """What a file needs of its MPI, and the objects that can need anything (as `needs_of`).

    ``library`` is the MPI for a file that adapts, whose own tree shows none: then the names tell.
    """
    if plugin.mpi:
        return needs_of(elves, plugin.tree, of_family(plugin.mpi, plugin.family))
    objects = plugin.tree.objects
    names = elves.undefined(objects[0].host_path)
    for item in objects[1:]:
        names -= elves.exports(item.host_path)
    public = (*tables().public, *tables().public_objects)
    symbols = frozenset(name for name in names if matches(name, public))
    return (Need(plugin.path, C_ROLE, library.path, symbols),), objects[:1]


def asked_names(plugin: Plugin) -> tuple[str, ...]:
    """The names by which a file wants an MPI that nothing in the image finds for it."""
    return tuple(item.name for item in plugin.tree.missing if looks_like_mpi(item.name))


def adapts_to(plugins: Sequence[Plugin]) -> tuple[str, ...]:
    """The families of which a program takes the one that it finds; () if it opens what does not adapt."""
    if not all(each.adapts for each in plugins):
        return ()
    return tuple(dict.fromkeys(each.adapts for each in plugins))


def read_shebang(host_path: str) -> list[str]:
    """The words of a script's first line: its interpreter, and what that is given."""
    match = re.match(rb"#!([^\n\0]*)", read_start(host_path, 256))
    return match.group(1).decode("utf-8", "surrogateescape").split() if match else []
