"""Which C library a container has, and whether it is new enough for libraries from outside.

glibc is backward compatible only: a library linked against a newer one asks for symbol versions
(``GLIBC_2.34``) that an older one does not define, and ld.so refuses it.  What is defined is read from the
files themselves; no image's ``ldd`` is run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .elfcache import file_machine
from .errors import AbiError
from .families import tables
from .loader import INTERPRETERS, Loader
from .rootfs import RootView

_LIBC = "libc.so.6"


class LibcKind(StrEnum):
    """Whose C library."""

    GLIBC = "glibc"
    MUSL = "musl"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LibcFacts:
    """A container's C library: ``version`` is the newest ``GLIBC_x.y`` that its files define, e.g. (2, 36).

    That is at most the release: some releases add no symbols.  ``defined`` holds the symbol versions by
    soname, for each of glibc's files that is there.
    """

    kind: LibcKind
    path: str
    version: tuple[int, ...]
    defined: Mapping[str, frozenset[str]]


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


def probe_libc(loader: Loader, *, interpreter: str = "", names: Collection[str] | None = None) -> LibcFacts:
    """Read which C library the container's programs (or the one with ``interpreter``) run on.

    ``names`` are the sonames of glibc's files that are asked for beside libc itself; None for all.
    """
    if is_musl(interpreter):
        return LibcFacts(LibcKind.MUSL, interpreter, (), {})
    defined: dict[str, frozenset[str]] = {}
    path = ""
    for soname in sorted(tables().libc if names is None else tables().libc & {_LIBC, *names}):
        found = loader.find(soname)
        host = loader.view.resolve(found[0]) if found else None
        if found is None or host is None:
            continue
        defined[soname] = loader.elves.facts(host, shown=found[0]).versions_defined
        if soname == _LIBC:
            path = found[0]
    if path:
        return LibcFacts(
            LibcKind.GLIBC, path, glibc_version(name for names in defined.values() for name in names), defined
        )
    musl = musl_loader(loader.view)
    return LibcFacts(LibcKind.MUSL if musl else LibcKind.NONE, musl, (), {})


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
