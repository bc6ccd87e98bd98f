"""Whether the host's C library comes along, and what then covers what.

It does if, and only if, the host's MPI needs more than the image's glibc defines: an image's programs were
tested with the image's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .closure import Closure
from .guards import Recorder
from .host import HostMpi
from .image import ImageMpiFacts
from .libc import LibcFacts, LibcKind, lacking, probe_host_libc, unfit
from .sharing import share


def needs_host_libc(image: ImageMpiFacts, host: HostMpi, closure: Closure) -> bool:
    """Whether what comes from the host needs more than the image's glibc defines.  Pure."""
    if image.libc.kind is not LibcKind.GLIBC:
        return False
    return any(lacking(image.libc, item.versions_needed) for item in share(image, host, closure).brought)


def with_libc(
    image: ImageMpiFacts,
    host: HostMpi,
    closure: Closure,
    *,
    libc: LibcFacts | None = None,
    recorder: Recorder | None = None,
) -> Closure:
    """Add this host's glibc to a closure that cannot do with the image's.

    The image's facts must have its whole C library (`probe_image`, or `ImageProbe.complete` with
    ``whole_libc``).  ``libc`` is the host's where it is known, ``recorder`` gets guards for what is read.
    """
    if not needs_host_libc(image, host, closure):
        return closure
    libc = libc or probe_host_libc(recorder)
    return replace(closure, libc=libc) if libc.kind is LibcKind.GLIBC else closure


def libc_unfit(image: ImageMpiFacts, host: LibcFacts) -> tuple[tuple[str, str], ...]:
    """What the image has and the host's glibc has not (`libc.unfit`); () where it fits.  Pure."""
    used = {name for item in image.tree.objects for name in (item.name, item.facts.soname)}
    return unfit(image.libc, host, used)


def libc_covers(image: LibcFacts, host: LibcFacts, private_dir: str) -> Iterator[tuple[str, str, str]]:
    """(source, target, reason) of everything of the host's glibc in an image.  Pure.

    Every copy that the image has is covered where it lies: an interpreter is found by its path alone, and
    programs with an environment of their own must find the same libc.
    """
    for soname, (source, *_) in host.files.items():
        targets = image.files.get(soname, ()) or (f"{private_dir}/lib/{soname}",)
        for target in targets:
            yield source, target, f"glibc comes from the host as a whole: {soname}"
    for name, source in host.programs.items():
        if name in image.programs:
            yield source, image.programs[name], "glibc comes from the host as a whole: uses its private parts"
    if host.gconv:
        yield host.gconv, host.gconv, "glibc comes from the host as a whole: its character sets"


def added_directories(image: LibcFacts, host: LibcFacts) -> tuple[str, ...]:
    """Directories that the image's loader searches by itself, and the host's does not.  Pure.

    Only of images whose loader has no table of what they hold.
    """
    return () if image.cached else tuple(f for f in image.directories if f not in host.directories)
