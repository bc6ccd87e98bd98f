"""Probe of an image: what MPI is in there, what needs it, and on what it runs.  Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from .elf import open_elf
from .elfcache import ElfCache
from .elftypes import ForeignElf
from .errors import AbiError
from .families import C_ROLE, UNKNOWN, file_version, matches, stem, tables
from .libc import LibcFacts, LibcKind, probe_libc, root_machine
from .loader import Found, LoadedObject, Loader, Missing, Tree, file_machine
from .mpilib import MpiLibrary, identify, looks_like_mpi
from .rootfs import RootView
from .search import search

# A program that imports one of these can open or start others, whose MPI its own tree does not show.
_REACHES_OUT = frozenset(
    (
        *("dlopen", "dlmopen", "popen", "system", "posix_spawn", "posix_spawnp"),
        *("execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe", "execveat", "fexecve"),
    )
)


class ProgramKind(StrEnum):
    """What is asked to run."""

    NONE = "none"
    ELF = "elf"
    STATIC = "static"
    SCRIPT = "script"
    FOREIGN = "foreign"


class MpiSource(StrEnum):
    """How the image's MPI was found."""

    NONE = "none"
    TREE = "tree"
    SEARCH = "search"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Need:
    """Symbols that a file (container path) needs of an MPI library of the image (its role)."""

    user: str
    role: str
    library: str
    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class SharedLibrary:
    """The image's copy of a library that the host's closure may use instead of the host's.

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


@dataclass(frozen=True, slots=True)
class ImageMpiFacts:
    """An image with one program in it, as far as its MPI goes.  All paths are the container's.

    ``machine`` is the program's (else the image's) as ``uname -m`` says it; ``mpi`` are the libraries that
    the host's would replace; ``needs`` and ``copies`` (name -> bytes, of objects) what the program's tree
    asks of them.
    """

    program: str
    kind: ProgramKind
    machine: str
    interpreter: str
    interpreter_exists: bool
    libc: LibcFacts
    tree: Tree
    family: str
    source: MpiSource
    mpi: tuple[MpiLibrary, ...]
    other_families: tuple[str, ...]
    needs: tuple[Need, ...]
    copies: Mapping[str, int]
    offered: frozenset[str]
    shared: tuple[SharedLibrary, ...]
    reaches_out: bool

    @property
    def glibc(self) -> tuple[int, ...]:
        """The image's glibc, e.g. (2, 41); () if it has none."""
        return self.libc.version

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Libraries that the program's tree needs and nobody finds."""
        return self.tree.missing

    def library(self, role: str = C_ROLE) -> MpiLibrary | None:
        """The first of the image's MPI libraries with this role."""
        return next((item for item in self.mpi if item.role == role), None)


def probe_image(
    view: RootView, *, program: str | None, environment: Mapping[str, str], prefer: tuple[str, ...] = ()
) -> ImageMpiFacts:
    """Read what MPI an image's program uses.

    Args:
        view: the container's tree.
        program: container path of what will be run (ELF file or script), or None: then the image is judged as
            such.
        environment: what the program will see, for LD_LIBRARY_PATH and LD_PRELOAD.
        prefer: families, e.g. those of the host, of which one is taken where the image holds several MPIs and
            the program does not name its own.

    Raises AbiError if the program does not exist or a file it loads is damaged.
    """
    return _Probe(view, environment, prefer).run(program)


@dataclass(frozen=True, slots=True)
class _Program:
    path: str
    kind: ProgramKind
    machine: str
    interpreter: str


