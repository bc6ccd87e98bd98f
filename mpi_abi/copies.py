"""The image's copies of libraries that a host's closure may use instead of the host's own.  Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from .families import file_version, stem, tables
from .loader import Found, LoadedObject, Loader, Tree


@dataclass(frozen=True, slots=True)
class SharedLibrary:
    """One copy, by the path at which the loader finds it, and by which rule.

    ``exports`` is read only of libraries without symbol versions; ``required`` is what the program's tree
    needs of it, as symbol versions or, without such, as names.
    """

    soname: str
    path: str
    real: str
    how: Found
    file_version: tuple[int, ...]
    versions: frozenset[str]
    exports: frozenset[str]
    required: frozenset[str]


def find_copies(
    loader: Loader,
    tree: Tree,
    users: tuple[LoadedObject, ...],
    replaced: Collection[str],
    names: Collection[str] | None,
) -> Iterator[SharedLibrary]:
    """The program's own copies, and what a search finds.

    ``users`` are the objects of the tree whose needs count, ``replaced`` the real paths of the image's MPI;
    ``names`` the sonames that are asked for, None for all that the tables know.
    """
    stems = tables().shared if names is None else {stem(name) for name in names} & tables().shared
    # Of what comes from the host in any case, the program's own copy alone matters.
    own = {name for group in tables().groups for name in group.libraries} if names is None else frozenset()
    seen: set[str] = set()
    for item in tree.objects:
        soname = item.facts.soname
        wanted = stem(soname) in stems or stem(soname) in own or (names is not None and soname in names)
        if wanted and soname not in tables().libc and item.real not in replaced:
            seen.add(item.host_path)
            yield _copy(loader, item.facts.soname, item.path, item.how, users)
    for name in _candidates(loader) if names is None else sorted(names):
        if ".so." not in name or stem(name) not in stems:
            continue
        found = loader.find(name)
        host = loader.view.resolve(found[0]) if found else None
        if found is None or host is None or host in seen:
            continue
        seen.add(host)
        soname = loader.elves.facts(host, shown=found[0]).soname
        yield _copy(loader, soname, found[0], found[1], users if names is not None else ())


def find_early(
    loader: Loader, tree: Tree, replaced: Collection[str], names: Collection[str] | None
) -> dict[str, str]:
    """What stands in the way of libraries that the host's MPI needs: real paths by name.

    The RPATHs of a program, and of what stands between it and its MPI, come before LD_LIBRARY_PATH also for
    what the MPI needs in turn, and for plugins that it opens.  ``replaced`` are the real paths of the image's
    MPI, ``names`` those that are asked for, None for all that lie there.
    """
    early: dict[str, str] = {}
    for item in tree.objects:
        chain = _above(tree, item)
        if item.real not in replaced or not any(link.facts.rpath for link in chain):
            continue
        # The host's library is in its place, with no RUNPATH of the image's.
        asker = replace(item, facts=replace(item.facts, rpath=(), runpath=()))
        for name in _lying(loader, (asker, *chain)) if names is None else names:
            found = loader.find(name, (asker, *chain))
            if found and found[1] is Found.RPATH and (real := loader.view.canonical(found[0])):
                early.setdefault(name, real)
    return early


@dataclass(frozen=True, slots=True)
class HostPaths:
    """DT_RPATHs of a host's files in a container: pairs (directory of the file there, the list itself).

    ``names`` are the libraries that come from the host, any of which may be searched there.
    """

    lists: tuple[tuple[str, tuple[str, ...]], ...]
    names: frozenset[str]


def find_obstacles(loader: Loader, paths: HostPaths) -> tuple[tuple[str, str], ...]:
    """The image's libraries in the directories of the host's RPATHs, by name and path without links.

    These come before LD_LIBRARY_PATH, and mean another directory in there than on the host.
    """
    view = loader.view
    folders = (loader.expand(part, origin) for origin, rpath in paths.lists for part in rpath)
    there = dict.fromkeys(folder.rstrip("/") for folder in folders if folder.startswith("/"))
    names = [(name, f"{folder}/{name}") for folder in there if view.exists(folder) for name in paths.names]
    found = ((name, view.canonical(path)) for name, path in sorted(names) if view.is_file(path))
    return tuple((name, real) for name, real in found if real)


def _lying(loader: Loader, chain: tuple[LoadedObject, ...]) -> set[str]:
    """Names of libraries in the directories of the RPATHs that count for the first of ``chain``."""
    dirs = [folder for how, dirs in loader.lists(chain) if how is Found.RPATH for _, folder in dirs]
    names = (name for folder in dirs if folder.startswith("/") for name in loader.view.names(folder))
    return {name for name in names if ".so" in name}


def _above(tree: Tree, item: LoadedObject) -> tuple[LoadedObject, ...]:
    """Who asked for an object, and so on up to the program."""
    chain = []
    while item.parent is not None:
        item = tree.objects[item.parent]
        chain.append(item)
    return tuple(chain)


def _candidates(loader: Loader) -> Collection[str]:
    return loader.cache or {name: [] for folder in loader.default_dirs for name in loader.view.names(folder)}


def _copy(
    loader: Loader, soname: str, path: str, how: Found, users: tuple[LoadedObject, ...]
) -> SharedLibrary:
    real, host = loader.view.canonical(path), loader.view.resolve(path)
    assert real is not None and host is not None
    facts = loader.elves.facts(host, shown=path)
    exports = frozenset[str]() if facts.versions_defined else loader.elves.exports(host)
    required: frozenset[str] = frozenset()
    for user in users:
        if facts.versions_defined:
            required |= user.facts.versions_needed.get(soname, frozenset())
        else:
            required |= loader.elves.undefined(user.host_path) & exports
    return SharedLibrary(
        soname, path, real, how, file_version(real), facts.versions_defined, exports, required
    )
