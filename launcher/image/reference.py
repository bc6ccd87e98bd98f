"""What ``--container=`` names: a directory or a squashfs file; everything else gets one clear answer."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from dataclasses import dataclass
from enum import Enum, auto
from errno import EACCES
from pathlib import Path

from launcher.errors import BareboatError
from mpi_abi.guards import Recorder

_SQUASHFS = b"hsqs"
"""The first bytes of a squashfs file of version 4, little-endian as all of them are (squashfs_fs.h)."""

_MAGICS = (
    (32, b"SIF_MAGIC", "a SIF image"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"BZh", "a bzip2 archive"),
)

# [HOST[:PORT]/]NAME[/NAME]...[:TAG][@ALGORITHM:DIGEST], the grammar of OCI's distribution references.
_REGISTRY = (
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[\w][\w.-]{0,127})?(?:@[\w+.-]+:[0-9a-fA-F]+)?"
)
_SCHEME = r"([a-z][a-z0-9+.-]*)://|(docker|oci|docker-archive|oci-archive|containers-storage|dir):"


class ImageKind(Enum):
    """What holds an image's files."""

    DIRECTORY = auto()
    SQUASHFS = auto()


@dataclass(frozen=True, slots=True)
class Image:
    """An image; ``path`` is absolute, ``name`` what the user wrote."""

    name: str
    path: str
    kind: ImageKind = ImageKind.DIRECTORY


def resolve_reference(name: str, *, cwd: str, recorder: Recorder | None = None) -> Image:
    """Say what ``name`` means, relative to ``cwd``; ``recorder`` gets a guard of it.

    Raises BareboatError, one text per case: missing, a component that cannot be searched, a file and of which
    format, a registry reference, a file or directory that cannot be read.
    """
    path = posixpath.normpath(posixpath.join(cwd, name))
    try:
        status = os.stat(path)  # noqa: PTH116 (a string stays a string: any bytes can be a file name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(name, path) from error
    except PermissionError as error:
        raise BareboatError(
            f"cannot reach the image {path}: {_unsearchable(path)} may not be searched by you",
            hint="ask its owner for search permission (chmod o+x), or use an image elsewhere",
        ) from error
    except OSError as error:
        raise BareboatError(f"cannot reach the image {path}: {error.strerror}") from error
    mode = status.st_mode
    if recorder is not None:
        recorder.same(path, status)
    if stat.S_ISREG(mode):
        return Image(name, path, _kind_of_file(path))
    if not stat.S_ISDIR(mode):
        raise BareboatError(f"{path} is not an image: neither a directory nor a file")
    if not os.access(path, os.R_OK | os.X_OK):
        raise BareboatError(
            f"cannot read the image {path}: permission denied",
            hint="ask its owner for read and search permission (chmod o+rx)",
        )
    return Image(name, path)


def _missing(name: str, path: str) -> BareboatError:
    later = "this release runs directories and squashfs files; unpack it and name the directory"
    scheme = re.match(_SCHEME, name)
    if scheme:
        return BareboatError(
            f"cannot run {name!r}: {scheme[1] or scheme[2]} references are not supported yet", hint=later
        )
    looks = not name.startswith((".", "/", "~")) and re.fullmatch(_REGISTRY, name) is not None
    if looks and re.search(r"[:@]", name):
        return BareboatError(
            f"cannot run {name!r}: no such directory, and registry references are not supported yet",
            hint=later,
        )
    if name.startswith("~"):
        return BareboatError(
            f"the image {path} does not exist",
            hint="the shell expands ~ only at the start of a word: write $HOME",
        )
    hint = "check the path; a step looks it up on each of its nodes, whose /tmp and local disks are their own"
    return BareboatError(f"the image {path} does not exist", hint=hint)


def _kind_of_file(path: str) -> ImageKind:
    try:
        with Path(path).open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise BareboatError(
            f"cannot read the image {path}: {(error.strerror or '').lower()}",
            hint="ask its owner for read permission (chmod o+r)" if error.errno == EACCES else "",
        ) from error
    if head.startswith(_SQUASHFS):
        return ImageKind.SQUASHFS
    for offset, magic, what in _MAGICS:
        if head[offset : offset + len(magic)] == magic:
            raise BareboatError(
                f"cannot run {path}: it is {what}, and only directories and squashfs files can be run yet",
                hint="unpack it and name the directory, or make a squashfs file of that: mksquashfs DIR FILE",
            )
    raise BareboatError(
        f"{path} is not an image: it is a file of no known image format",
        hint="name the directory that holds the image's root file system, or a squashfs file of it",
    )


def _unsearchable(path: str) -> str:
    """Find the first directory on the way to ``path`` that may not be searched."""
    at = "/"
    for part in path.split("/"):
        at = posixpath.join(at, part)
        if not os.access(at, os.X_OK):
            return at
    return path
