"""Which C library a container has, and whether it is new enough for libraries from outside.

glibc is backward compatible only: a library linked against a newer one asks for symbol versions
(``GLIBC_2.34``) that an older one does not define, and ld.so refuses it.  What is defined is read from the
files themselves; no image's ``ldd`` is run.

Where the image's is too old for the host's MPI, the host's glibc takes its place (`probe_host_libc`): its
loader, libraries, NSS and gconv modules and the programs that use its private interfaces, all or none, for
they are made for each other (``GLIBC_PRIVATE``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .elfcache import ElfCache, file_machine
from .errors import AbiError
from .families import tables
from .guards import Recorder
from .host import host_loader
from .ldfiles import INTERPRETERS
from .loader import Loader, Tree
from .rootfs import RootView

_LIBC = "libc.so.6"
_GCONV = r"\x00(/[^\x00]{1,1024})/gconv-modules\.cache\x00"
PRIVATE = "GLIBC_PRIVATE"
"""The version of what glibc's own files export to each other; it changes meaning with each release."""


class LibcKind(StrEnum):
    """Whose C library."""

    GLIBC = "glibc"
    MUSL = "musl"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LibcFacts:
    """A container's C library: ``version`` is the newest ``GLIBC_x.y`` that its files define, e.g. (2, 36).

    That is at most the release: some releases add no symbols.  ``defined`` holds the symbol versions by
    soname, for each of glibc's libraries that is there, and ``files`` the real path of that which the program
    gets.

    Only of a ``whole`` set: ``files`` has other copies that a loader could take behind it, and the NSS
    modules as well; ``programs`` are the real paths, by name,
    of those that use glibc's private interfaces; ``gconv`` is the directory where this libc looks for
    character sets, and ``charsets`` what that holds; ``directories`` are those that the loader searches
    without being told, after its table (if it is ``cached``).
    """

    kind: LibcKind
    path: str
    version: tuple[int, ...]
    defined: Mapping[str, frozenset[str]]
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    whole: bool = False
    programs: Mapping[str, str] = field(default_factory=dict)
    gconv: str = ""
    charsets: frozenset[str] = frozenset()
    directories: tuple[str, ...] = ()
    cached: bool = False


