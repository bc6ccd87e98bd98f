"""Probe of an image's root: is it one, for this processor, and what does it say about itself.  Reads only.

Every path is resolved inside the root by ``mpi_abi.RootView``; nothing of the image is executed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from launcher.errors import BareboatError
from launcher.image.reference import Image, ImageKind
from mpi_abi.elftypes import machine_name
from mpi_abi.environment import parse_environment
from mpi_abi.files import read_start, read_text
from mpi_abi.rootfs import RootView

LOCALTIME = "/etc/localtime"
_COMMAND_DIRS = ("/bin", "/usr/bin")
_ROOT_DIRS = (*_COMMAND_DIRS, "/etc", "/lib", "/lib64", "/usr/lib", "/sbin", "/usr/sbin")
"""One of these is in every root, also in one of a single static program."""

# What a kernel also runs, beside programs for its own machine (uname(2)).
_ALSO = {"x86_64": {"i386", "x32"}, "aarch64": {"arm"}, "ppc64": {"ppc"}}
_ELF_PLACES = (
    "/bin/sh", "/usr/bin/env", "/bin/busybox", "/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1",
    "/lib64/ld64.so.2", "/lib/ld64.so.1", "/lib/ld-linux-riscv64-lp64d.so.1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image's root.  ``present`` holds which of the container paths that were asked about exist in it,
    ``held`` which of these are more than an empty directory.

    ``machine`` is the architecture of its programs as uname(2) would call it, "" where none was found;
    ``environment`` the variables of its /etc/environment; ``localtime`` the canonical container path behind
    its /etc/localtime, "" where that leads nowhere.
    """

    name: str
    path: str
    kind: ImageKind
    os_name: str
    machine: str
    environment: tuple[tuple[str, str], ...]
    passwd: str
    group: str
    localtime: str
    present: frozenset[str]
    held: frozenset[str]


def probe_root(
    view: RootView, image: Image, *, paths: Iterable[str] = (), once: Iterable[str] = ()
) -> ImageFacts:
    """Read the facts of ``image``; ``paths`` and ``once`` are container paths that are asked for existence.

    What matters for this step alone (``once``) or is for people leaves no guards with the view's recorder.
    Raises BareboatError where the directory is no root file system, naming what it lacks.
    """
    paths, told = tuple(paths), view.alone()
    # An image that becomes something else has another root directory, which is guarded as a whole.
    require_root(told, image.path)
    present = frozenset(asked for asked in paths if view.exists(asked))
    also = frozenset(asked for asked in once if told.exists(asked))
    return ImageFacts(
        name=image.name,
        path=image.path,
        kind=image.kind,
        os_name=_os_name(read_text(told, "/etc/os-release")),
        machine=_machine(view),
        environment=parse_environment(read_text(view, "/etc/environment")),
        passwd=read_text(view, "/etc/passwd"),
        group=read_text(view, "/etc/group"),
        localtime=(view if LOCALTIME in paths else told).canonical(LOCALTIME) or "",
        present=present | also,
        held=frozenset(
            asked
            for looked, some in ((view, present), (told, also))
            for asked in some
            if not looked.is_dir(asked) or looked.names(asked)
        ),
    )


def check_machine(image: ImageFacts, machine: str) -> None:
    """Raise BareboatError where the image's programs are not for ``machine`` (of uname(2)).  Pure."""
    if not image.machine or image.machine in {machine, *_ALSO.get(machine, ())}:
        return
    raise BareboatError(
        f"the image {image.path} is for {image.machine}, this host is {machine}",
        hint=f"use an image that was built for {machine}",
    )


def elf_machine(path: str) -> str:
    """Name the architecture of the ELF file at host ``path`` as uname(2) would; "" where it is none."""
    try:
        head = read_start(path, 20)
    except OSError:
        return ""
    return machine_name(head) or ""


def require_root(view: RootView, path: str) -> None:
    """Raise BareboatError where what ``view`` shows is no root file system; ``path`` is its name."""
    if view.resolve("/oci-layout") is not None and view.resolve("/index.json") is not None:
        raise BareboatError(
            f"cannot run {path}: it is an OCI layout, and only root directories can be run yet",
            hint="unpack it and name the directory",
        )
    if view.resolve("/config.json") is not None and view.resolve("/rootfs") is not None:
        raise BareboatError(
            f"cannot run {path}: it is an OCI bundle, and only root directories can be run yet",
            hint=f"name its root: {posixpath.join(path, 'rootfs')}",
        )
    if not any(view.is_dir(place) for place in _ROOT_DIRS):
        raise BareboatError(
            f"{path} is not an image: it has none of {', '.join(_ROOT_DIRS)}",
            hint="name the directory that holds the image's root file system",
        )


def _machine(view: RootView) -> str:
    for place in _ELF_PLACES:
        if machine := _machine_at(view, place):
            return machine
    # No shell and no loader that we know: ask the first programs there are.
    for directory in _COMMAND_DIRS:
        for name in view.names(directory)[:50]:
            if machine := _machine_at(view, posixpath.join(directory, name)):
                return machine
    return ""


def _machine_at(view: RootView, path: str) -> str:
    found = view.resolve(path) if view.is_file(path) else None
    return elf_machine(found) if found else ""


def _os_name(text: str) -> str:
    match = re.search(r"^PRETTY_NAME=[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
    return match[1] if match else ""
