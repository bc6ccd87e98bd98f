"""Probe of an image: what MPI is in there, what needs it, and on what it runs.  Reads only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .copies import HostPaths, SharedLibrary, find_copies, find_early, find_obstacles
from .elf import open_elf
from .elfcache import file_machine
from .elftypes import ForeignElf
from .errors import AbiError
from .families import C_ROLE, matches, tables
from .libc import LibcFacts, LibcKind, probe_libc, root_machine
from .linkedin import find_in_static, find_in_tree
from .loader import Found, LoadedObject, Loader, Missing, Tree
from .mpilib import MpiLibrary, identify, looks_like_mpi
from .opened import Plugin, adapts_to, asked_names, find_plugins, opened_alone, plugin_needs, read_shebang
from .reads import Reads
from .rootfs import RootView
from .users import (
    Binding,
    Need,
    bindings_of,
    c_first,
    copies_of,
    markers_of,
    mpi_in,
    needs_of,
    of_family,
    offered_by,
    runtimes_of,
)

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
class ImageMpiFacts:
    """An image with one program in it, as far as its MPI goes.  All paths are the container's.

    ``machine`` is the program's (else the image's) as ``uname -m`` says it; ``mpi`` are the libraries that
    the host's would replace, ``others`` those of other families; ``needs`` and ``copies`` (name -> bytes, of
    objects) what the program's tree asks of them.  ``fortran`` are the sonames of the compilers' run-time
    libraries that the program and its own libraries need, ``markers`` the objects of Fortran's constants that
    they define themselves, for their MPI to know by the address; ``holder`` is the file that an MPI is linked
    into; ``plugins`` are files that the program opens by the table, whose ``needs`` count like its own.
    ``early`` are libraries (name -> path without links) that an RPATH finds for the MPI's own needs,
    ``bindings`` what the MPI's own Fortran and C++ libraries need of its others.
    ``owners`` are the roles of the libraries that have a copied object.
    ``adapts`` are families of which a program takes the one that it finds, if it does: then ``family`` is one
    that is preferred, whatever ``mpi`` is, and ``asked`` are the names by which it wants the MPI.
    ``obstacles`` are libraries (name, path without links) that an RPATH of the host's own files would find.
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
    others: tuple[MpiLibrary, ...]
    needs: tuple[Need, ...]
    copies: Mapping[str, int]
    offered: frozenset[str]
    shared: tuple[SharedLibrary, ...]
    reaches_out: bool
    fortran: tuple[str, ...] = ()
    markers: frozenset[str] = frozenset()
    holder: str = ""
    plugins: tuple[str, ...] = ()
    early: Mapping[str, str] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    adapts: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    obstacles: tuple[tuple[str, str], ...] = ()

    @property
    def adapted(self) -> bool:
        """Whether the program uses another family than that of the MPI that lies in the image."""
        return bool(self.adapts) and bool(self.mpi) and self.family != self.mpi[0].family

    @property
    def other_families(self) -> tuple[str, ...]:
        """Further families whose C library was found, the first found first."""
        return tuple(dict.fromkeys(item.family for item in self.others if item.role == C_ROLE))

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
    probe = ImageProbe(view, environment, prefer=prefer)
    return probe.complete(probe.run(program, sparing=False))


@dataclass(frozen=True, slots=True)
class _Program:
    path: str
    kind: ProgramKind
    machine: str
    interpreter: str


