"""Is an image still the one that was measured?  By what stat(2) tells, so that nothing of it is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.errors import BenchError

_TELLING = (
    *("etc", "etc/ld.so.cache", "opt", "usr/bin", "usr/lib", "usr/lib64", "usr/lib/*-linux-*"),
    *("usr/local/bin", "usr/local/lib", "var/lib/dpkg/status", "var/lib/rpm"),
)
"""What changes in an image's directory when packages, programs or libraries come or go."""


def identify(images: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Say of each image which one it is: (path, digest).

    Of a file and of a directory, inode, size and time of change count; of a directory, those of `_TELLING`
    in it, too.  Devices do not: they have other numbers on another node.  Raises BenchError where one cannot
    be looked at.
    """
    return tuple((image, _identify(image)) for image in dict.fromkeys(images))


def require_same(before: Iterable[tuple[str, str]], now: Iterable[tuple[str, str]]) -> None:
    """Raise BenchError where an image is another one than before.  Pure."""
    known = dict(before)
    for image, identity in now:
        if known.get(image, identity) != identity:
            raise BenchError(
                f"the image {image} is not the one that was measured: it was changed or made anew since",
                hint="measure it into a new directory (--out DIR)",
            )


def _identify(image: str) -> str:
    digest = hashlib.sha256()
    try:
        for name, path in (("", image), *_below(Path(image))):
            found = os.stat(path)  # noqa: PTH116 (an image is a name in the host's terms)
            digest.update(f"{name} {found.st_ino} {found.st_size} {found.st_mtime_ns}\n".encode())
    except OSError as error:
        raise BenchError(f"the image {image} cannot be looked at: {error.strerror}") from error
    return digest.hexdigest()[:16]


def _below(image: Path) -> Iterator[tuple[str, str]]:
    for pattern in _TELLING:
        for path in sorted(image.glob(pattern)):
            # An image's link may lead to the host, and says nothing of the image then.
            if not path.is_symlink():
                yield str(path.relative_to(image)), str(path)
