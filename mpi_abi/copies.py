"""The image's copies of libraries that a host's closure may use instead of the host's own.  Reads only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

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
    loader: Loader, tree: Tree, users: tuple[LoadedObject, ...], names: Collection[str] | None
) -> Iterator[SharedLibrary]:
    """The program's own copies, and what a search finds.

    ``users`` are the objects of the tree whose needs count; ``names`` the sonames that are asked for, None
    for all that the tables know.
    """
    stems = tables().shared if names is None else {stem(name) for name in names} & tables().shared
    seen: set[str] = set()
    for item in tree.objects:
        if stem(item.facts.soname) in stems:
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
