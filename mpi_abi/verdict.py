"""Does this host's MPI fit this image?  Pure: facts in, verdict out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from .bindings import lost_by, stays
from .closure import Closure
from .families import C_ROLE, matches, tables
from .host import HostMpi
from .hostlibc import libc_unfit
from .image import ImageMpiFacts, MpiSource, ProgramKind
from .libc import LibcKind, lacking, show_version
from .mpilib import looks_like_mpi
from .node import NodeFacts
from .portability import node_notes, node_reasons
from .product import STANDARD
from .reasons import OWN_MPI, Code, Reason, some
from .sharing import Sharing, share


class VerdictKind(StrEnum):
    """The answer."""

    NATIVE = "native"
    TRANSLATED = "translated"
    IMPOSSIBLE = "impossible"
    NO_MPI = "no-mpi"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with its reasons; the libraries are paths, the image's in the container."""

    kind: VerdictKind
    reasons: tuple[Reason, ...]
    image_library: str
    host_library: str


def judge(
    image: ImageMpiFacts,
    host: HostMpi | None,
    closure: Closure | None = None,
    node: NodeFacts | None = None,
) -> Verdict:
    """Judge whether ``host`` can stand in for the image's MPI.

    Give the host's MPI of the image's family; where it has none, any other: the verdict then is TRANSLATED.
    Without ``closure`` nothing is said about what the host's MPI needs in turn: its C library and its
    dependencies; without ``node`` nothing about whether the program can run on it at all.
    """
    kind, reasons = _decide(image, host, closure)
    if node is not None:
        kind, reasons = _with_node(kind, reasons, image, node)
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
    if image.source is MpiSource.TREE and image.other_families:
        return VerdictKind.IMPOSSIBLE, (_two_mpis(image),)
    title = tables().title(image.family)
    if image.libc.kind is LibcKind.MUSL:
        text = f"the image runs on musl ({image.libc.path}), and this host's MPI needs glibc"
        hint = f"build the image on a glibc distribution; {OWN_MPI}"
        return VerdictKind.IMPOSSIBLE, (Reason(Code.MUSL, text, (image.libc.path,), hint),)
    if image.family == "unknown":
        text = f"{image.mpi[0].path} is an MPI library of no known family: its handles cannot be compared"
        return VerdictKind.IMPOSSIBLE, (Reason(Code.FAMILY_UNKNOWN, text, (image.mpi[0].real,), OWN_MPI),)
    if host is None:
        text = f"the image uses {title}, and no MPI was found on this host"
        return VerdictKind.IMPOSSIBLE, (Reason(Code.NO_HOST_MPI, text, (), f"install {title}; {OWN_MPI}"),)
    if host.family != image.family:
        text = f"the image uses {title}, this host has {host.title}: handles and constants differ"
        evidence = (image.mpi[0].real, host.c_library.real)
        hint = f"install {title} on the host; {OWN_MPI}"
        return VerdictKind.TRANSLATED, (Reason(Code.OTHER_FAMILY, text, evidence, hint),)
    if image.family == STANDARD and (different := _values(image, host)):
        return different
    against = [
        *_missing_interfaces(image, host),
        *_missing_symbols(image, host),
        *_sizes(image, host),
        *_fortran(image, host),
        *_markers(image, host),
    ]
    if closure is not None:
        against += _closure_reasons(image, host, closure)
    if against:
        return VerdictKind.IMPOSSIBLE, tuple(against)
    return VerdictKind.NATIVE, tuple(_in_favour(image, host, closure))


def _with_node(
    kind: VerdictKind, reasons: tuple[Reason, ...], image: ImageMpiFacts, node: NodeFacts
) -> tuple[VerdictKind, tuple[Reason, ...]]:
    """Add what speaks for and against this node, whatever the MPI."""
    against = node_reasons(image, node)
    if against:
        return VerdictKind.IMPOSSIBLE, (*against, *(reasons if kind is VerdictKind.IMPOSSIBLE else ()))
    return kind, (*reasons, *(node_notes(image) if kind is VerdictKind.NATIVE else ()))


