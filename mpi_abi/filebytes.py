"""A file's bytes, read where they are asked for: ELF files are large, and little of them matters.

Not mapped: of a file that is not in memory, a mapping brings megabytes around each page that is touched (as
far as the disk reads ahead), and a file that is cut short meanwhile would end the process by SIGBUS.
"""

from __future__ import annotations

import os

HEAD = _BLOCK = 1 << 14
_MOST_BLOCKS = 256
_PIECE = 1 << 20
"""Bytes that are read at once, blocks that are remembered, and bytes that are searched at once."""


class FileBytes:
    """The bytes of an open regular file; slices, ``len`` and ``find`` as of ``bytes``.

    The descriptor stays the caller's.  Raises OSError where the file cannot be read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._blocks: dict[int, bytes] = {}
        # Neighbours of what is read are not wanted.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """The bytes from ``part.start`` up to ``part.stop``; as far as the file goes."""
        start = part.start or 0
        stop = max(start, self._size if part.stop is None else part.stop)
        first = start // _BLOCK
        offset = start - first * _BLOCK
        if stop - first * _BLOCK <= _BLOCK:
            return self._block(first)[offset : offset + stop - start]
        if stop - start >= _BLOCK:
            return self._read(start, stop - start)
        both = self._block(first) + self._block(first + 1)
        return both[offset : offset + stop - start]

    def find(self, wanted: bytes, start: int, stop: int) -> int:
        """The offset of the first ``wanted`` between ``start`` and ``stop``, -1 if there is none."""
        # Most names end soon; what does not is searched in pieces that grow.
        size = max(256, 2 * len(wanted))
        while start < stop:
            end = min(start + size, stop)
            found = self[start:end].find(wanted)
            if found >= 0:
                return start + found
            if end == stop:
                break
            start, size = end - len(wanted) + 1, min(size * 8, _PIECE)
        return -1

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            self._blocks[number] = self._read(number * _BLOCK, _BLOCK)
        return self._blocks[number]

    def _read(self, start: int, size: int) -> bytes:
        # No read gives more than 2 GiB at once (read(2)); nothing that is asked for is that large.
        size = min(size, self._size - start)
        return os.pread(self._descriptor, size, start) if size > 0 else b""
