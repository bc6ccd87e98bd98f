"""Everything there is to tell of this host's MPIs, for people: what ``bareboat abi host`` shows.

Beyond what a launch reads, each library is asked for its version in a child (`ask`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .ask import Answer, ask_version
from .closure import Closure, ClosureFile, find_closure
from .errors import AbiError
from .families import stem, tables
from .host import HostMpi, choose_host, probe_host
from .libc import glibc_version, show_version
from .pmi import Spoken, spoken_by
from .product import read_answer, value_set

_KINDS = ("MPI_T_", "MPIX_", "MPI_")


@dataclass(frozen=True, slots=True)
class Fabric:
    """A fabric library of a closure with the plugins that it would open; both are paths."""

    group: str
    libraries: tuple[str, ...]
    plugins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Glibc:
    """The newest GLIBC_ version that the C library needs, that all of the closure needs, and whose it is."""

    library: str
    closure: str
    newest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One MPI.

    ``values`` is the set of values of its constants; ``counts`` are exported names by their prefix.
    ``taken`` says that BAREBOAT_MPI=auto takes it for images of its family and values, ``why`` the reason.
    """

    host: HostMpi
    answer: Answer
    values: str
    counts: Mapping[str, int]
    glibc: Glibc
    fabrics: tuple[Fabric, ...]
    spoken: Spoken
    taken: bool
    why: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """The MPIs of a host; ``notes`` are about files that look like an MPI's and are none that can be read."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


def take_stock(
    *,
    prefixes: tuple[str, ...] = (),
    site: tuple[str, ...] = (),
    search: bool = True,
    environment: Mapping[str, str],
) -> Inventory:
    """Find and describe the MPIs of this host.

    Args:
        prefixes: directories to look at beside those that a launch knows.
        site: prefixes of the site's configuration.
        search: whether a launch looks elsewhere, too (`probe_host`).
        environment: of whoever asks, for a virtual environment and modules that are active.

    Raises AbiError if one of ``prefixes`` holds no MPI.
    """
    problems: list[str] = []
    active = named_by(environment)
    hosts = probe_host(prefixes=prefixes, optional=(*site, *active), problems=problems)
    launched = probe_host(optional=site, search=search)
    known = {host.c_library.real for host in launched}
    entries = tuple(_describe(host, launched, known, site, active) for host in hosts)
    empty = [prefix for prefix in site if not any(host.is_below(prefix) for host in launched)]
    problems += [f"{prefix}: no MPI there, which the configuration names" for prefix in empty]
    return Inventory(entries, tuple(dict.fromkeys(problems)))


def named_by(environment: Mapping[str, str]) -> dict[str, str]:
    """The directories that a shell's variables name, each with the first variable that does.  Pure."""
    found: dict[str, str] = {}
    for name in tables().variables:
        for folder in environment.get(name, "").split(":"):
            # Only what is meant wherever the shell stands.
            if folder.startswith("/"):
                found.setdefault(folder, name)
    return found


def _describe(
    host: HostMpi,
    launched: tuple[HostMpi, ...],
    known: Collection[str],
    site: tuple[str, ...],
    active: Mapping[str, str],
) -> Entry:
    notes: list[str] = []
    try:
        closure = find_closure(host)
    except AbiError as error:
        notes.append(f"what it needs cannot be read: {error}")
        closure = Closure((), (), (), ())
    notes += [f"{user} needs {name}, which is not on this host" for name, user in closure.missing]
    answer = ask_version(host.c_library.real)
    if answer.problem:
        notes.append(f"it was asked for its version: {answer.problem}")
    elif host.version and host.version not in answer.text:
        notes.append(f"it calls itself {answer.line!r}; its file says {host.version}")
    values = host.values or value_set(host.family, *read_answer(host.family, answer.text))
    if not host.values:
        notes.append("its file does not tell which of the standard ABI's values it has: no image gets it")
    taken, why = _auto(host, launched, known, site)
    if host.c_library.real not in known:
        names = {name for folder, name in active.items() if host.is_below(folder)}
        notes += [f"your {name} names it" for name in tables().variables if name in names]
    exports = host.exports[host.c_library.role]
    return Entry(
        host=host,
        answer=answer,
        values=values,
        counts=count_names(exports),
        glibc=_glibc(closure),
        fabrics=tuple(_fabrics(closure)),
        spoken=spoken_by(host, closure),
        taken=taken,
        why=why,
        notes=tuple(notes),
    )


def count_names(names: Collection[str]) -> dict[str, int]:
    """How many of the names are functions and data of MPI, of its tools interface, and extensions."""
    counts = dict.fromkeys(reversed(_KINDS), 0)
    for name in names:
        kind = next((prefix for prefix in _KINDS if name.startswith(prefix)), "")
        if kind:
            counts[kind] += 1
    return counts


def _auto(
    host: HostMpi, launched: tuple[HostMpi, ...], known: Collection[str], site: tuple[str, ...]
) -> tuple[bool, str]:
    """Whether a launch takes this MPI, and why."""
    if host.c_library.real not in known:
        return False, "no launch looks there unless mpi.prefixes of the configuration names it"
    chosen = choose_host(launched, host.family, order=site, values=host.values)
    rivals = [item for item in launched if (item.family, item.values) == (host.family, host.values)]
    if chosen is None or chosen.c_library.real != host.c_library.real:
        other = chosen.c_library.real if chosen else ""
        return False, f"{other} comes first"
    prefix = next((prefix for prefix in site if host.is_below(prefix)), "")
    if prefix:
        return True, f"the configuration names {prefix}"
    return True, "the only one of its kind" if len(rivals) == 1 else "the first that the host's loader finds"


def _glibc(closure: Closure) -> Glibc:
    def newest(file: ClosureFile) -> tuple[int, ...]:
        needed = (file.versions_needed.get(name, frozenset()) for name in tables().libc)
        return glibc_version(frozenset[str]().union(*needed))

    if not closure.files:
        return Glibc("", "", "")
    # A driver of hardware that this host lacks counts too: a host that has it brings it.
    top = max(closure.files, key=newest)
    return Glibc(show_version(newest(closure.files[0])), show_version(newest(top)), top.path)


def _fabrics(closure: Closure) -> list[Fabric]:
    found = []
    for group in tables().groups:
        mine = [file for file in closure.files if file.group == group.name]
        libraries = tuple(
            file.path for file in mine if not file.plugin and stem(file.soname) in group.libraries
        )
        plugins = tuple(file.path for file in mine if file.plugin)
        if group.fabric and libraries:
            found.append(Fabric(group.name, libraries, plugins))
    return found