def _architecture(image: ImageMpiFacts, host: HostMpi | None) -> Reason:
    what = image.program or "the image"
    here = f"this host is {host.machine}" if host else "only 64-bit little-endian files can be judged"
    hint = "use an image built for this machine"
    return Reason(Code.ARCHITECTURE, f"{what} is built for {image.machine}; {here}", (), hint)


def _values(image: ImageMpiFacts, host: HostMpi) -> tuple[VerdictKind, tuple[Reason, ...]] | None:
    """The verdict on two libraries of the standard ABI whose constants are not known to be the same."""
    mine, theirs = image.mpi[0], host.c_library
    evidence = (mine.real, theirs.real)
    for item in (mine, theirs):
        if not item.values:
            text = (
                f"two sets of constants exist under {item.soname}, and which of them {item.title} "
                f"({item.path}) has is not known"
            )
            hint = f"use MPICH 5.0.0 or newer in image and host; {OWN_MPI}"
            return VerdictKind.IMPOSSIBLE, (Reason(Code.STANDARD_UNKNOWN, text, evidence, hint),)
    if mine.values == theirs.values:
        return None
    text = (
        f"{mine.soname} means two things: the image's {mine.title} has the values of {mine.values}, "
        f"this host's {theirs.title} those of {theirs.values}"
    )
    hint = f"install a library with {mine.values} on the host; {OWN_MPI}"
    return VerdictKind.TRANSLATED, (Reason(Code.STANDARD_VALUES, text, evidence, hint),)


def _two_mpis(image: ImageMpiFacts) -> Reason:
    """One program with two families' C libraries: each name binds to the first, whoever calls it."""
    others = [item for item in image.others if item.role == C_ROLE]
    named = " and ".join(f"{item.title} ({item.path})" for item in (image.mpi[0], *others))
    text = f"{image.program} loads {named}: all of it would call the first, also what was built for the other"
    hint = f"link the program and its libraries against one MPI; {OWN_MPI}"
    return Reason(Code.TWO_MPIS, text, tuple(item.real for item in (image.mpi[0], *others)), hint)


def _without_mpi(image: ImageMpiFacts) -> tuple[VerdictKind, tuple[Reason, ...]] | None:
    """The verdict on programs that have no MPI to replace, or one that cannot be."""
    for missing in image.missing:
        if image.source is not MpiSource.TREE and looks_like_mpi(missing.name):
            text = f"{missing.needed_by} needs {missing.name}, which is not in the image"
            hint = "install the MPI that the program was built with in the image"
            return VerdictKind.IMPOSSIBLE, (Reason(Code.MPI_MISSING, text, (missing.name,), hint),)
    if image.source is MpiSource.STATIC:
        text = f"{image.holder} has its MPI linked in statically; it cannot be replaced"
        hint = f"link the program against a shared MPI library; {OWN_MPI}"
        return VerdictKind.IMPOSSIBLE, (Reason(Code.STATIC_MPI, text, (image.holder,), hint),)
    what = image.program or "the image"
    if image.source is MpiSource.NONE:
        return VerdictKind.NO_MPI, (Reason(Code.NO_MPI, f"{what} has no MPI library"),)
    if image.source is MpiSource.SEARCH and not image.reaches_out:
        text = f"{what} needs no MPI library, and can neither open nor start anything that does"
        return VerdictKind.NO_MPI, (Reason(Code.NO_MPI, text, (image.mpi[0].real,)),)
    return None


