"""Does this host's MPI fit this image?  Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from .closure import Closure
from .families import C_ROLE, tables
from .host import HostMpi
from .image import ImageMpiFacts, MpiSource, ProgramKind
from .libc import LibcKind, lacking, show_version
from .mpilib import looks_like_mpi
from .sharing import share

_OWN_MPI = "BAREBOAT_MPI=image runs the program with the image's own MPI"


class VerdictKind(StrEnum):
    """The answer."""

    NATIVE = "native"
    TRANSLATED = "translated"
    IMPOSSIBLE = "impossible"
    NO_MPI = "no-mpi"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: ``code`` for programs, ``text`` a sentence, ``evidence`` files or symbols, ``hint`` a way out."""

    code: str
    text: str
    evidence: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with its reasons; the libraries are paths, the image's in the container."""

    kind: VerdictKind
    reasons: tuple[Reason, ...]
    image_library: str
    host_library: str


def judge(image: ImageMpiFacts, host: HostMpi | None, closure: Closure | None = None) -> Verdict:
    """Judge whether ``host`` can stand in for the image's MPI.

    Give the host's MPI of the image's family; where it has none, any other: the verdict then is TRANSLATED.
    Without ``closure`` nothing is said about what the host's MPI needs in turn: its C library and its
    dependencies.
    """
    kind, reasons = _decide(image, host, closure)
    library = image.library()
    return Verdict(kind, reasons, library.path if library else "", host.c_library.path if host else "")


def _decide(
    image: ImageMpiFacts, host: HostMpi | None, closure: Closure | None
) -> tuple[VerdictKind, tuple[Reason, ...]]:
    if image.kind is ProgramKind.FOREIGN or (host and image.machine and image.machine != host.machine):
        return VerdictKind.IMPOSSIBLE, (_architecture(image, host),)
    without = _without_mpi(image)
    if without:
        return without
    title = tables().title(image.family)
    if image.libc.kind is LibcKind.MUSL:
        text = f"the image runs on musl ({image.libc.path}), and this host's MPI needs glibc"
        hint = f"build the image on a glibc distribution; {_OWN_MPI}"
        return VerdictKind.IMPOSSIBLE, (Reason("musl", text, (image.libc.path,), hint),)
    if image.family == "unknown":
        text = f"{image.mpi[0].path} is an MPI library of no known family: its handles cannot be compared"
        return VerdictKind.IMPOSSIBLE, (Reason("family-unknown", text, (image.mpi[0].real,), _OWN_MPI),)
    if host is None:
        text = f"the image uses {title}, and no MPI was found on this host"
        return VerdictKind.IMPOSSIBLE, (Reason("no-host-mpi", text, (), f"install {title}; {_OWN_MPI}"),)
    if host.family != image.family:
        text = f"the image uses {title}, this host has {host.title}: handles and constants differ"
        evidence = (image.mpi[0].real, host.c_library.real)
        hint = f"install {title} on the host; {_OWN_MPI}"
        return VerdictKind.TRANSLATED, (Reason("other-family", text, evidence, hint),)
    if not tables().families[image.family].swappable:
        text = "two sets of constants exist under the standard ABI's one name, and no symbol tells them apart"
        return VerdictKind.IMPOSSIBLE, (Reason("standard-abi", text, (image.mpi[0].real,), _OWN_MPI),)
    against = [*_missing_interfaces(image, host), *_missing_symbols(image, host), *_sizes(image, host)]
    if closure is not None:
        against += _closure_reasons(image, host, closure)
    if against:
        return VerdictKind.IMPOSSIBLE, tuple(against)
    return VerdictKind.NATIVE, tuple(_in_favour(image, host))


def _architecture(image: ImageMpiFacts, host: HostMpi | None) -> Reason:
    what = image.program or "the image"
    here = f"this host is {host.machine}" if host else "only 64-bit little-endian files can be judged"
    hint = "use an image built for this machine"
    return Reason("architecture", f"{what} is built for {image.machine}; {here}", (), hint)


def _without_mpi(image: ImageMpiFacts) -> tuple[VerdictKind, tuple[Reason, ...]] | None:
    """The verdict on programs that have no MPI to replace, or one that cannot be."""
    for missing in image.missing:
        if image.source is not MpiSource.TREE and looks_like_mpi(missing.name):
            text = f"{missing.needed_by} needs {missing.name}, which is not in the image"
            hint = "install the MPI that the program was built with in the image"
            return VerdictKind.IMPOSSIBLE, (Reason("mpi-missing", text, (missing.name,), hint),)
    if image.source is MpiSource.STATIC:
        text = f"{image.program} has its MPI linked in statically; it cannot be replaced"
        hint = f"link the program against a shared MPI library; {_OWN_MPI}"
        return VerdictKind.IMPOSSIBLE, (Reason("static-mpi", text, (image.program,), hint),)
    what = image.program or "the image"
    if image.source is MpiSource.NONE:
        return VerdictKind.NO_MPI, (Reason("no-mpi", f"{what} has no MPI library"),)
    if image.source is MpiSource.SEARCH and not image.reaches_out:
        text = f"{what} needs no MPI library, and can neither open nor start anything that does"
        return VerdictKind.NO_MPI, (Reason("no-mpi", text, (image.mpi[0].real,)),)
    return None


