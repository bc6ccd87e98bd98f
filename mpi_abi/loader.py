"""The search of the dynamic loader, emulated inside a `RootView`; nothing is executed.

After ld.so(8) and, where that is silent, glibc's behaviour: who inherits whose DT_RPATH, when a name
counts as loaded already, which files are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from .elfcache import ElfCache
from .elftypes import ElfFacts, ElfType, ForeignElf
from .errors import AbiError
from .ldcache import CacheEntries
from .ldfiles import INTERPRETERS, read_cache, read_loader, read_preloads
from .ldso import LdSo
from .rootfs import RootView

_CACHE = "/etc/ld.so.cache"
_TAKEN = "put the library there that the loader looks for, or remove what it takes for one"
_MOST_LOOKUPS = 200_000
"""Of places that are looked at for one program: names and directories of damaged files multiply."""
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")
_Places = Iterable[tuple[str, str]]
"""Directories to search, each with the file (container path) that names it, "" for none."""


class Found(StrEnum):
    """By which rule a file was found."""

    PROGRAM = "program"
    PRELOAD = "LD_PRELOAD"
    PRELOAD_FILE = "ld.so.preload"
    INTERPRETER = "interpreter"
    PATH = "path"
    RPATH = "RPATH"
    ENVIRONMENT = "LD_LIBRARY_PATH"
    RUNPATH = "RUNPATH"
    CACHE = "ld.so.cache"
    DEFAULT = "default directory"


@dataclass(frozen=True, slots=True)
class LoadedObject:
    """A file that the loader would map.

    ``path`` is the container path it was found by, ``real`` the same without links, ``needs`` the positions
    in the tree of what it needs, ``parent`` that of the object which first asked for it.
    """

    name: str
    path: str
    real: str
    host_path: str
    facts: ElfFacts
    how: Found
    parent: int | None
    needs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that nobody could find: its name, and the container path of the file which needs it."""

    name: str
    needed_by: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A program (or library) with all it needs, in the order of loading, which is that of binding too."""

    objects: tuple[LoadedObject, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One step of a search: the rule, the file whose rule it is ("" for none), the place, what was there."""

    rule: Found
    owner: str
    place: str
    outcome: str