def _missing_interfaces(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    for need in image.needs:
        if host.library(need.role) is None and not stays(image, host, need.role):
            part = tables().role_title(need.role)
            text = f"{need.user} uses {part} in {need.library}, which {host.title} has not"
            lost = sorted(lost_by(image, host, need.role) or ())
            if lost:
                text += f"; the image's own would not find {some(lost)} as it knows it"
            hint = f"install that part of {tables().title(host.family)} on the host; {OWN_MPI}"
            yield Reason(Code.INTERFACE_MISSING, text, tuple(lost or sorted(need.symbols)[:20]), hint)


def _missing_symbols(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    has = frozenset[str]().union(*host.exports.values())
    for need in image.needs:
        lost = sorted(need.symbols - has)
        if lost and host.library(need.role) is not None:
            text = f"{need.user} needs {some(lost)}, which {host.title} ({host.c_library.path}) does not have"
            hint = f"use a newer {tables().title(host.family)} on the host; {OWN_MPI}"
            yield Reason(Code.SYMBOL_MISSING, text, tuple(lost), hint)


def _sizes(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    for name, size in image.copies.items():
        theirs = host.objects.get(name)
        if theirs is None and any(stays(image, host, role) for role in image.owners.get(name, ())):
            continue  # a library of the image has it, as ever
        # Of a marker too small or too large, still only the address is compared.
        marker = theirs is not None and matches(name, tables().families[image.family].markers)
        if theirs != size and not marker:
            has = f"{theirs} bytes" if theirs is not None else "no such object"
            text = f"{image.program} has reserved {size} bytes for {name}; {host.c_library.path} has {has}"
            yield Reason(Code.OBJECT_SIZE, text, (name,), f"rebuild the program as PIE; {OWN_MPI}")


def _uses_f08(image: ImageMpiFacts) -> bool:
    return any("f08" in name for need in image.needs for name in need.symbols)


def _compilers(image: ImageMpiFacts, host: HostMpi) -> Iterator[tuple[str, str, bool]]:
    """Pairs of different Fortran run-time libraries, the program's and the host's; whether one made both."""
    if not any(need.role.startswith("fortran") for need in image.needs):
        return
    for mine in image.fortran:
        for theirs in host.fortran:
            if mine != theirs:
                yield mine, theirs, tables().fortran_maker(mine) == tables().fortran_maker(theirs)


def _fortran(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    """Fortran interfaces that hand over arguments in another way, which no symbol's name tells."""
    for mine, theirs, same_maker in _compilers(image, host):
        if same_maker or _uses_f08(image):
            what = "mpi_f08" if not same_maker else "the Fortran interface"
            text = (
                f"{image.program} uses {what} and was compiled for {mine}, "
                f"that of {host.title} for {theirs}: they hand over arguments differently"
            )
            hint = f"build image and host MPI with the same Fortran compiler; {OWN_MPI}"
            yield Reason(Code.FORTRAN_RUNTIME, text, (mine, theirs), hint)


def _unknown_markers(image: ImageMpiFacts, host: HostMpi) -> list[str]:
    return sorted(image.markers.difference(*host.exports.values()))


def _markers(image: ImageMpiFacts, host: HostMpi) -> Iterator[Reason]:
    """An MPI that looks for none of the program's markers takes MPI_IN_PLACE for a buffer."""
    unknown = _unknown_markers(image, host)
    # Where the image's own Fortran interface stays, that looks for them.
    if unknown and len(unknown) == len(image.markers) and not stays(image, host, "fortran"):
        text = (
            f"{image.program} marks MPI_BOTTOM and the like by {some(unknown)}, "
            f"which {host.title} does not look for"
        )
        hint = f"build image and host MPI with the same Fortran naming; {OWN_MPI}"
        yield Reason(Code.FORTRAN_MARKERS, text, tuple(unknown), hint)


def _closure_reasons(image: ImageMpiFacts, host: HostMpi, closure: Closure) -> Iterator[Reason]:
    sharing = share(image, host, closure)
    glibc = _glibc(image, closure, sharing)
    if glibc is not None and glibc.code is Code.GLIBC:
        yield glibc
    for conflict in sharing.conflicts:
        text = (
            f"the program needs {some(list(conflict.lacking))} of {conflict.image_path}; "
            f"the host's MPI needs its own {conflict.file.path}, which does not have it"
        )
        yield Reason(Code.CONFLICT, text, conflict.lacking, f"use a newer host or an older image; {OWN_MPI}")
    brought = {item.path: item for item in sharing.brought if not item.plugin}
    for name, user in closure.missing:
        if user in brought:
            text = f"{user} of this host needs {name}, which this host does not have"
            yield Reason(Code.HOST_INCOMPLETE, text, (name,), f"repair {host.title} on the host; {OWN_MPI}")


def _glibc(image: ImageMpiFacts, closure: Closure, sharing: Sharing) -> Reason | None:
    """Whose glibc serves, if the image's is too old: the host's as a whole, or neither."""
    too_new = [
        (item, pairs) for item in sharing.brought if (pairs := lacking(image.libc, item.versions_needed))
    ]
    if not too_new:
        return None
    # The MPI's own library comes first; of what it lacks, the newest.
    item, pairs = too_new[0]
    soname, version = pairs[-1]
    why = f"{item.path} of this host needs {version} of {soname}; "
    evidence = tuple(f"{file.soname}: {v} ({s})" for file, lost in too_new for s, v in lost)
    ends, libc = f"the image's glibc ends at {show_version(image.glibc)}", closure.libc
    hint = f"use an image with a newer distribution; {OWN_MPI}"
    if libc is None:
        return Reason(Code.GLIBC, why + ends, evidence, hint)
    if unfit := libc_unfit(image, libc):
        soname, version = unfit[-1]
        text = (
            f"{why}{ends}, and this host's, {show_version(libc.version)}, cannot take its place: "
            f"it has no {version + ' of ' if version else ''}{soname}"
        )
        return Reason(Code.GLIBC, text, evidence, hint)
    text = (
        f"{why}{ends}: the host's glibc {show_version(libc.version)} takes its place as a whole, "
        f"with its loader, for all programs in the container"
    )
    if lost := sorted(name.removesuffix(".so") for name in image.libc.charsets - libc.charsets):
        text += f". This host's iconv has no {some(lost)}"
    return Reason(Code.HOST_GLIBC, text, evidence)


def _in_favour(image: ImageMpiFacts, host: HostMpi, closure: Closure | None) -> Iterator[Reason]:
    if closure is not None and (glibc := _glibc(image, closure, share(image, host, closure))):
        yield glibc
    replaced = (need for need in image.needs if host.library(need.role) is not None)
    count = len(frozenset[str]().union(*(need.symbols for need in replaced)))
    if image.source is MpiSource.TREE:
        text = f"{host.title} has all {count} MPI symbols that the program and its libraries need"
        yield Reason(Code.SYMBOLS, text, tuple(dict.fromkeys(need.user for need in image.needs)))
        for mine, theirs, _ in _compilers(image, host):
            text = (
                f"the program was compiled for {mine} and the host's Fortran interface for {theirs}: "
                "they write .true. in different numbers"
            )
            hint = "compare LOGICAL results of MPI by .eqv. only, or build both with one compiler"
            yield Reason(Code.FORTRAN_LOGICAL, text, (mine, theirs), hint)
        for need in image.needs:
            if stays(image, host, need.role):
                part = tables().role_title(need.role)
                text = (
                    f"{need.user} uses {part}, which {host.title} has not; the image's {need.library} stays"
                )
                yield Reason(Code.INTERFACE_KEPT, text, (need.library,))
        unknown = _unknown_markers(image, host)
        if unknown and not stays(image, host, "fortran"):
            text = f"of the program's Fortran constants, {host.title} does not know {some(unknown)}"
            yield Reason(Code.FORTRAN_MARKER, text, tuple(unknown))
        return
    what = image.program or "the image"
    if image.plugins:
        text = f"{host.title} has all {count} MPI symbols that are needed by {some(list(image.plugins))}"
        yield Reason(Code.SYMBOLS, text, tuple(dict.fromkeys(need.user for need in image.needs)))
    text = f"{what} does not name its MPI; {image.mpi[0].path} was found in the image and is replaced"
    lost = sorted(image.offered - host.exports[C_ROLE])
    if lost:
        text += f". What in the image calls {some(lost)} would fail: {host.title} does not have it"
    yield Reason(Code.UNCHECKED, text, tuple(lost), "name the MPI program itself to have its symbols checked")
    if image.adapted:
        text = (
            f"{what} takes the module that was built for the MPI that it finds: of the image's "
            f"{image.mpi[0].title}, it needs nothing"
        )
        yield Reason(Code.ADAPTS, text, image.plugins)
        return
    for item in image.mpi:
        if host.library(item.role) is None:
            text = (
                f"{item.path}: {host.title} has no {tables().role_title(item.role)}; the image's copy stays"
            )
            yield Reason(Code.INTERFACE_UNCHECKED, text, (item.real,))
    if image.other_families:
        names = ", ".join(tables().title(name) for name in image.other_families)
        yield Reason(Code.OTHER_MPI, f"the image also holds {names}, which stays its own")