def _missing_interfaces(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    for need in image.needs:
        if host.library(need.role) is None:
            part = tables().role_title(need.role)
            text = f"{need.user} uses {part} in {need.library}, which {host.title} has not"
            hint = f"install that part of {tables().title(host.family)} on the host; {_OWN_MPI}"
            yield Reason("interface-missing", text, tuple(sorted(need.symbols)[:20]), hint)


def _missing_symbols(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    has = frozenset[str]().union(*host.exports.values())
    for need in image.needs:
        lost = sorted(need.symbols - has)
        if lost and host.library(need.role) is not None:
            text = (
                f"{need.user} needs {_list(lost)}, which {host.title} ({host.c_library.path}) does not have"
            )
            hint = f"use a newer {tables().title(host.family)} on the host; {_OWN_MPI}"
            yield Reason("symbol-missing", text, tuple(lost), hint)


def _sizes(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    for name, size in image.copies.items():
        theirs = host.objects.get(name)
        if theirs != size:
            has = f"{theirs} bytes" if theirs is not None else "no such object"
            text = f"{image.program} has reserved {size} bytes for {name}; {host.c_library.path} has {has}"
            yield Reason("object-size", text, (name,), f"rebuild the program as PIE; {_OWN_MPI}")


def _closure_reasons(image: ImageMpiFacts, host: HostMpi, closure: Closure) -> Iterator[Reason]:
    sharing = share(image, host, closure)
    too_new = [
        (item, pairs) for item in sharing.brought if (pairs := lacking(image.libc, item.versions_needed))
    ]
    if too_new:
        # The MPI's own library comes first; of what it lacks, the newest.
        item, pairs = too_new[0]
        soname, version = pairs[-1]
        text = (
            f"{item.path} of this host needs {version} of {soname}; "
            f"the image's glibc ends at {show_version(image.glibc)}"
        )
        evidence = tuple(f"{file.soname}: {v} ({s})" for file, lost in too_new for s, v in lost)
        yield Reason("glibc", text, evidence, f"use an image with a newer distribution; {_OWN_MPI}")
    for conflict in sharing.conflicts:
        text = (
            f"the program needs {_list(list(conflict.lacking))} of {conflict.image_path}; "
            f"the host's MPI needs its own {conflict.file.path}, which does not have it"
        )
        yield Reason("conflict", text, conflict.lacking, f"use a newer host or an older image; {_OWN_MPI}")
    brought = {item.path: item for item in sharing.brought if not item.plugin}
    for name, user in closure.missing:
        if user in brought:
            text = f"{user} of this host needs {name}, which this host does not have"
            yield Reason("host-incomplete", text, (name,), f"repair {host.title} on the host; {_OWN_MPI}")


def _in_favour(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    count = len(frozenset[str]().union(*(need.symbols for need in image.needs)))
    if image.source is MpiSource.TREE:
        text = f"{host.title} has all {count} MPI symbols that the program and its libraries need"
        yield Reason("symbols", text, tuple(dict.fromkeys(need.user for need in image.needs)))
        if image.other_families:
            names = ", ".join(tables().title(name) for name in image.other_families)
            yield Reason("other-mpi", f"the program loads {names} as well, which stays the image's")
        return
    what = image.program or "the image"
    text = f"{what} does not name its MPI; {image.mpi[0].path} was found in the image and is replaced"
    lost = sorted(image.offered - host.exports[C_ROLE])
    if lost:
        text += f". What in the image calls {_list(lost)} would fail: {host.title} does not have it"
    yield Reason("unchecked", text, tuple(lost), "name the MPI program itself to have its symbols checked")
    for item in image.mpi:
        if host.library(item.role) is None:
            text = (
                f"{item.path}: {host.title} has no {tables().role_title(item.role)}; the image's copy stays"
            )
            yield Reason("interface-unchecked", text, (item.real,))
    if image.other_families:
        names = ", ".join(tables().title(name) for name in image.other_families)
        yield Reason("other-mpi", f"the image also holds {names}, which stays its own")


def _list(names: list[str], *, most: int = 3) -> str:
    """Some names, for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