class ImageProbe:
    """`probe_image` in two steps, for who knows the closure only after the first: fewer files are read.

    The arguments are those of `probe_image`, and ``reads`` what was read for other programs in the same
    environment; one object is for one program.
    """

    def __init__(
        self,
        view: RootView,
        environment: Mapping[str, str],
        *,
        prefer: tuple[str, ...] = (),
        reads: Reads | None = None,
    ) -> None:
        self._view = view
        self._prefer = prefer
        self._environment = environment
        self._reads = reads or Reads(view, environment)
        self._elves = self._reads.elves
        self._users: tuple[LoadedObject, ...] = ()
        self._loader: Loader | None = None

    def run(self, path: str | None, *, sparing: bool = True) -> ImageMpiFacts:
        """Everything but the parts of glibc and the shared libraries.

        ``sparing`` leaves out of the tree what only an MPI library needs, whose place the host's takes.
        """
        program = self._program(path)
        elf = program.kind is ProgramKind.ELF
        interpreter = program.interpreter if elf else ""
        loader = self._loader = self._reads.loader(program.machine, interpreter)
        libc = probe_libc(loader, interpreter=interpreter, names=())
        tree = loader.load(program.path, follow=self._follow if sparing else None) if elf else Tree((), ())
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
            others=(),
            needs=(),
            copies={},
            offered=frozenset(),
            shared=(),
            reaches_out=program.kind in (ProgramKind.NONE, ProgramKind.SCRIPT),
        )
        if program.kind is ProgramKind.STATIC:
            host = self._view.resolve(program.path)
            family = find_in_static(host, program.path) if host else ""
            return _linked_in(facts, program.path, family)
        if program.kind is ProgramKind.FOREIGN or libc.kind is LibcKind.NONE:
            return facts
        found = mpi_in(self._elves, tree)
        alone = opened_alone(loader, tree) if elf and not (found or interpreter) else None
        if alone:
            facts = replace(facts, tree=Tree(tree.objects, ()))
        plugins = [alone] if alone else self._plugins(facts, loader, sparing=sparing)
        if found:
            facts, self._users = self._with_tree(facts, found)
        else:
            holder, family = find_in_tree(self._elves, tree)
            if holder:
                return _linked_in(facts, holder, family)
            facts = self._adapted(self._with_search(facts, loader, plugins, sparing=sparing), plugins)
        facts = self._with_plugins(facts, plugins)
        return replace(facts, offered=offered_by(self._elves, facts.mpi))

    def complete(
        self, facts: ImageMpiFacts, names: Collection[str] | None = None, *, whole_libc: bool = False
    ) -> ImageMpiFacts:
        """Put the libraries with the sonames ``names`` into the facts (`asked_of_image`); None for all.

        ``whole_libc`` adds the whole C library, as `with_libc` wants it.
        """
        if (loader := self._loader) is None:
            return facts
        libc = facts.libc
        if libc.kind is LibcKind.GLIBC:
            program = facts.interpreter if facts.kind is ProgramKind.ELF else ""
            wanted = None if whole_libc else names
            libc = probe_libc(loader, interpreter=program, names=wanted, tree=facts.tree)
        if not facts.mpi:
            return replace(facts, libc=libc, shared=(), early={})
        replaced = {item.real for item in facts.mpi}
        shared = tuple(find_copies(loader, facts.tree, self._users, replaced, names))
        early = find_early(loader, facts.tree, replaced, names)
        return replace(facts, libc=libc, shared=shared, early=early)

    def meet(self, facts: ImageMpiFacts, rpaths: HostPaths) -> ImageMpiFacts:
        """Add what the host's files would find in the image by their own RPATHs."""
        return replace(facts, obstacles=find_obstacles(self._loader, rpaths) if self._loader else ())

    def _follow(self, chain: tuple[LoadedObject, ...], name: str) -> bool:
        """Whether the program's own tree goes on through ``name``, which the first of ``chain`` needs."""
        item = chain[0]
        if looks_like_mpi(name) or not looks_like_mpi(item.name, item.real, item.facts.soname):
            return True
        if any(above.facts.rpath for above in chain[1:]):
            return True  # where these search, the host's MPI will search for its own libraries, too
        library = identify(self._elves, item.path, item.real, item.host_path)
        internal = {sibling.role for sibling in tables().siblings if sibling.internal}
        return library is None or library.role not in {C_ROLE, *internal}

    # -- the program -----------------------------------------------------------------------------------------

    def _program(self, path: str | None) -> _Program:
        if path is None:
            return _Program("", ProgramKind.NONE, root_machine(self._view), "")
        host = self._view.resolve(path)
        if host is None or not self._view.is_file(path):
            raise AbiError(
                f"{path}: no such file in {self._view.name}", hint="give the program's path in the image"
            )
        machine = file_machine(host, shown=path)
        if machine is None:
            words = read_shebang(host)
            return _Program(path, ProgramKind.SCRIPT, root_machine(self._view), words[0] if words else "")
        try:
            with open_elf(host, shown=path) as elf:
                # A library is judged as well: no static program has a name or needs anything.
                dynamic = elf.interpreter or elf.needed or elf.soname
                kind = ProgramKind.ELF if dynamic else ProgramKind.STATIC
                return _Program(path, kind, machine, elf.interpreter)
        except ForeignElf:
            return _Program(path, ProgramKind.FOREIGN, machine, "")

    # -- MPI in the program's tree ---------------------------------------------------------------------------

    def _with_tree(
        self, facts: ImageMpiFacts, found: dict[int, MpiLibrary]
    ) -> tuple[ImageMpiFacts, tuple[LoadedObject, ...]]:
        family = next(item.family for item in found.values() if item.role == C_ROLE)
        mine = of_family(found, family)
        needs, users = needs_of(self._elves, facts.tree, mine)
        copies, owners = copies_of(self._elves, facts.tree.objects[0], c_first(mine.values()))
        changed = replace(
            facts,
            family=family,
            source=MpiSource.TREE,
            mpi=c_first(mine.values()),
            others=tuple(item for item in found.values() if item.family not in ("", family)),
            needs=needs,
            bindings=bindings_of(
                self._elves, facts.tree, mine, needs, at_once=bool(self._environment.get("LD_BIND_NOW"))
            ),
            copies=copies,
            owners=owners,
            markers=markers_of(self._elves, users, mine.values(), family) - copies.keys(),
            fortran=runtimes_of(users),
        )
        return changed, users

    # -- MPI somewhere in the image --------------------------------------------------------------------------

    def _with_search(
        self, facts: ImageMpiFacts, loader: Loader, plugins: list[Plugin], *, sparing: bool
    ) -> ImageMpiFacts:
        """Look where an MPI can be: for scripts, no program, and programs that may start or open others.

        For others, it only serves to tell more.
        """
        reaches_out = facts.reaches_out or any(
            self._elves.undefined(item.host_path) & _REACHES_OUT
            for item in facts.tree.objects
            if item.how is Found.PROGRAM or matches(item.facts.soname, tables().runtimes)
        )
        if sparing and not reaches_out and not plugins:
            return facts
        found = list(self._reads.libraries(loader))
        known = {item.real for item in found}
        opened = [item for each in plugins for item in of_family(each.mpi, each.family).values()]
        found += {item.real: item for item in opened if item.real not in known}.values()
        families = list(dict.fromkeys(item.family for item in found if item.role == C_ROLE))
        if not families:
            return replace(facts, reaches_out=reaches_out)
        # What the program opens first, what can be replaced before what cannot; then the loader's own order.
        wanted = {each.family for each in plugins if each.mpi}
        swappable = {name for name in families if tables().families[name].swappable}
        families.sort(key=lambda name: (name not in wanted, name not in self._prefer, name not in swappable))
        chosen = [item for item in found if item.family == families[0]]
        return replace(
            facts,
            family=families[0],
            source=MpiSource.SEARCH,
            mpi=c_first(chosen),
            others=tuple(item for item in found if item.family in families[1:]),
            reaches_out=reaches_out or bool(plugins),
        )

    # -- what the program opens ------------------------------------------------------------------------------

    def _plugins(self, facts: ImageMpiFacts, loader: Loader, *, sparing: bool) -> list[Plugin]:
        """The files that use MPI among those that the program opens by the table."""
        names: set[str] | None = {
            path.rpartition("/")[2] for item in facts.tree.objects for path in (item.name, item.real)
        }
        if facts.kind is ProgramKind.NONE:
            names = None
        elif facts.kind is ProgramKind.SCRIPT:
            names = {
                word.rpartition("/")[2] for word in read_shebang(self._view.resolve(facts.program) or "")
            }
        return find_plugins(loader, names, follow=self._follow if sparing else None)

    def _with_plugins(self, facts: ImageMpiFacts, plugins: list[Plugin]) -> ImageMpiFacts:
        for each in plugins:
            if facts.mpi and each.family == facts.family:
                needs, users = plugin_needs(self._elves, each, facts.mpi[0])
                self._users += tuple(item for item in users if item not in self._users)
                more = tuple(need for need in needs if need not in facts.needs)
                facts = replace(
                    facts,
                    needs=facts.needs + more,
                    plugins=(*facts.plugins, each.path),
                    asked=(*facts.asked, *asked_names(each)),
                )
        return facts

    def _adapted(self, facts: ImageMpiFacts, plugins: list[Plugin]) -> ImageMpiFacts:
        """The facts for the preferred family that the program has modules for, if it opens nothing else."""
        # Not for an image as such: other programs may lie beside the one that adapts.
        if facts.source is not MpiSource.SEARCH or facts.kind is ProgramKind.NONE:
            return facts
        adapts = adapts_to(plugins)
        able = [name for name in (facts.family, *self._prefer, *adapts) if name in adapts]
        here = [name for name in able if name in self._prefer]
        family = (here or able or [facts.family])[0]
        return replace(facts, adapts=adapts, family=family)


def _linked_in(facts: ImageMpiFacts, holder: str, family: str) -> ImageMpiFacts:
    """The facts of a program with an MPI of ``family`` ("": none) in the file ``holder``."""
    return replace(facts, source=MpiSource.STATIC, family=family, holder=holder) if family else facts