class _Probe:
    """One run of `probe_image`: what its steps share."""

    def __init__(self, view: RootView, environment: Mapping[str, str], prefer: tuple[str, ...]) -> None:
        self._view = view
        self._prefer = prefer
        self._environment = environment
        self._elves = ElfCache()

    def run(self, path: str | None) -> ImageMpiFacts:
        program = self._program(path)
        elf = program.kind is ProgramKind.ELF
        interpreter = program.interpreter if elf else ""
        loader = Loader(
            self._view,
            self._elves,
            machine=program.machine,
            interpreter=interpreter,
            environment=self._environment,
        )
        libc = probe_libc(loader, interpreter=interpreter)
        tree = loader.load(program.path) if elf else Tree((), ())
        facts = ImageMpiFacts(
            program=program.path,
            kind=program.kind,
            machine=program.machine,
            interpreter=program.interpreter,
            interpreter_exists=not program.interpreter or self._view.is_file(program.interpreter),
            libc=libc,
            tree=tree,
            family="",
            source=MpiSource.NONE,
            mpi=(),
            other_families=(),
            needs=(),
            copies={},
            offered=frozenset(),
            shared=(),
            reaches_out=program.kind in (ProgramKind.NONE, ProgramKind.SCRIPT),
        )
        if program.kind is ProgramKind.STATIC:
            return self._with_static(facts)
        if program.kind is ProgramKind.FOREIGN or libc.kind is LibcKind.NONE:
            return facts
        found = self._in_tree(tree)
        users: tuple[LoadedObject, ...] = ()
        if found:
            facts, users = self._with_tree(facts, found)
        else:
            facts = self._with_search(facts, loader)
        if not facts.mpi:
            return facts
        return replace(
            facts, shared=tuple(self._shared(loader, tree, users)), offered=self._offered(facts.mpi)
        )

    # -- the program -----------------------------------------------------------------------------------------

    def _program(self, path: str | None) -> _Program:
        if path is None:
            return _Program("", ProgramKind.NONE, root_machine(self._view), "")
        host = self._view.resolve(path)
        if host is None or not self._view.is_file(path):
            raise AbiError(
                f"{path}: no such file in {self._view.root}", hint="give the program's path in the image"
            )
        machine = file_machine(host)
        if machine is None:
            return _Program(path, ProgramKind.SCRIPT, root_machine(self._view), _shebang(host))
        try:
            with open_elf(host, shown=path) as elf:
                kind = ProgramKind.ELF if elf.interpreter else ProgramKind.STATIC
                return _Program(path, kind, machine, elf.interpreter)
        except ForeignElf:
            return _Program(path, ProgramKind.FOREIGN, machine, "")

    def _with_static(self, facts: ImageMpiFacts) -> ImageMpiFacts:
        """A static program shows an MPI only if its symbol table was left in."""
        host = self._view.resolve(facts.program)
        assert host is not None
        with open_elf(host, shown=facts.program) as elf:
            if not elf.defines_statically("MPI_Init") and not elf.defines_statically("PMPI_Init"):
                return facts
            ompi = elf.defines_statically("ompi_mpi_comm_world")
        return replace(facts, source=MpiSource.STATIC, family="openmpi" if ompi else UNKNOWN)

    # -- MPI in the program's tree ---------------------------------------------------------------------------

    def _in_tree(self, tree: Tree) -> dict[int, MpiLibrary]:
        """The MPI libraries of a tree, by position."""
        found = {}
        for position, item in enumerate(tree.objects):
            if position and looks_like_mpi(item.name, item.real, item.facts.soname):
                library = identify(self._elves, item.path, item.real, item.host_path)
                if library is not None:
                    found[position] = library
        # A layer below MPI, or a tool above it, is no MPI alone.
        return found if any(item.role == C_ROLE for item in found.values()) else {}

    def _with_tree(
        self, facts: ImageMpiFacts, found: dict[int, MpiLibrary]
    ) -> tuple[ImageMpiFacts, tuple[LoadedObject, ...]]:
        families = [item.family for item in found.values() if item.role == C_ROLE]
        family = families[0]
        mine = {at: replace(item, family=family) for at, item in found.items() if item.family in ("", family)}
        objects = facts.tree.objects
        users = tuple(objects[at] for at in _reachable(facts.tree, stop=frozenset(mine)) if at not in mine)
        users = tuple(item for item in users if item.facts.soname not in tables().libc)
        own = frozenset[str]().union(*(self._elves.exports(item.host_path) for item in users))
        needs = []
        for user in users:
            undefined = self._elves.undefined(user.host_path) - own
            for library in mine.values():
                symbols = undefined & self._elves.exports(library.host_path)
                if symbols:
                    needs.append(Need(user.path, library.role, library.path, symbols))
                    undefined -= symbols
        copies = self._copies(objects[0], tuple(mine.values()))
        changed = replace(
            facts,
            family=family,
            source=MpiSource.TREE,
            mpi=_c_first(mine.values()),
            other_families=tuple(sorted(set(families) - {family})),
            needs=tuple(needs),
            copies=copies,
        )
        return changed, users

    def _copies(self, program: LoadedObject, libraries: tuple[MpiLibrary, ...]) -> dict[str, int]:
        copied = self._elves.copies(program.host_path)
        if not copied:
            return {}
        names = frozenset[str]().union(*(self._elves.exports(item.host_path) for item in libraries))
        return {name: size for name, size in copied.items() if name in names}

    # -- MPI somewhere in the image --------------------------------------------------------------------------

    def _with_search(self, facts: ImageMpiFacts, loader: Loader) -> ImageMpiFacts:
        """Look where an MPI can be: for scripts, no program, and programs that may start or open others."""
        reaches_out = facts.reaches_out or any(
            self._elves.undefined(item.host_path) & _REACHES_OUT
            for item in facts.tree.objects
            if item.how is Found.PROGRAM or matches(item.facts.soname, tables().runtimes)
        )
        found = list(search(loader, self._environment.get("LD_LIBRARY_PATH", "")))
        families = list(dict.fromkeys(item.family for item in found if item.role == C_ROLE))
        if not families:
            return replace(facts, reaches_out=reaches_out)
        # What can be replaced before what cannot; within that the loader's own order.
        families.sort(key=lambda name: (name not in self._prefer, not tables().families[name].swappable))
        chosen = [item for item in found if item.family == families[0]]
        return replace(
            facts,
            family=families[0],
            source=MpiSource.SEARCH,
            mpi=_c_first(chosen),
            other_families=tuple(families[1:]),
            reaches_out=reaches_out,
        )

    # -- what the closure may share --------------------------------------------------------------------------

    def _offered(self, libraries: tuple[MpiLibrary, ...]) -> frozenset[str]:
        """All MPI functions of the image's C library."""
        for item in libraries:
            if item.role == C_ROLE:
                exports = self._elves.exports(item.host_path)
                return frozenset(name for name in exports if name.startswith(("MPI_", "PMPI_")))
        return frozenset()

    def _shared(self, loader: Loader, tree: Tree, users: tuple[LoadedObject, ...]) -> Iterator[SharedLibrary]:
        """The image's copies of libraries that may be shared: the program's own, and what a search finds."""
        wanted = tables().shared
        seen: set[str] = set()
        for item in tree.objects:
            if stem(item.facts.soname) in wanted:
                seen.add(item.host_path)
                yield self._share(item.facts.soname, item.path, item.how, users)
        names = loader.cache or {
            name: [] for folder in loader.default_dirs for name in self._view.names(folder)
        }
        for name in names:
            if ".so." not in name or stem(name) not in wanted:
                continue
            found = loader.find(name)
            host = self._view.resolve(found[0]) if found else None
            if found is None or host is None or host in seen:
                continue
            seen.add(host)
            yield self._share(self._elves.facts(host, shown=found[0]).soname, found[0], found[1], ())

    def _share(self, soname: str, path: str, how: Found, users: tuple[LoadedObject, ...]) -> SharedLibrary:
        real, host = self._view.canonical(path), self._view.resolve(path)
        assert real is not None and host is not None
        facts = self._elves.facts(host, shown=path)
        exports = frozenset[str]() if facts.versions_defined else self._elves.exports(host)
        required: frozenset[str] = frozenset()
        for user in users:
            if facts.versions_defined:
                required |= user.facts.versions_needed.get(soname, frozenset())
            else:
                required |= self._elves.undefined(user.host_path) & exports
        return SharedLibrary(
            soname, path, real, how, file_version(real), facts.versions_defined, exports, required
        )


def _shebang(host_path: str) -> str:
    """The interpreter that a script names in its first line, or ""."""
    with open(host_path, "rb") as file:  # noqa: PTH123
        match = re.match(rb"#![ \t]*([^ \t\n]+)", file.read(256))
    return match.group(1).decode("utf-8", "surrogateescape") if match else ""


def _c_first(libraries: Iterable[MpiLibrary]) -> tuple[MpiLibrary, ...]:
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
