"""Probe of a host MPI's closure: its NEEDED tree, what it opens later, whose help and settings it reads."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch

from .elfcache import ElfCache
from .errors import AbiError
from .families import Group, PluginDirectory, file_version, stem, tables
from .guards import Recorder
from .host import HostMpi, host_loader
from .libc import LibcFacts
from .loader import Found, LoadedObject, Loader
from .rootfs import RootView


@dataclass(frozen=True, slots=True)
class ClosureFile:
    """A library or plugin of the closure.

    ``path`` is the host's, without links; ``group`` names a row of ``fabric.toml`` or is ""; ``shared`` says
    that an image's copy may serve.  ``exports`` and ``wanted`` (names that the rest of the closure needs of
    it) are read of shared libraries without symbol versions only.  ``aliases`` are further names by which it
    is opened, ``rpath`` its DT_RPATH.
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
    aliases: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()

    @property
    def file_version(self) -> tuple[int, ...]:
        """The numbers in the file's name."""
        return file_version(self.path)


@dataclass(frozen=True, slots=True)
class ClosureDirectory:
    """A directory (or single files of one) that libraries of a group open.

    ``sources`` are pairs (host path, name below the target or ""); none if the host has no such directory.
    ``target`` is relative to the private directory, or absolute where the path is compiled into the library.
    ``variable`` names it to the libraries, and so do those of ``also``; ``links`` are plugins that lie
    elsewhere: (host path, text of the link that leads there).
    """

    group: str
    sources: tuple[tuple[str, str], ...]
    target: str
    variable: str
    links: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClosureDevice:
    """A device node that libraries of a group open; ``refusal`` says why we may not, "" if we may."""

    group: str
    path: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that a host MPI needs at run time.

    ``files`` starts with the MPI's own libraries; ``environment`` are variables that it needs in a container;
    ``missing`` are (name, needed by) pairs that the host's loader does not find either, e.g. of a plugin for
    hardware whose driver is not installed; ``devices`` are the nodes that this host has.  ``libc`` is the
    host's whole glibc if an image's is too old for the rest (`with_libc`), else None.
    """

    files: tuple[ClosureFile, ...]
    directories: tuple[ClosureDirectory, ...]
    environment: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]
    devices: tuple[ClosureDevice, ...] = ()
    libc: LibcFacts | None = None


def find_closure(
    host: HostMpi, *, root: str = "/", devices: bool = True, recorder: Recorder | None = None
) -> Closure:
    """Read a host MPI's closure; ``recorder`` gets guards for what is read.

    ``root`` is where the host's files are; paths in the answer are below it.  Without ``devices`` none is
    looked for: where all of /dev is shown, they only serve to tell more.
    Raises AbiError if a library of it is damaged.
    """
    return _Search(host, root, recorder, devices=devices).run()


def with_exports(closure: Closure, image: Collection[str]) -> Closure:
    """Add the symbols of libraries without versions that the program uses, too: ``image`` are sonames."""
    elves = ElfCache()

    def full(item: ClosureFile) -> ClosureFile:
        known = item.plugin or item.exports or item.versions_defined or item.soname not in image
        return item if known else replace(item, exports=elves.exports(item.path))

    return replace(closure, files=tuple(full(item) for item in closure.files))


class _Search:
    """One run of `find_closure`: libraries bring groups, groups bring plugins, plugins bring libraries."""

    def __init__(self, host: HostMpi, root: str, recorder: Recorder | None, *, devices: bool) -> None:
        self._host = host
        self._wants_devices = devices
        self._recorder = recorder
        self._elves = ElfCache()
        self._loader: Loader = host_loader(self._elves, recorder, root=root)
        # Of sysfs and /dev, which have no times to guard by.
        self._unguarded = RootView(root)
        self._files: dict[str, ClosureFile] = {}
        self._by_soname: dict[str, str] = {}
        self._missing: dict[tuple[str, str], None] = {}

    def run(self) -> Closure:
        for library in self._host.libraries:
            self._add_tree(library.real, top_group="mpi")
        directories: list[ClosureDirectory] = []
        devices: dict[str, ClosureDevice] = {}
        environment: list[tuple[str, str]] = []
        done: set[str] = set()
        while groups := [group for group in self._groups() if group.name not in done]:
            for group in groups:
                done.add(group.name)
                environment += group.environment
                self._open_named(group)
                for device in self._devices(group):
                    devices.setdefault(device.path, device)
                for row in group.directories:
                    directories.append(self._directory(group, row))
        files = tuple(self._with_symbols(item) for item in self._files.values())
        missing = tuple(self._missing)
        return Closure(files, tuple(directories), tuple(environment), missing, tuple(devices.values()))

    def _host_path(self, path: str) -> str:
        return self._loader.view.resolve(path) or path

    def _groups(self) -> Iterator[Group]:
        stems = {stem(item.soname) for item in self._files.values() if not item.plugin}
        for group in tables().groups:
            hardware = not group.only_with or self._has_hardware(group.only_with)
            ours = group.family in ("", self._host.family) and group.product in ("", self._host.product)
            if stems & set(group.libraries) and hardware and ours:
                yield group

    def _has_hardware(self, pattern: str) -> bool:
        """Whether sysfs shows a device.  Its directories have no times: guarded is the first entry itself."""
        found = self._unguarded.expand(pattern)
        place = found[0] if found else pattern.rpartition("/")[0]
        if self._recorder is not None and self._recorder.exists(place) and not found:
            self._recorder.forbid(f"nothing tells when {place} gets its first entry")
        return bool(found)

    def _devices(self, group: Group) -> Iterator[ClosureDevice]:
        for pattern in group.devices if self._wants_devices else ():
            if self._recorder is not None:
                self._recorder.forbid(f"nothing tells when {pattern} appears or goes")
            for path in self._unguarded.expand(pattern):
                # access(2) asks the device cgroup too, and not the driver.
                usable = os.access(self._unguarded.resolve(path) or path, os.R_OK | os.W_OK)
                yield ClosureDevice(group.name, path, "" if usable else "you may not open it")

    def _open_named(self, group: Group) -> None:
        """Add libraries that the group's own opens by name: from then on, it needs them like linked ones."""
        opener = self._opener(group)
        path = opener.real
        for name in group.opens:
            real = self._add_found(name, opener)
            if not real:
                continue
            library, known = self._files[real], self._files[path]
            if name != library.soname:
                self._files[real] = replace(library, aliases=(*library.aliases, name))
            self._files[path] = replace(known, needed=(*known.needed, library.soname))

    def _add_found(self, name: str, *chain: LoadedObject) -> str:
        """Add what is opened later and its NEEDED tree: its key in `_files`, "" where it cannot be loaded.

        ``chain`` is who asks for it, who opened that, and so on.
        The MPI does without what is damaged, as without what is not there.
        """
        try:
            found = self._loader.find(name, chain)
            if found is None:
                return ""
            self._add_tree(found[0], top_group="", above=chain)
        except AbiError:
            return ""
        # Of two files with one soname, the first that was loaded serves.
        soname = self._elves.facts(self._host_path(found[0])).soname or found[0].rpartition("/")[2]
        return self._by_soname.get(soname) or self._loader.view.canonical(found[0]) or ""

    def _opener(self, group: Group) -> LoadedObject:
        """The library of a group that opens things: what it opens is searched by its RPATH, too."""
        own = (
            item for item in self._files.values() if not item.plugin and stem(item.soname) in group.libraries
        )
        path = next(own).path
        host = self._host_path(path)
        return LoadedObject(path, path, path, host, self._elves.facts(host), Found.PROGRAM, None)

    def _add_tree(self, path: str, *, top_group: str, above: tuple[LoadedObject, ...] = ()) -> None:
        """Add a library and its NEEDED tree; ``top_group`` is its own group, "" to look that up.

        ``above`` is who asked for it, who asked for that, and so on.
        """
        tree = self._loader.load(path, preload=False, above=above)
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
            rpath=item.facts.rpath,
        )
        if not plugin:
            self._by_soname[soname] = item.real

    def _directory(self, group: Group, row: PluginDirectory) -> ClosureDirectory:
        source = self._find_directory(group, row)
        sources: tuple[tuple[str, str], ...] = ()
        links: list[tuple[str, str]] = []
        if source:
            for name in self._loader.view.names(source):
                if any(fnmatch(name, pattern) for pattern in row.plugins):
                    self._add_plugin(f"{source}/{name}", group)
                    links += self._link_out(source, name)
            present = [name for name in row.files if self._loader.view.exists(f"{source}/{name}")]
            sources = tuple((f"{source}/{name}", name) for name in present) if row.files else ((source, ""),)
        target = source if row.in_place else row.target
        return ClosureDirectory(group.name, sources, target, row.variable, tuple(links), row.also)

    def _link_out(self, source: str, name: str) -> Iterator[tuple[str, str]]:
        """Where a plugin is a link out of its directory: the container has the image's there, or none."""
        path = f"{source}/{name}"
        real, text = self._loader.view.canonical(path), self._loader.view.link_text(path)
        if real and text and not real.startswith(f"{source}/"):
            yield real, text

    def _add_plugin(self, path: str, group: Group) -> None:
        """Add a plugin, and what it needs that is not there yet.

        Its whole tree is not loaded: the MPI's own, which nearly every plugin needs, is in there each time.
        """
        real, host = self._loader.view.canonical(path) or path, self._host_path(path)
        try:
            facts = self._elves.facts(host)
        except AbiError:
            # A plugin that cannot be read cannot be opened by the MPI either, which then goes on without it.
            self._missing[path.rpartition("/")[2], path] = None
            return
        plugin = LoadedObject(path, path, real, host, facts, Found.PROGRAM, None)
        chain = (plugin, self._opener(group))
        self._add(plugin, group=group.name, plugin=True, shared=False)
        for name in facts.needed:
            if name in tables().libc or name in self._by_soname:
                continue
            if not self._add_found(name, *chain):
                self._missing[name, path] = None

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
                        return view.canonical(found) or ""
        return ""

    def _with_symbols(self, item: ClosureFile) -> ClosureFile:
        """Add the symbols of a shared library that has no versions: they are all there is to compare."""
        if not item.shared or item.versions_defined:
            return item
        exports = self._elves.exports(self._host_path(item.path))
        wanted: frozenset[str] = frozenset()
        for user in self._files.values():
            if item.soname in user.needed:
                wanted |= self._elves.undefined(self._host_path(user.path)) & exports
        return replace(item, exports=exports, wanted=wanted)
