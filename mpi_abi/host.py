"""Probe of this host: which MPIs it has.  Reads only."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from .elfcache import ElfCache, file_machine
from .errors import AbiError
from .families import C_ROLE, tables
from .guards import Recorder
from .loader import Loader
from .mpilib import MpiLibrary, identify, looks_like_mpi
from .rootfs import RootView


@dataclass(frozen=True, slots=True)
class HostMpi:
    """An MPI of this host.

    ``libraries`` starts with the C library; ``exports`` are the names that each defines, by role, and
    ``objects`` the sizes in bytes of the data among them.  ``fortran`` are the sonames of the compiler's
    run-time libraries that its Fortran interface needs.
    """

    family: str
    prefix: str
    machine: str
    libraries: tuple[MpiLibrary, ...]
    exports: Mapping[str, frozenset[str]]
    objects: Mapping[str, int]
    fortran: tuple[str, ...] = ()

    @property
    def c_library(self) -> MpiLibrary:
        """The library with the C interface."""
        return self.libraries[0]

    @property
    def title(self) -> str:
        """Product and version, as people say it."""
        return self.c_library.title

    @property
    def version(self) -> str:
        """The version as its file tells it, "" if it does not."""
        return self.c_library.version

    @property
    def product(self) -> str:
        """Who built it, "" for the family itself."""
        return self.c_library.product

    @property
    def values(self) -> str:
        """The set of values of its constants, "" if that is not known."""
        return self.c_library.values

    def is_below(self, prefix: str) -> bool:
        """Whether it was found below ``prefix``, or lies there: a prefix may be a link."""
        top = prefix.rstrip("/") + "/"
        return self.c_library.path.startswith(top) or self.c_library.real.startswith(top)

    def library(self, role: str) -> MpiLibrary | None:
        """The library that plays this role, if the host has it."""
        return next((item for item in self.libraries if item.role == role), None)


def host_machine() -> str:
    """This machine's architecture, as ``uname -m`` says it."""
    return platform.machine()


def host_loader(elves: ElfCache, recorder: Recorder | None = None, *, root: str = "/") -> Loader:
    """The host's own loader, as a program without LD_LIBRARY_PATH meets it.

    The environment of a job does not count: it says what the user has loaded for the bare host, and the same
    image must get the same MPI from a login shell and from a batch script.
    """
    return Loader(RootView(root, recorder=recorder), elves, machine=host_machine(), environment={})


def probe_host(
    *,
    prefixes: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    family: str = "",
    search: bool = True,
    recorder: Recorder | None = None,
    problems: list[str] | None = None,
    root: str = "/",
) -> tuple[HostMpi, ...]:
    """Find the MPIs of this host.

    Args:
        prefixes: directories of installations that the loader does not search, e.g. ``/opt/mpich-4.3``;
            absolute.
        family: look only for this one, "" for all.
        optional: more of them, which may hold no MPI.
        search: look also where the loader does, and at the known places.
        recorder: gets guards for what is read.
        problems: gets a line for each file that looks like an MPI's and cannot be read.
        root: where the host's files are.

    Returns them best first within a family: those in ``prefixes`` in that order, then in the order of the
    loader's own search, then of the known places.  Raises AbiError if a prefix holds no MPI or a
    damaged one.
    """
    elves = ElfCache()
    loader = host_loader(elves, recorder, root=root)
    places: dict[str, dict[str, MpiLibrary]] = {}
    problems = [] if problems is None else problems
    for prefix in (*prefixes, *optional):
        bad: list[str] = []
        found = list(_in_prefix(loader, prefix, bad))
        if prefix in prefixes and not any(item.role == C_ROLE for item in found):
            why = f" ({'; '.join(bad)})" if bad else ""
            raise AbiError(
                f"{prefix}: no MPI library there{why}", hint="name the directory that has lib/libmpi*.so*"
            )
        problems += bad
        _place(places, found)
    if search:
        _place(places, _identified(loader, _known_paths(loader), problems))
    hosts = []
    for libraries in places.values():
        for item in libraries.values():
            if item.role != C_ROLE or family not in ("", item.family):
                continue
            try:
                hosts.append(_host_mpi(elves, item, list(libraries.values())))
            except AbiError as error:
                # What a launch was told to take must not give way to another; the rest is passed over.
                if any(_is_below(item.real, prefix) for prefix in prefixes):
                    raise AbiError(str(error), hint="repair that MPI, or name another prefix") from error
                problems.append(str(error))
    return tuple(hosts)


