"""The notes of an ELF file that say on which machines it runs.

Sources: the Linux gABI extensions (.note.gnu.property), the x86-64 psABI, the LSB (.note.ABI-tag).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

LARGEST = 1 << 16
"""Bytes of a note segment that are looked at."""

_NT_GNU_ABI_TAG, _NT_GNU_PROPERTY_TYPE_0 = 1, 5
_X86_ISA_1_NEEDED = 0xC0008002
_HEADER = struct.Struct("<III")  # sizes of name and description, type
_PROPERTY = struct.Struct("<II")  # type, size
_WORD = struct.Struct("<I")
_TAG = struct.Struct("<IIII")  # system, and three parts of a version


def read_demands(segment: bytes) -> tuple[int, tuple[int, ...]]:
    """Read one note segment: the bits of X86_ISA_1_NEEDED and the oldest Linux, 0 and () where it says none.

    What makes no sense is passed over, as the loader does.
    """
    isa, kernel = 0, ()
    for kind, description in _notes(segment):
        if kind == _NT_GNU_PROPERTY_TYPE_0:
            isa |= _isa_needed(description)
        elif kind == _NT_GNU_ABI_TAG and len(description) >= _TAG.size:
            system, *version = _TAG.unpack_from(description)
            if system == 0:
                kernel = tuple(version)
    return isa, kernel


def _notes(segment: bytes) -> Iterator[tuple[int, bytes]]:
    """GNU's notes: (type, description)."""
    at = 0
    while at + _HEADER.size <= len(segment):
        name_size, size, kind = _HEADER.unpack_from(segment, at)
        name = at + _HEADER.size
        # Of notes that are aligned to 8 bytes, too: their sizes are multiples of 8.
        start = name + (name_size + 3 & ~3)
        if start + size > len(segment):
            return
        if segment[name : name + name_size] == b"GNU\0":
            yield kind, segment[start : start + size]
        at = start + (size + 3 & ~3)


def _isa_needed(description: bytes) -> int:
    at = 0
    while at + _PROPERTY.size <= len(description):
        kind, size = _PROPERTY.unpack_from(description, at)
        at += _PROPERTY.size
        if kind == _X86_ISA_1_NEEDED and size == _WORD.size and at + size <= len(description):
            bits: int = _WORD.unpack_from(description, at)[0]
            return bits
        at += size + 7 & ~7
    return 0
