"""Where an image's MPI can be when no program names it: the loader's table and directories, known places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .elfcache import file_machine
from .errors import AbiError
from .families import C_ROLE, tables
from .loader import Loader
from .mpilib import MpiLibrary, identify, looks_like_mpi
from .rootfs import RootView


def search(loader: Loader, library_path: str) -> Iterator[MpiLibrary]:
    """All MPI libraries of an image, each file once, in the order in which its loader would prefer them.

    ``library_path`` is the container's LD_LIBRARY_PATH.  Siblings belong to the C library that they need.
    Files that cannot be read are passed over where there is an MPI beside them; else raises AbiError.
    """
    libraries: dict[str, MpiLibrary] = {}
    bad: list[AbiError] = []
    for path in _paths(loader, library_path):
        real, host = loader.view.canonical(path), loader.view.resolve(path)
        if real is None or host is None or real in libraries or not loader.view.is_file(path):
            continue
        try:
            if file_machine(host, shown=path) != loader.machine:
                continue
            library = identify(loader.elves, path, real, host)
        except AbiError as error:
            bad.append(error)
            continue
        if library is not None:
            libraries[real] = library
    if bad and not any(item.role == C_ROLE for item in libraries.values()):
        raise bad[0]
    owners = {
        name: item.family for item in libraries.values() if item.role == C_ROLE for name in _names(item)
    }
    for library in libraries.values():
        if library.family:
            yield library
            continue
        needed = loader.elves.facts(library.host_path).needed
        family = next((owners[name] for name in needed if name in owners), "")
        if family:
            yield replace(library, family=family)


def _names(library: MpiLibrary) -> set[str]:
    return {library.soname, *(path.rpartition("/")[2] for path in (library.path, library.real))}


def _paths(loader: Loader, library_path: str) -> Iterator[str]:
    yield from _in_dirs(
        loader.view, [part for part in re.split("[:;]", library_path) if part.startswith("/")]
    )
    for name, entries in loader.cache.items():
        if looks_like_mpi(name):
            yield from (path for path, _ in entries)
    if not loader.cache:
        yield from _in_dirs(loader.view, loader.default_dirs)
    for pattern in tables().image_dirs:
        yield from _in_dirs(loader.view, loader.view.expand(pattern))


def _in_dirs(view: RootView, folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        yield from (f"{folder}/{name}" for name in view.names(folder) if looks_like_mpi(name))