def glibc_version(names: Iterable[str]) -> tuple[int, ...]:
    """The newest of symbol versions such as ``GLIBC_2.2.5``; () if there is none."""
    matches = (re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", name) for name in names)
    return max((tuple(int(part) for part in m.group(1).split(".")) for m in matches if m), default=())


def show_version(version: tuple[int, ...]) -> str:
    """(2, 36) -> ``2.36``."""
    return ".".join(str(part) for part in version)


def musl_loader(view: RootView) -> str:
    """Container path of musl's loader, or ""."""
    return next((f"/lib/{name}" for name in view.names("/lib") if name.startswith("ld-musl-")), "")


def is_musl(interpreter: str) -> bool:
    """Whether a program's interpreter is musl's."""
    return interpreter.rpartition("/")[2].startswith("ld-musl-")


def probe_libc(
    loader: Loader, *, interpreter: str = "", names: Collection[str] | None = None, tree: Tree | None = None
) -> LibcFacts:
    """Read which C library the container's programs (or the one with ``interpreter``) run on.

    ``names`` are the sonames of glibc's libraries that are asked for beside libc itself; None for the whole
    set.  ``tree`` is the program's.
    """
    if is_musl(interpreter):
        return LibcFacts(LibcKind.MUSL, interpreter, (), {})
    libraries = tables().libc if names is None else tables().libc & {_LIBC, *names}
    defined: dict[str, frozenset[str]] = {}
    files: dict[str, tuple[str, ...]] = {}
    path = ""
    for soname in sorted(libraries):
        copies = _copies(loader, soname, tree, every=names is None)
        if not copies:
            continue
        first = next(iter(copies.values()))
        defined[soname] = loader.elves.facts(loader.view.resolve(first) or "", shown=first).versions_defined
        files[soname] = tuple(copies)
        if soname == _LIBC:
            path = first
    if not path:
        musl = musl_loader(loader.view)
        return LibcFacts(LibcKind.MUSL if musl else LibcKind.NONE, musl, (), {})
    version = glibc_version(name for names in defined.values() for name in names)
    facts = LibcFacts(LibcKind.GLIBC, path, version, defined, files)
    return _with_rest(loader, facts) if names is None else facts


def probe_host_libc(recorder: Recorder | None = None) -> LibcFacts:
    """Read this host's whole glibc; ``recorder`` gets guards for what is read."""
    return probe_libc(host_loader(ElfCache(), recorder))


def _with_rest(loader: Loader, facts: LibcFacts) -> LibcFacts:
    """Add what only a whole set has."""
    view = loader.view
    modules = {
        name: (real,)
        for name in sorted(tables().libc_modules)
        if (found := loader.find(name)) and (real := view.canonical(found[0]))
    }
    programs = {
        path.rpartition("/")[2]: real
        for path in tables().libc_programs
        if view.is_file(path) and (real := view.canonical(path))
    }
    gconv = _gconv_directory(loader, facts.path)
    gconv = gconv if gconv and view.is_dir(gconv) else ""
    return replace(
        facts,
        files={**facts.files, **modules},
        whole=True,
        programs=programs,
        gconv=gconv,
        charsets=frozenset(name for name in (view.names(gconv) if gconv else ()) if name.endswith(".so")),
        directories=loader.default_dirs,
        cached=bool(loader.cache),
    )


def _copies(loader: Loader, soname: str, tree: Tree | None, *, every: bool) -> dict[str, str]:
    """A library by its real paths, with the first name of each: the program's copy and the loader's.

    With ``every``, others as well: another program in there may take another copy, or name one by its path.
    """
    found = loader.find(soname)
    objects = tree.objects if tree else ()
    paths = [item.path for item in objects if soname in (item.name, item.facts.soname)]
    paths += [found[0]] if found else []
    if every:
        common = INTERPRETERS.get(loader.machine, "")
        paths += [common] if common.endswith(f"/{soname}") else []
        paths += [path for path, _ in loader.cache.get(soname, ())]
        paths += [] if loader.cache else [f"{folder}/{soname}" for folder in loader.default_dirs]
    copies: dict[str, str] = {}
    view = loader.view
    for path in paths:
        real, host = view.canonical(path), view.resolve(path)
        if real and host and real not in copies and view.is_file(path):
            with suppress(AbiError):  # what cannot be read cannot be loaded either
                if file_machine(host) == loader.machine:
                    copies[real] = path
    return copies


def _gconv_directory(loader: Loader, libc: str) -> str:
    """Where a libc looks for the modules of iconv(3): compiled in, and unlike among distributions."""
    host = loader.view.resolve(libc)
    return loader.elves.match(host, _GCONV) if host else ""


def root_machine(view: RootView) -> str:
    """Architecture of a container's own programs, by its loader or shell; "" if neither is there."""
    for path in (*INTERPRETERS.values(), musl_loader(view), "/bin/sh"):
        host = view.resolve(path) if path else None
        if host is not None:
            try:
                machine = file_machine(host)
            except AbiError:
                continue
            if machine:
                return machine
    return ""


def lacking(facts: LibcFacts, needed: Mapping[str, frozenset[str]]) -> tuple[tuple[str, str], ...]:
    """The (soname, version) pairs that a library needs and the C library does not define, newest last."""
    libc = tables().libc
    pairs = [
        (soname, name)
        for soname, names in needed.items()
        if soname in libc
        for name in names
        if name not in facts.defined.get(soname, frozenset())
    ]
    return tuple(sorted(pairs, key=lambda pair: (glibc_version([pair[1]]), pair)))


def unfit(image: LibcFacts, host: LibcFacts, used: Collection[str]) -> tuple[tuple[str, str], ...]:
    """What keeps a host's glibc from taking the place of an image's: (soname, version) pairs that it lacks.

    The version is "" where the host has no such library at all and one of the ``used`` sonames is that.
    """
    lost = [
        (soname, name)
        for soname, names in image.defined.items()
        if soname in host.defined
        for name in names - host.defined[soname] - {PRIVATE}
    ]
    lost += [(soname, "") for soname in image.defined if soname not in host.defined and soname in used]
    return tuple(sorted(lost, key=lambda pair: (glibc_version([pair[1]]), pair)))
