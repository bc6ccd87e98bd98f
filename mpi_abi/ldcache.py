"""Reader of ``/etc/ld.so.cache``, the table that ldconfig(8) makes for the dynamic loader.

The layout is glibc's ``glibc-ld.so.cache1.1``, possibly behind an older table, which counts where it stands
alone; in newer files an extension names the ``glibc-hwcaps`` subdirectory that an entry comes from.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from .errors import AbiError

_OLD_MAGIC = b"ld.so-1.7.0"
_OLD_HEADER = struct.Struct("<11sxI")  # magic, entries
_OLD_ENTRY = struct.Struct("<iII")  # flags, name, path
_NEW_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")  # magic, entries, bytes of strings, flags, extension
_ENTRY = struct.Struct("<iIIIQ")  # flags, name, path, OS version, hardware capabilities
_BYTE_ORDERS = (0, 2)  # not said, little-endian
_HWCAP_EXTENSION = 1 << 62
_EXTENSION_MAGIC = 0xEAA42174
_TAG_HWCAPS = 1

# The flags of the entries that a machine's 64-bit programs take (glibc's sysdeps/*/dl-cache.h); 1 is for any.
_FLAGS = {
    "x86_64": 0x0303,
    "aarch64": 0x0A03,
    "ppc64le": 0x0503,
    "riscv64": 0x1003,
    "loongarch64": 0x1203,
}
MOST_BYTES = 64 << 20
_LONGEST = 4096  # PATH_MAX
"""What is bigger is nobody's table, and what is longer nobody's path."""

# soname -> paths with what the CPU must have, as they are in the file: the name of a glibc-hwcaps
# subdirectory, "0x..." for the mask of glibc before 2.33, "" for nothing
CacheEntries = dict[str, list[tuple[str, str]]]


def parse_cache(data: bytes, *, machine: str = "") -> CacheEntries:
    """Parse the content of an ``ld.so.cache``.

    Returns the paths by soname, those for ``machine`` only if it is given, each with the hardware level it is
    for (``x86-64-v3``), "0x..." for the mask of glibc before 2.33, or "".
    Raises AbiError if the content is not such a table: then the loader does without.
    """
    if len(data) > MOST_BYTES:
        raise AbiError(
            f"/etc/ld.so.cache: a table of more than {MOST_BYTES} bytes", hint="run ldconfig in the image"
        )
    rows: Iterable[tuple[int, ...]]
    if data.startswith(_OLD_MAGIC):
        count = _OLD_HEADER.unpack_from(data)[1] if len(data) > _OLD_HEADER.size else 0
        end = _OLD_HEADER.size + count * _OLD_ENTRY.size
        _check(data, end)
        # The newer table follows, aligned to 8 bytes.
        start = -(-end // 8) * 8
        if not _is_new(data[start : start + _HEADER.size]):
            table = data[_OLD_HEADER.size : end]
            rows = ((*row, 0, 0) for row in _OLD_ENTRY.iter_unpack(table))
            return _collect(data[end:], rows, {}, machine)
        data = data[start:]
    elif not _is_new(data):
        raise AbiError("/etc/ld.so.cache: not a table of glibc's", hint="run ldconfig in the image")
    _, count, _, _, extension = _HEADER.unpack_from(data)
    end = _HEADER.size + count * _ENTRY.size
    _check(data, end)
    rows = _ENTRY.iter_unpack(data[_HEADER.size : end])
    return _collect(data, rows, _hwcap_names(data, extension), machine)


def _is_new(data: bytes) -> bool:
    return len(data) >= _HEADER.size and data.startswith(_NEW_MAGIC) and data[28] & 3 in _BYTE_ORDERS


def _check(data: bytes, end: int) -> None:
    if end > len(data):
        raise AbiError("/etc/ld.so.cache: ends in the middle of its table", hint="run ldconfig in the image")


def _collect(
    data: bytes, rows: Iterable[tuple[int, ...]], levels: dict[int, str], machine: str
) -> CacheEntries:
    """The entries by name.  One whose strings lie outside the file is passed over, as the loader does."""
    entries: CacheEntries = {}
    wanted = (1, _FLAGS[machine]) if machine in _FLAGS else ()
    # Entries may share their strings, but not so that a small file unfolds to a huge table.
    room = 4 * len(data) + _LONGEST
    for flags, name_at, path_at, _, hwcap in rows:
        if wanted and flags not in wanted:
            continue
        name, path = _text(data, name_at), _text(data, path_at)
        room -= len(name) + len(path)
        if not name or not path or room < 0:
            continue
        level = ""
        if hwcap & _HWCAP_EXTENSION:
            level = levels.get(hwcap & 0xFFFFFFFF, "unknown")
        elif hwcap:
            level = f"{hwcap:#x}"
        entries.setdefault(name, []).append((path, level))
    return entries


def _text(data: bytes, offset: int) -> str:
    """The string at an offset; "" if it lies outside the file."""
    end = data.find(b"\0", offset, offset + _LONGEST)
    return data[offset:end].decode("utf-8", "surrogateescape") if end >= 0 else ""


def _hwcap_names(data: bytes, extension: int) -> dict[int, str]:
    """Names of the glibc-hwcaps subdirectories, by the number that entries use."""
    if not extension or len(data) < extension + 8:
        return {}
    magic, sections = struct.unpack_from("<II", data, extension)
    if magic != _EXTENSION_MAGIC:
        return {}
    for section in range(min(sections, 64)):
        at = extension + 8 + 16 * section
        if len(data) < at + 16:
            break
        tag, _, offset, size = struct.unpack_from("<IIII", data, at)
        if tag == _TAG_HWCAPS:
            names = data[offset : offset + min(size, _LONGEST)]
            names = names[: len(names) - len(names) % 4]
            return {i: _text(data, at) for i, (at,) in enumerate(struct.iter_unpack("<I", names))}
    return {}
