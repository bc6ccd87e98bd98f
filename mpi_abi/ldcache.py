"""Reader of ``/etc/ld.so.cache``, the table that ldconfig(8) makes for the dynamic loader.

The layout is glibc's ``glibc-ld.so.cache1.1``, possibly behind an older table that nobody needs any more; in
newer files an extension names the ``glibc-hwcaps`` subdirectory that an entry comes from.
"""

from __future__ import annotations

import struct

from .errors import AbiError

_OLD_MAGIC = b"ld.so-1.7.0\0"
_NEW_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")  # magic, entries, bytes of strings, flags, extension
_ENTRY = struct.Struct("<iIIIQ")  # flags, name, path, OS version, hardware capabilities
_HWCAP_EXTENSION = 1 << 62
_EXTENSION_MAGIC = 0xEAA42174
_TAG_HWCAPS = 1

# soname -> paths with the hwcaps subdirectory they need ("" for none), as they are in the file
CacheEntries = dict[str, list[tuple[str, str]]]


def parse_cache(data: bytes) -> CacheEntries:
    """Parse the content of an ``ld.so.cache``.

    Returns the paths by soname, each with the name of the hardware level it is for (``x86-64-v3``) or "".
    Raises AbiError if the content is not such a table.
    """
    start = 0
    if data.startswith(_OLD_MAGIC):
        count = struct.unpack_from("<I", data, 12)[0] if len(data) >= 16 else 0
        # The newer table follows, aligned to 8 bytes.
        start = -(-(16 + 12 * count) // 8) * 8
    if data[start : start + 20] != _NEW_MAGIC or len(data) < start + _HEADER.size:
        raise AbiError(
            "/etc/ld.so.cache: not a table of glibc's format 1.1", hint="run ldconfig in the image"
        )
    data = data[start:]
    _, count, _, _, extension = _HEADER.unpack_from(data)
    table = data[_HEADER.size : _HEADER.size + count * _ENTRY.size]
    if len(table) != count * _ENTRY.size:
        raise AbiError("/etc/ld.so.cache: ends in the middle of its table", hint="run ldconfig in the image")
    levels = _hwcap_names(data, extension)
    entries: CacheEntries = {}
    for _, name, path, _, hwcap in _ENTRY.iter_unpack(table):
        level = ""
        if hwcap & _HWCAP_EXTENSION:
            level = levels.get(hwcap & 0xFFFFFFFF, "unknown")
        elif hwcap:
            # The bit masks of glibc before 2.33; its loader takes the plain entry as well.
            continue
        entries.setdefault(_text(data, name), []).append((_text(data, path), level))
    return entries


def _text(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    if end < 0:
        raise AbiError("/etc/ld.so.cache: a name lies outside the file", hint="run ldconfig in the image")
    return data[offset:end].decode("utf-8", "surrogateescape")


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
            names = data[offset : offset + size - size % 4]
            names = names[: len(names) - len(names) % 4]
            return {i: _text(data, at) for i, (at,) in enumerate(struct.iter_unpack("<I", names))}
    return {}