class Loader:
    """The dynamic loader of one container, for one environment.

    Where ``trace`` is a list, every step of a search is appended to it.
    """

    def __init__(
        self,
        view: RootView,
        elves: ElfCache,
        *,
        machine: str,
        interpreter: str = "",
        environment: Mapping[str, str],
    ) -> None:
        self.view = view
        self.elves = elves
        self.machine = machine
        self.trace: list[Attempt] | None = None
        self._interpreter = interpreter or INTERPRETERS.get(machine, "")
        # An empty variable counts as unset; an empty element of one that is not is the working directory.
        path = environment.get("LD_LIBRARY_PATH", "")
        self._library_path = re.split("[:;]", path) if path else []
        self._preload = [name for name in re.split("[: ]", environment.get("LD_PRELOAD", "")) if name]
        self._marked: dict[str, tuple[str, ...]] = {}
        self._left = _MOST_LOOKUPS

    # -- what the container's loader goes by -----------------------------------------------------------------

    @cached_property
    def cache(self) -> CacheEntries:
        """The loader's table (`ldfiles.read_cache`)."""
        return read_cache(self.view, self.machine)

    @cached_property
    def _so(self) -> LdSo:
        return read_loader(self.view, self._interpreter, self.machine)

    @property
    def default_dirs(self) -> tuple[str, ...]:
        """The directories compiled into this container's loader (distributions differ), or usual ones."""
        return self._so.directories

    @cached_property
    def _own_names(self) -> frozenset[str]:
        """The names by which the loader itself, which the kernel has mapped already, may be needed."""
        try:
            usable = self._usable(self._interpreter) if self._interpreter else None
        except AbiError:
            usable = None  # the kernel will say so
        return frozenset((self._interpreter.rpartition("/")[2], usable[2].soname)) if usable else frozenset()

    def _preloads(self) -> Iterable[tuple[str, Found]]:
        yield from ((name, Found.PRELOAD) for name in self._preload)
        yield from ((name, Found.PRELOAD_FILE) for name in read_preloads(self.view))

    def expand(self, text: str, origin: str) -> str:
        """Replace the dynamic string tokens; ``origin`` is the directory of the file that has them."""
        if "$" not in text:
            return text
        values = {"ORIGIN": origin, "LIB": self._so.lib, "PLATFORM": self._so.platform}
        return _TOKEN.sub(lambda match: values[match.group(1) or match.group(2)], text)

    # -- search ----------------------------------------------------------------------------------------------

    def _usable(self, path: str) -> tuple[str, str, ElfFacts] | None:
        """(real, host path, facts) if the loader would take this file; other machines' it passes over.

        Raises AbiError where the loader gives up: there is something, and it is no library.
        """
        real = self.view.canonical(path)
        host = self.view.resolve(path)
        if real is None or host is None:
            return None
        if not self.view.is_file(path):
            raise AbiError(f"{path}: cannot be read: not a file", hint=_TAKEN)
        try:
            facts = self.elves.facts(host, shown=path)
        except ForeignElf as error:
            if error.passed_over:
                return None
            raise
        except AbiError as error:
            if isinstance(error.__cause__, PermissionError):
                return None
            raise
        if facts.machine != self.machine:
            return None
        if facts.kind not in (ElfType.DYN, ElfType.EXEC):
            raise AbiError(f"{path}: neither a library nor a program", hint=_TAKEN)
        return real, host, facts

    def _note(self, rule: Found, owner: str, place: str, outcome: str = "") -> None:
        """Write a step of the search down, if anybody wants to know."""
        if self.trace is not None:
            if not outcome:
                outcome = "for another machine, or closed" if self.view.exists(place) else "not there"
            self.trace.append(Attempt(rule, owner, place, outcome))

    def _count(self, name: str) -> None:
        """Count a place that is looked at.  Raises AbiError beyond what any program needs."""
        self._left -= 1
        if self._left < 0:
            raise AbiError(
                f"{name}: gave up after {_MOST_LOOKUPS} places where its loader would look",
                hint="such a number is a damaged file's, or made to hold up who looks; use another image",
            )

    def _subdirectories(self, base: str) -> tuple[str, ...]:
        """Where below a directory to look: the places for this CPU that can be there, and last itself."""
        if base not in self._marked:
            there = {mark for mark in self._so.marks if self.view.exists(f"{base}/{mark}")}
            places = self._so.subdirectories if there else ()
            own = (f"{base}/{place}" for place in places if place.partition("/")[0] in there)
            self._marked[base] = (*own, base)
        return self._marked[base]

    def _in_dirs(self, name: str, how: Found, dirs: _Places) -> str | None:
        for owner, folder in dirs:
            self._count(name)
            # An empty element or a relative one is relative to a working directory that is not known here.
            if not folder.startswith("/"):
                self._note(how, owner, folder or ".", "relative to the working directory: passed over")
                continue
            base = folder.rstrip("/")
            if not self.view.exists(base):
                self._note(how, owner, folder, "no such directory")
                continue
            self.view.watch(base)
            for place in self._subdirectories(base):
                path = f"{place}/{name}"
                self._count(name)
                if self._usable(path):
                    self._note(how, owner, path, "found")
                    return path
                self._note(how, owner, path)
                if self.view.is_endless(path):
                    # ld.so goes on only after "no such file" and "permission denied".
                    return None
        return None

    def _in_cache(self, name: str) -> str:
        """The path that the table gives for a name, "" for none.  There is no second choice behind it."""
        entries = self.cache.get(name, ())
        if entries and not entries[0][1]:
            return entries[0][0]
        levels, best, rank = self._so.levels, "", len(self._so.levels)
        for path, level in entries:
            if level in levels:
                if levels.index(level) < rank:
                    best, rank = path, levels.index(level)
            elif not level or level.startswith("0x"):
                if best:
                    break
                if not level or self._so.takes(int(level, 16)):
                    return path
        return best

    def lists(self, chain: tuple[LoadedObject, ...]) -> Iterator[tuple[Found, _Places]]:
        """The lists of directories before the table, as (rule, (whose, directory)...)."""
        asker = chain[0] if chain else None
        if asker is None or not asker.facts.runpath:
            for link in chain:
                if link.facts.rpath:
                    yield Found.RPATH, self._expanded(link.facts.rpath, link, link.path)
        if self._library_path:
            yield Found.ENVIRONMENT, self._expanded(self._library_path, chain[-1] if chain else None, "")
        if asker is not None and asker.facts.runpath:
            yield Found.RUNPATH, self._expanded(asker.facts.runpath, asker, asker.path)

    def _expanded(self, parts: Iterable[str], of: LoadedObject | None, owner: str) -> _Places:
        origin = _origin(of) if of else "/"
        return ((owner, self.expand(part, origin)) for part in parts)

    def find(self, name: str, chain: tuple[LoadedObject, ...] = ()) -> tuple[str, Found] | None:
        """Find a library for the first object of ``chain`` (who asks, who asked for it, ..., the program).

        Returns the container path and the rule that found it, or None.  Raises AbiError where the loader
        would give up: what it finds is no library.
        """
        self._left = _MOST_LOOKUPS
        return self._find(name, chain)

    def _find(self, name: str, chain: tuple[LoadedObject, ...]) -> tuple[str, Found] | None:
        if name in self._own_names:
            return self._interpreter, Found.INTERPRETER
        if "/" in name:
            path = self.expand(name, _origin(chain[0]) if chain else "/")
            usable = path.startswith("/") and self._usable(path)
            self._note(Found.PATH, "", path, "found" if usable else "")
            return (path, Found.PATH) if usable else None
        for how, dirs in self.lists(chain):
            if there := self._in_dirs(name, how, dirs):
                return there, how
        # DF_1_NODEFLIB: not even by way of the table.
        forbidden = bool(chain) and chain[0].facts.no_default_dirs
        cached = self._in_cache(name)
        if forbidden and cached.startswith(tuple(f"{folder}/" for folder in self.default_dirs)):
            cached = ""
        if cached and self._usable(cached):
            self._note(Found.CACHE, "", cached, "found")
            return cached, Found.CACHE
        self._note(Found.CACHE, "", cached or _CACHE, "" if cached else "has no such name")
        if forbidden:
            return None
        default = self._in_dirs(name, Found.DEFAULT, (("", folder) for folder in self.default_dirs))
        return (default, Found.DEFAULT) if default else None

    # -- loading ---------------------------------------------------------------------------------------------

    def load(
        self,
        path: str,
        *,
        follow: Callable[[tuple[LoadedObject, ...], str], bool] | None = None,
        asked: Callable[[str, int, int | None], None] | None = None,
        preload: bool = True,
        above: tuple[LoadedObject, ...] = (),
    ) -> Tree:
        """Everything that would be mapped for the ELF program or library at the container path ``path``.

        What cannot be found is in the answer's ``missing``.  ``follow`` says of an object (with who asked for
        it, and so on up to the program) and a name that it needs whether to look for that; by default, all
        are looked for.  ``asked`` is told of each name, with the positions of who needs it and of what stands
        for it.  Without ``preload``, what is preloaded into every program stays out.  ``above`` is who opened
        ``path``, who asked for that, and so on: their RPATHs count as well.

        Raises AbiError if ``path`` itself cannot be read, or if a file on the way is damaged.
        """
        real, host = self.view.canonical(path), self.view.resolve(path)
        if real is None or host is None:
            raise AbiError(f"{path}: no such file in {self.view.name}", hint="give its path in the image")
        facts = self.elves.facts(host, shown=path)
        self._left = _MOST_LOOKUPS
        objects = [LoadedObject(path, path, real, host, facts, Found.PROGRAM, None)]
        known: dict[str | tuple[int, int], int] = {facts.soname or path: 0, self.view.identity(real): 0}
        missing: list[Missing] = []
        done = 0
        while done < len(objects):
            current = objects[done]
            facts, needs = current.facts, []
            wanted: list[tuple[str, Found | None]] = [(name, None) for name in facts.needed + facts.filters]
            if done == 0 and preload:
                wanted = [*self._preloads(), *wanted]
            for row in wanted:
                name, how = row
                if how is None and follow is not None and not follow(_chain(objects, done), name):
                    continue
                position = self._load_one(row, done, objects, known, above)
                if asked is not None:
                    asked(name, done, position)
                if position is not None:
                    needs.append(position)
                elif how is None and name not in facts.auxiliary:
                    # A missing preload is a warning of ld.so's, no more.
                    missing.append(Missing(name, current.path))
            objects[done] = LoadedObject(
                current.name, current.path, current.real, current.host_path, facts, current.how,
                current.parent, tuple(needs),
            )  # fmt: skip
            done += 1
        return Tree(tuple(objects), tuple(missing))

    def _load_one(
        self,
        wanted: tuple[str, Found | None],
        asker: int,
        objects: list[LoadedObject],
        known: dict[str | tuple[int, int], int],
        above: tuple[LoadedObject, ...],
    ) -> int | None:
        name, how = wanted
        if how is None and "$" in name:
            name = self.expand(name, _origin(objects[asker]))
        if name in known:
            return known[name]
        try:
            found = self._find(name, (*_chain(objects, asker), *above))
            usable = self._usable(found[0]) if found else None
        except AbiError:
            if how is None:
                raise
            return None  # as for a preload that is missing
        if found is None or usable is None:
            return None
        real, host, facts = usable
        file = self.view.identity(real)
        if file not in known:
            objects.append(LoadedObject(name, found[0], real, host, facts, how or found[1], asker))
            known[file] = len(objects) - 1
            if facts.soname:
                known.setdefault(facts.soname, known[file])
        known[name] = known[file]
        return known[file]


def _origin(item: LoadedObject) -> str:
    # The kernel tells the program's real path, the loader the path by which it found a library.
    path = item.real if item.how is Found.PROGRAM else item.path
    return path[: path.rfind("/")] or "/"


def _chain(objects: list[LoadedObject], position: int) -> tuple[LoadedObject, ...]:
    """An object, who asked for it, and so on up to the program."""
    chain = [objects[position]]
    while (parent := chain[-1].parent) is not None:
        chain.append(objects[parent])
    return tuple(chain)
