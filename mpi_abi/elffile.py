"""Reader of the dynamic half of an ELF file: what ld.so looks at; `elf.py` adds the symbols.

Our own, because a launch has a budget for its planning: a general reader builds an object for each of the
thousands of symbols in an MPI library, where a handful of look-ups in the hash table is enough.  Everything
is read when asked for.  64-bit little-endian files are read; of others only the header, so that they can be
named.  Files are made by strangers: whatever they say of sizes and counts, work and memory are bounded.

Sources: System V gABI (chapters 4 and 5), the GNU extensions as ``elf.h`` and the LSB describe them.
"""

from __future__ import annotations

import re
import struct
from functools import cached_property

from .elfnotes import LARGEST, read_demands
from .elftypes import MACHINES, ElfFacts, ElfType, ForeignElf, machine_name
from .errors import AbiError
from .filebytes import FileBytes

Buffer = bytes | FileBytes

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE, _PT_GNU_PROPERTY = 1, 2, 3, 4, 0x6474E553
_PF_R = 4
_DT_NEEDED, _DT_STRTAB = 1, 5
_DT_STRSZ, _DT_SONAME, _DT_RPATH, _DT_RUNPATH, _DT_FLAGS_1 = 10, 14, 15, 29, 0x6FFFFFFB
_DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFFC, 0x6FFFFFFD
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_DT_DEPAUDIT, _DT_AUDIT, _DT_AUXILIARY, _DT_FILTER = 0x6FFFFEFB, 0x6FFFFEFC, 0x7FFFFFFD, 0x7FFFFFFF
_DF_1_NODEFLIB = 0x800
_VER_FLG_BASE, _VER_FLG_WEAK = 1, 2
PAIR = struct.Struct("<II")
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # type, machine, version, entry, tables, flags, sizes and counts
_VERNEED = struct.Struct("<HHIII")  # version, count, file, first, next
_VERNAUX = struct.Struct("<IHHII")  # hash, flags, other, name, next
_VERDEF = struct.Struct("<HHHHIII")  # version, flags, index, count, hash, first, next

_PIECE, _OVERLAP, _MOST_SEARCHED = 4 << 20, 1 << 12, 128 << 20
"""Bytes that are searched at once, the longest match that a search is sure to find, and bytes in all."""

MOST_ENTRIES = 1 << 16
MOST_TEXT = 32 << 20
LONGEST = 1 << 15
"""Of a dynamic section's and a version table's entries, of the bytes in names, and of those in one name."""