def probe_prefix(prefix: str) -> tuple[HostMpi, ...]:
    """The MPIs below one prefix (absolute), and no others.  Raises AbiError if it holds none."""
    hosts = probe_host(prefixes=(prefix,))
    return tuple(host for host in hosts if _is_below(host.c_library.real, prefix))


def _is_below(real: str, prefix: str) -> bool:
    base = RootView("/").canonical(prefix) or prefix
    return real.startswith(base.rstrip("/") + "/")


def choose_host(
    hosts: tuple[HostMpi, ...], family: str, *, order: tuple[str, ...] = (), values: str = ""
) -> HostMpi | None:
    """The host's MPI to use for an image's ``family``, or None if the host has none of it.

    ``order`` lists prefixes that the site prefers; others follow in the order in which they were found.
    Where members of a family differ in the values of their constants, one with ``values`` comes first.
    """
    fitting = [host for host in hosts if host.family == family]

    def rank(host: HostMpi) -> tuple[bool, int]:
        places = (i for i, prefix in enumerate(order) if host.is_below(prefix))
        return bool(values) and host.values != values, next(places, len(order))

    return min(fitting, key=rank, default=None)


def _place(places: dict[str, dict[str, MpiLibrary]], libraries: Iterable[MpiLibrary]) -> None:
    """Sort libraries by directory, and there by soname.

    Where several files have one soname (wheels hold copies for links), the file of that name is what loaders
    find.
    """
    for item in libraries:
        here = places.setdefault(item.real.rpartition("/")[0], {})
        known = here.get(item.soname)
        if known is None or (_named(item) and not _named(known)):
            here[item.soname] = item


def _named(item: MpiLibrary) -> bool:
    """Whether a library is found by its own soname."""
    return item.path.rpartition("/")[2] == item.soname


def _in_prefix(loader: Loader, prefix: str, problems: list[str]) -> Iterator[MpiLibrary]:
    """The MPI libraries below a prefix, of the first row of places that holds any."""
    for row in tables().prefix_dirs:
        patterns = (f"{prefix.rstrip('/')}/{part}".rstrip("/") for part in row)
        folders = [folder for pattern in patterns for folder in loader.view.expand(pattern)]
        paths = (path for folder in folders for path in _libraries_in(loader.view, folder))
        found = list(_identified(loader, paths, problems))
        if any(item.role == C_ROLE for item in found):
            yield from found
            return


def _libraries_in(view: RootView, folder: str) -> Iterator[str]:
    yield from (f"{folder}/{name}" for name in view.names(folder) if looks_like_mpi(name))


def _known_paths(loader: Loader) -> Iterator[str]:
    for name, entries in loader.cache.items():
        if looks_like_mpi(name):
            yield from (path for path, _ in entries)
    for pattern in tables().host_dirs:
        for folder in reversed(loader.view.expand(pattern)):
            yield from _libraries_in(loader.view, folder)


def _identified(loader: Loader, paths: Iterator[str], problems: list[str]) -> Iterator[MpiLibrary]:
    seen = set()
    for path in paths:
        real, host = loader.view.canonical(path), loader.view.resolve(path)
        if real is None or host is None or real in seen or not loader.view.is_file(real):
            continue
        seen.add(real)
        try:
            # Linker scripts and other machines' libraries are no news.
            library = (
                identify(loader.elves, path, real, host) if file_machine(host) == loader.machine else None
            )
        except AbiError as error:
            problems.append(str(error))
            continue
        if library is not None:
            yield library


def _host_mpi(elves: ElfCache, c_library: MpiLibrary, beside: list[MpiLibrary]) -> HostMpi:
    """Put an MPI together: its C library and, from the same directory, what needs or is needed by it."""
    names = {c_library.soname, c_library.path.rpartition("/")[2], c_library.real.rpartition("/")[2]}
    needed = set(elves.facts(c_library.host_path).needed)
    chosen = {C_ROLE: c_library}
    for item in beside:
        belongs = item.soname in needed or names & set(elves.facts(item.host_path).needed)
        if item.role != C_ROLE and belongs:
            chosen.setdefault(item.role, replace(item, family=c_library.family))
    linked = dict.fromkeys(name for item in chosen.values() for name in elves.facts(item.host_path).needed)
    return HostMpi(
        family=c_library.family,
        prefix=c_library.real.rpartition("/")[0],
        machine=host_machine(),
        libraries=tuple(chosen.values()),
        exports={role: elves.exports(item.host_path) for role, item in chosen.items()},
        objects={
            name: size for item in chosen.values() for name, size in elves.objects(item.host_path).items()
        },
        fortran=tuple(filter(tables().fortran_maker, linked)),
    )
