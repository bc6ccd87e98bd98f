"""Reads files that strangers made: no FIFO or device holds the reader up, and no file fills the memory."""

from __future__ import annotations

import os
import stat
from errno import ENXIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rootfs import RootView

MOST_TEXT = 256 * 1024
"""Bytes of a text file that is read from an image; a passwd of more would not fit into a program."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def read_start(host_path: str, most: int) -> bytes:
    """The first ``most`` bytes of a regular file.

    Raises OSError if it cannot be read, or if it is something else: opening a FIFO waits for a writer.
    """
    _require_file(os.stat(host_path), host_path)  # noqa: PTH116 - to open a device can do something
    descriptor = os.open(host_path, _FLAGS)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        _require_file(os.fstat(descriptor), host_path)
        return file.read(most)


def read_text(view: RootView, path: str) -> str:
    """A text file of a container; "" where it is missing, unreadable, too long (`MOST_TEXT`) or no text."""
    found = view.resolve(path)
    try:
        data = read_start(found, MOST_TEXT + 1) if found else b""
    except OSError:
        return ""
    return "" if len(data) > MOST_TEXT or b"\0" in data else data.decode("utf-8", "surrogateescape")


def _require_file(status: os.stat_result, host_path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(ENXIO, "not a file", host_path)