class ElfFile:
    """An ELF file by its bytes.  Every attribute raises AbiError where the bytes make no sense."""

    def __init__(self, data: Buffer, name: str) -> None:
        self._data = data
        self._name = name
        self._room = MOST_TEXT
        head = data[:64]
        machine = machine_name(head)
        if machine is None:
            raise AbiError(
                f"{name}: not an ELF file",
                hint="a program or library belongs there: install anew what it came with, or remove it",
            )
        if head[4] != 2 or head[5] != 1:
            width = {1: "32-bit", 2: "64-bit"}.get(head[4], "unknown-width")
            order = {1: "little-endian", 2: "big-endian"}.get(head[5], "unknown-endian")
            raise ForeignElf(
                f"{name}: a {width} {order} file for {machine}; only 64-bit little-endian ones can be judged",
                machine,
                passed_over=head[4] != 2,
            )
        self.machine = machine
        header = self._unpack(_HEADER, 0)
        self.kind = ElfType(header[0]) if header[0] in (1, 2, 3, 4) else ElfType.OTHER
        self._copy_type = MACHINES.get(header[1], ("", -1))[1]
        self._phoff, self._shoff = header[4], header[5]
        self._phentsize, self._phnum, self._shentsize, self._shnum = header[8:12]

    # -- bytes -----------------------------------------------------------------------------------------------

    def _bad(self, what: str) -> AbiError:
        return AbiError(
            f"{self._name}: damaged ELF file: {what}",
            hint="put a whole copy in its place: install its package anew, or build the image anew",
        )

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        part = self._data[offset : offset + size] if offset + size <= len(self._data) else b""
        if len(part) != size:
            raise self._bad(f"{what} lies outside the file")
        return part

    def _unpack(self, layout: struct.Struct, offset: int) -> tuple[int, ...]:
        return layout.unpack(self._slice(offset, layout.size, "a header"))

    def _offset(self, address: int) -> int:
        """File offset of a virtual address."""
        for start, offset, size in self._loads:
            if start <= address < start + size:
                return address - start + offset
        raise self._bad(f"address {address:#x} is in no segment")

    @cached_property
    def _segments(self) -> tuple[tuple[int, int, int, int], ...]:
        """Program headers as (type, file offset, address, size in the file)."""
        if self._phnum and self._phentsize != 56:
            raise self._bad(f"program headers of {self._phentsize} bytes")
        table = self._slice(self._phoff, self._phnum * 56, "the program header table")
        return tuple(
            (kind, off, addr, size) for kind, off, addr, size in struct.iter_unpack("<I4xQQ8xQ16x", table)
        )

    def search(self, pattern: bytes) -> str:
        """The first group of a regular expression over the file's constants, "" if it is not there.

        Those are what is mapped to be read only; in a file that was linked without such a part, all bytes are
        searched.
        """
        table = self._slice(self._phoff, self._phnum * 56, "the program header table")
        parts = [
            (offset, offset + size)
            for kind, flags, offset, size in struct.iter_unpack("<IIQ16xQ16x", table)
            if kind == _PT_LOAD and flags == _PF_R and offset + size <= len(self._data)
        ]
        expression, left = re.compile(pattern), _MOST_SEARCHED
        for start, end in parts or [(0, len(self._data))]:
            for at in range(start, min(end, start + left), _PIECE):
                left -= _PIECE
                if found := expression.search(self._data[at : min(at + _PIECE + _OVERLAP, end)]):
                    return found.group(1).decode("ascii", "replace")
        return ""

    @cached_property
    def _loads(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((addr, off, size) for kind, off, addr, size in self._segments if kind == _PT_LOAD)

    @cached_property
    def _dynamic(self) -> tuple[tuple[int, int], ...]:
        for kind, offset, _, size in self._segments:
            if kind == _PT_DYNAMIC:
                self._bounded(size // 16, MOST_ENTRIES)
                table = self._slice(offset, size - size % 16, "the dynamic section")
                entries = []
                for tag, value in struct.iter_unpack("<QQ", table):
                    if tag == 0:
                        break
                    entries.append((tag, value))
                return tuple(entries)
        return ()

    @cached_property
    def _tags(self) -> dict[int, int]:
        return dict(self._dynamic)

    @cached_property
    def _strings(self) -> tuple[int, int]:
        """Where the string table lies in the file: from, to."""
        if _DT_STRTAB not in self._tags:
            return 0, 0
        start, size = self._offset(self._tags[_DT_STRTAB]), self._tags.get(_DT_STRSZ, 0)
        if start + size > len(self._data):
            raise self._bad("the string table lies outside the file")
        return start, start + size

    def _string(self, offset: int) -> str:
        start, stop = self._strings
        start += offset
        stop = min(stop, start + LONGEST)
        end = self._data.find(b"\0", start, stop) if start < stop else -1
        if end < 0:
            raise self._bad("a name without end in the string table")
        self._room -= end - start
        if self._room < 0:
            self._take(0)
        return str(self._data[start:end], "utf-8", "surrogateescape")

    def _take(self, size: int) -> None:
        """Count the bytes of names that were read: entries can share them, and make more than there are."""
        self._room -= size
        if self._room < 0:
            raise self._bad(f"names of more than {MOST_TEXT} bytes")

    def _bounded(self, count: int, most: int) -> int:
        """A count that the file gives, if there can be so many."""
        if count > most or count > len(self._data):
            raise self._bad(f"a table of {count} entries")
        return count

    # -- what the loader looks at ----------------------------------------------------------------------------

    @cached_property
    def interpreter(self) -> str:
        """PT_INTERP, or "" (libraries, static programs)."""
        for kind, offset, _, size in self._segments:
            if kind == _PT_INTERP:
                text = self._slice(offset, min(size, LONGEST), "the interpreter's name")
                return text.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return ""

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """DT_NEEDED, in order."""
        return self._named(_DT_NEEDED)

    def _named(self, *tags: int) -> tuple[str, ...]:
        if not any(tag in self._tags for tag in tags):
            return ()
        return tuple(self._string(value) for tag, value in self._dynamic if tag in tags)

    @cached_property
    def soname(self) -> str:
        """DT_SONAME, or ""."""
        return self._string(self._tags[_DT_SONAME]) if _DT_SONAME in self._tags else ""

    def _path(self, tag: int) -> tuple[str, ...]:
        return tuple(self._string(self._tags[tag]).split(":")) if tag in self._tags else ()

    @cached_property
    def facts(self) -> ElfFacts:
        """Everything that the loader decides by, without symbols."""
        runpath = self._path(_DT_RUNPATH)
        return ElfFacts(
            machine=self.machine,
            kind=self.kind,
            interpreter=self.interpreter,
            soname=self.soname,
            needed=self.needed,
            # ld.so forgets DT_RPATH where there is a DT_RUNPATH.
            rpath=() if _DT_RUNPATH in self._tags else self._path(_DT_RPATH),
            runpath=runpath,
            no_default_dirs=bool(self._tags.get(_DT_FLAGS_1, 0) & _DF_1_NODEFLIB),
            versions_needed=self.versions_needed,
            versions_defined=self.versions_defined,
            filters=self._named(_DT_FILTER, _DT_AUXILIARY),
            auxiliary=self._named(_DT_AUXILIARY),
            audit=self._named(_DT_AUDIT, _DT_DEPAUDIT),
            isa_needed=self.demands[0],
            kernel_needed=self.demands[1],
        )

    @cached_property
    def demands(self) -> tuple[int, tuple[int, ...]]:
        """What the notes ask of processor and kernel (`elfnotes.read_demands`)."""
        isa: int = 0
        kernel: tuple[int, ...] = ()
        for kind, offset, _, size in self._segments:
            if kind in (_PT_NOTE, _PT_GNU_PROPERTY) and size <= LARGEST:
                more, newer = read_demands(self._data[offset : offset + size])
                isa, kernel = isa | more, max(kernel, newer)
        return isa, kernel

    @cached_property
    def versions_needed(self) -> dict[str, frozenset[str]]:
        """Symbol versions that must exist, by the file (soname) they are expected in; weak ones left out."""
        found: dict[str, frozenset[str]] = {}
        if _DT_VERNEED not in self._tags:
            return found
        at, left = self._offset(self._tags[_DT_VERNEED]), MOST_ENTRIES
        for _ in range(self._bounded(self._tags.get(_DT_VERNEEDNUM, 0), MOST_ENTRIES)):
            _, count, file, first, following = self._unpack(_VERNEED, at)
            names, entry = set(), at + first
            left -= self._bounded(count, left)
            for _ in range(count):
                _, flags, _, name, step = self._unpack(_VERNAUX, entry)
                if not flags & _VER_FLG_WEAK:
                    names.add(self._string(name))
                if not step:
                    break
                entry += step
            soname = self._string(file)
            found[soname] = found.get(soname, frozenset()) | names
            if not following:
                break
            at += following
        return found

    @cached_property
    def versions_defined(self) -> frozenset[str]:
        """Symbol versions that the file defines, without the base version (its own name)."""
        names: set[str] = set()
        if _DT_VERDEF not in self._tags:
            return frozenset()
        at = self._offset(self._tags[_DT_VERDEF])
        for _ in range(self._bounded(self._tags.get(_DT_VERDEFNUM, 0), MOST_ENTRIES)):
            _, flags, _, count, _, aux, following = self._unpack(_VERDEF, at)
            if count and not flags & _VER_FLG_BASE:
                names.add(self._string(self._unpack(PAIR, at + aux)[0]))
            if not following:
                break
            at += following
        return frozenset(names)
