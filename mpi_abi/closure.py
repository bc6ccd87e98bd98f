"""Probe of a host MPI's closure: its NEEDED tree, what it opens later, whose help and settings it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from .elfcache import ElfCache
from .errors import AbiError
from .families import Group, PluginDirectory, file_version, stem, tables
from .guards import Recorder
from .host import HostMpi, host_loader
from .loader import Found, LoadedObject, Loader
from .rootfs import RootView


@dataclass(frozen=True, slots=True)
class ClosureFile:
    """A library or plugin of the closure.

    ``path`` is the host's, without links; ``group`` names a row of ``fabric.toml`` or is ""; ``shared`` says
    that an image's copy may serve.  ``exports`` and ``wanted`` (names that the rest of the closure needs of
    it) are read of shared libraries without symbol versions only.
    """

    soname: str
    path: str
    group: str
    plugin: bool
    shared: bool
    needed: tuple[str, ...]
    versions_needed: Mapping[str, frozenset[str]]
    versions_defined: frozenset[str]
    exports: frozenset[str] = frozenset()
    wanted: frozenset[str] = frozenset()

    @property
    def file_version(self) -> tuple[int, ...]:
        """The numbers in the file's name."""
        return file_version(self.path)


@dataclass(frozen=True, slots=True)
class ClosureDirectory:
    """A directory (or single files of one) that libraries of a group open.

    ``sources`` are pairs (host path, name below the target or ""); none if the host has no such directory.
    ``target`` is relative to the private directory, or absolute where the path is compiled into the library.
    """

    group: str
    sources: tuple[tuple[str, str], ...]
    target: str
    variable: str


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that a host MPI needs at run time, beside the C library.

    ``files`` starts with the MPI's own libraries; ``environment`` are variables that it needs in a container;
    ``missing`` are (name, needed by) pairs that the host's loader does not find either, e.g. of a plugin for
    hardware whose driver is not installed.
    """

    files: tuple[ClosureFile, ...]
    directories: tuple[ClosureDirectory, ...]
    environment: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]


def find_closure(host: HostMpi, *, recorder: Recorder | None = None) -> Closure:
    """Read a host MPI's closure; ``recorder`` gets guards for what is read.

    Raises AbiError if a library of it is damaged.
    """
    return _Search(host, recorder).run()


class _Search:
    """One run of `find_closure`: libraries bring groups, groups bring plugins, plugins bring libraries."""

    def __init__(self, host: HostMpi, recorder: Recorder | None) -> None:
        self._host = host
        self._recorder = recorder
        self._elves = ElfCache()
        self._loader: Loader = host_loader(self._elves, recorder)
        self._files: dict[str, ClosureFile] = {}
        self._by_soname: dict[str, str] = {}
        self._missing: dict[tuple[str, str], None] = {}

    def run(self) -> Closure:
        for library in self._host.libraries:
            self._add_tree(library.real, top_group="mpi")
        directories: list[ClosureDirectory] = []
        environment: list[tuple[str, str]] = []
        done: set[str] = set()
        while groups := [group for group in self._groups() if group.name not in done]:
            for group in groups:
                done.add(group.name)
                environment += group.environment
                self._open_named(group.opens)
                for row in group.directories:
                    directories.append(self._directory(group, row))
        files = tuple(self._with_symbols(item) for item in self._files.values())
        return Closure(files, tuple(directories), tuple(environment), tuple(self._missing))

    def _groups(self) -> Iterator[Group]:
        stems = {stem(item.soname) for item in self._files.values() if not item.plugin}
        for group in tables().groups:
            hardware = not group.only_with or self._has_hardware(group.only_with)
            ours = group.family in ("", self._host.family) and group.product in ("", self._host.product)
            if stems & set(group.libraries) and hardware and ours:
                yield group

    def _has_hardware(self, pattern: str) -> bool:
        """Whether sysfs shows a device.  Its directories have no times: guarded is the first entry itself."""
        found = RootView("/").expand(pattern)
        place = found[0] if found else pattern.rpartition("/")[0]
        if self._recorder is not None and self._recorder.exists(place) and not found:
            self._recorder.forbid(f"nothing tells when {place} gets its first entry")
        return bool(found)

    def _open_named(self, names: tuple[str, ...]) -> None:
        """Add libraries that the C library opens by name: from then on, it needs them like linked ones."""
        path = self._host.c_library.real
        opener = LoadedObject(path, path, path, path, self._elves.facts(path), Found.PROGRAM, None)
        for name in names:
            found = self._loader.find(name, (opener,))
            if found is not None:
                self._add_tree(found[0], top_group="")
                known = self._files[path]
                self._files[path] = replace(known, needed=(*known.needed, name))

    def _add_tree(self, path: str, *, top_group: str) -> None:
        """Add a library and its NEEDED tree; ``top_group`` is its own group, "" to look that up."""
        tree = self._loader.load(path, preload=False)
        for item in tree.objects:
            soname = item.facts.soname or item.name.rpartition("/")[2]
            top = top_group and item.how is Found.PROGRAM
            if soname in tables().libc or (soname in self._by_soname and not top):
                continue
            row = tables().group_of(soname)
            group = top_group if top else (row.name if row else "")
            shared = not top and (row.shared if row else stem(soname) in tables().shared)
            self._add(item, group=group, plugin=False, shared=shared)
        for missing in tree.missing:
            self._missing[missing.name, missing.needed_by] = None

    def _add(self, item: LoadedObject, *, group: str, plugin: bool, shared: bool) -> None:
        if item.real in self._files:
            return
        soname = item.facts.soname or item.name.rpartition("/")[2]
        self._files[item.real] = ClosureFile(
            soname=soname,
            path=item.real,
            group=group,
            plugin=plugin,
            shared=shared,
            needed=item.facts.needed,
            versions_needed=item.facts.versions_needed,
            versions_defined=item.facts.versions_defined,
        )
        if not plugin:
            self._by_soname[soname] = item.real

    def _directory(self, group: Group, row: PluginDirectory) -> ClosureDirectory:
        source = self._find_directory(group, row)
        sources: tuple[tuple[str, str], ...] = ()
        if source:
            for name in self._loader.view.names(source):
                if any(fnmatch(name, pattern) for pattern in row.plugins):
                    self._add_plugin(f"{source}/{name}", group)
            present = [name for name in row.files if self._loader.view.exists(f"{source}/{name}")]
            sources = tuple((f"{source}/{name}", name) for name in present) if row.files else ((source, ""),)
        return ClosureDirectory(group.name, sources, source if row.in_place else row.target, row.variable)

    def _add_plugin(self, path: str, group: Group) -> None:
        """Add a plugin, and what it needs that is not there yet.

        Its whole tree is not loaded: the MPI's own, which nearly every plugin needs, is in there each time.
        """
        real = self._loader.view.resolve(path) or path
        try:
            facts = self._elves.facts(real)
        except AbiError:
            # A plugin that cannot be read cannot be opened by the MPI either, which then goes on without it.
            self._missing[path.rpartition("/")[2], path] = None
            return
        plugin = LoadedObject(path, path, real, real, facts, Found.PROGRAM, None)
        self._add(plugin, group=group.name, plugin=True, shared=False)
        for name in facts.needed:
            if name in tables().libc or name in self._by_soname:
                continue
            found = self._loader.find(name, (plugin,))
            if found is None:
                self._missing[name, path] = None
            else:
                self._add_tree(found[0], top_group="")

    def _find_directory(self, group: Group, row: PluginDirectory) -> str:
        """Host path of the first directory that fits a row, or ""."""
        view = self._loader.view
        for item in list(self._files.values()):
            if item.plugin or stem(item.soname) != row.beside:
                continue
            folder = item.path.rpartition("/")[0]
            for path in row.paths:
                pattern = path if path.startswith("/") else f"{folder}/{path}"
                for found in view.expand(pattern):
                    if view.is_dir(found) and (not row.marker or view.expand(f"{found}/{row.marker}")):
                        return view.resolve(found) or ""
        return ""

    def _with_symbols(self, item: ClosureFile) -> ClosureFile:
        """Add the symbols of a shared library that has no versions: they are all there is to compare."""
        if not item.shared or item.versions_defined:
            return item
        exports = self._elves.exports(item.path)
        wanted: frozenset[str] = frozenset()
        for user in self._files.values():
            if item.soname in user.needed:
                wanted |= self._elves.undefined(user.path) & exports
        return replace(item, exports=exports, wanted=wanted)
