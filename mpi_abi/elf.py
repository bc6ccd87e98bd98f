"""Reader of the dynamic half of an ELF file: what ld.so looks at, and nothing else.

Our own, because a launch has a budget for its planning: a general reader builds an object for each of the
thousands of symbols in an MPI library, where a handful of look-ups in the hash table is enough.  Everything
is read when asked for.  64-bit little-endian files are read; of others only the header, so that they can be
named.

Sources: System V gABI (chapters 4 and 5), the GNU extensions as ``elf.h`` and the LSB describe them.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from .elftypes import MACHINES, ElfFacts, ElfType, ForeignElf, Symbol, machine_name
from .errors import AbiError

Buffer = bytes | mmap.mmap

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ = 1, 4, 5, 6, 7, 8
_DT_STRSZ, _DT_SONAME, _DT_RPATH, _DT_RUNPATH, _DT_FLAGS_1 = 10, 14, 15, 29, 0x6FFFFFFB
_DT_GNU_HASH, _DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFEF5, 0x6FFFFFFC, 0x6FFFFFFD
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_DF_1_NODEFLIB = 0x800
_SHT_SYMTAB = 2
_VER_FLG_BASE, _VER_FLG_WEAK = 1, 2
_STB_GLOBAL, _STB_WEAK, _STB_GNU_UNIQUE = 1, 2, 10
_STT_OBJECT = 1
_SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
_RELA = struct.Struct("<QQq")
_WORD = struct.Struct("<I")
_PAIR = struct.Struct("<II")
_SECOND_WORD = struct.Struct("<4xI")
_FOUR_WORDS = struct.Struct("<IIII")
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # type, machine, version, entry, tables, flags, sizes and counts
_VERNEED = struct.Struct("<HHIII")  # version, count, file, first, next
_VERNAUX = struct.Struct("<IHHII")  # hash, flags, other, name, next
_VERDEF = struct.Struct("<HHHHIII")  # version, flags, index, count, hash, first, next
_SECTION = struct.Struct("<4xI8x8xQQI20x")  # type, offset, size, link


@contextmanager
def open_elf(path: str, *, shown: str = "") -> Iterator[Elf]:
    """Open the file at ``path`` as ELF; it is mapped for the time of the context.

    Errors name it as ``shown`` (default: ``path``): a file of a container is known by its path in there.
    Raises AbiError if it cannot be read or is not a 64-bit little-endian ELF file.
    """
    name = shown or path
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield Elf(data, name)
    except (OSError, ValueError) as error:
        # mmap raises ValueError for an empty file.
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AbiError(f"{name}: cannot be read: {why}") from error


class Elf:
    """An ELF file in memory.  Every attribute raises AbiError where the bytes make no sense."""

    def __init__(self, data: Buffer, name: str) -> None:
        self._data = data
        self._name = name
        machine = machine_name(bytes(data[:64]))
        if machine is None:
            raise AbiError(f"{name}: not an ELF file")
        if data[4] != 2 or data[5] != 1:
            width = {1: "32-bit", 2: "64-bit"}.get(data[4], "unknown-width")
            order = {1: "little-endian", 2: "big-endian"}.get(data[5], "unknown-endian")
            raise ForeignElf(
                f"{name}: a {width} {order} file for {machine}; only 64-bit little-endian ones can be judged",
                machine,
            )
        self.machine = machine
        header = self._unpack(_HEADER, 0)
        self.kind = ElfType(header[0]) if header[0] in (1, 2, 3, 4) else ElfType.OTHER
        self._copy_type = MACHINES.get(header[1], ("", -1))[1]
        self._phoff, self._shoff = header[4], header[5]
        self._phentsize, self._phnum, self._shentsize, self._shnum = header[8:12]

    # -- bytes -----------------------------------------------------------------------------------------------

    def _bad(self, what: str) -> AbiError:
        return AbiError(f"{self._name}: damaged ELF file: {what}")

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self._data):
            raise self._bad(f"{what} lies outside the file")
        return self._data[offset : offset + size]

    def _unpack(self, layout: struct.Struct, offset: int) -> tuple[int, ...]:
        if offset + layout.size > len(self._data):
            raise self._bad("a header lies outside the file")
        return layout.unpack_from(self._data, offset)

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

    @cached_property
    def _loads(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((addr, off, size) for kind, off, addr, size in self._segments if kind == _PT_LOAD)

    @cached_property
    def _dynamic(self) -> tuple[tuple[int, int], ...]:
        for kind, offset, _, size in self._segments:
            if kind == _PT_DYNAMIC:
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
    def _strings(self) -> bytes:
        if _DT_STRTAB not in self._tags:
            return b""
        return self._slice(
            self._offset(self._tags[_DT_STRTAB]), self._tags.get(_DT_STRSZ, 0), "the string table"
        )

    def _string(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise self._bad("a name without end in the string table")
        return self._strings[offset:end].decode("utf-8", "surrogateescape")

    # -- what the loader looks at ----------------------------------------------------------------------------

    @cached_property
    def interpreter(self) -> str:
        """PT_INTERP, or "" (libraries, static programs)."""
        for kind, offset, _, size in self._segments:
            if kind == _PT_INTERP:
                text = self._slice(offset, size, "the interpreter's name")
                return text.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return ""

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """DT_NEEDED, in order."""
        return tuple(self._string(value) for tag, value in self._dynamic if tag == _DT_NEEDED)

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
        )

    @cached_property
    def versions_needed(self) -> dict[str, frozenset[str]]:
        """Symbol versions that must exist, by the file (soname) they are expected in; weak ones left out."""
        found: dict[str, frozenset[str]] = {}
        if _DT_VERNEED not in self._tags:
            return found
        at = self._offset(self._tags[_DT_VERNEED])
        for _ in range(self._bounded(self._tags.get(_DT_VERNEEDNUM, 0))):
            _, count, file, first, following = self._unpack(_VERNEED, at)
            names, entry = set(), at + first
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
        for _ in range(self._bounded(self._tags.get(_DT_VERDEFNUM, 0))):
            _, flags, _, count, _, aux, following = self._unpack(_VERDEF, at)
            if count and not flags & _VER_FLG_BASE:
                names.add(self._string(self._unpack(_PAIR, at + aux)[0]))
            if not following:
                break
            at += following
        return frozenset(names)

    def _bounded(self, count: int) -> int:
        """A table cannot have more entries than the file has bytes."""
        if count > len(self._data):
            raise self._bad(f"a table of {count} entries")
        return count

    # -- symbols ---------------------------------------------------------------------------------------------

    @cached_property
    def _symbol_count(self) -> int:
        if _DT_HASH in self._tags:
            count = self._unpack(_SECOND_WORD, self._offset(self._tags[_DT_HASH]))[0]
        elif _DT_GNU_HASH in self._tags:
            count = self._count_by_gnu_hash()
        else:
            count = 0
        return self._bounded(count)

    def _gnu_hash(self) -> tuple[int, int, int, int, int]:
        """Of DT_GNU_HASH: buckets, first hashed symbol, bloom shift, offsets of bloom and buckets."""
        at = self._offset(self._tags[_DT_GNU_HASH])
        buckets, first, bloom_size, shift = self._unpack(_FOUR_WORDS, at)
        return buckets, first, shift, at + 16, at + 16 + 8 * bloom_size

    def _count_by_gnu_hash(self) -> int:
        # The table does not say how many symbols there are: the highest chain's end does.
        buckets, first, _, _, at = self._gnu_hash()
        table = self._slice(at, 4 * buckets, "the symbol hash table")
        last = max((index for (index,) in _WORD.iter_unpack(table)), default=0)
        if last < first:
            return first
        chain = at + 4 * buckets + 4 * (last - first)
        while not self._unpack(_WORD, chain)[0] & 1:
            last, chain = last + 1, chain + 4
        return last + 1

    def _entries(self) -> Iterator[tuple[int, ...]]:
        if _DT_SYMTAB not in self._tags or not self._symbol_count:
            return iter(())
        table = self._slice(
            self._offset(self._tags[_DT_SYMTAB]), self._symbol_count * _SYMBOL.size, "the symbol table"
        )
        return _SYMBOL.iter_unpack(table)

    def _names(self, *, defined: bool, bindings: tuple[int, ...]) -> frozenset[str]:
        # This loop is the reader's only hot one: no call, no decoding and no tuple for each symbol.
        text = self._strings.decode("latin-1")
        wanted = frozenset(info for info in range(256) if info >> 4 in bindings)
        end = text.index
        try:
            names = frozenset(
                text[name : end("\0", name)]
                for name, info, _, section, _, _ in self._entries()
                if info in wanted and (section != 0) is defined and name
            )
        except ValueError as error:
            raise self._bad("a name without end in the string table") from error
        if text.isascii():
            return names
        return frozenset(name.encode("latin-1").decode("utf-8", "surrogateescape") for name in names)

    @cached_property
    def exports(self) -> frozenset[str]:
        """Names of all defined symbols that other files can bind to."""
        return self._names(defined=True, bindings=(_STB_GLOBAL, _STB_WEAK, _STB_GNU_UNIQUE))

    @cached_property
    def undefined(self) -> frozenset[str]:
        """Names of all symbols that others must define; weak ones, which they may, are not among them."""
        return self._names(defined=False, bindings=(_STB_GLOBAL,))

    @cached_property
    def objects(self) -> Mapping[str, int]:
        """Exported data objects: name -> size in bytes."""
        return {
            self._string(name): size
            for name, info, _, section, _, size in self._entries()
            if section and info & 15 == _STT_OBJECT and info >> 4 in (_STB_GLOBAL, _STB_WEAK)
        }

    def symbols(self) -> Iterator[Symbol]:
        """Go through all dynamic symbols with a name."""
        for entry in self._entries():
            if entry[0]:
                yield self._symbol(entry)

    def _symbol(self, entry: tuple[int, ...]) -> Symbol:
        name, info, _, section, value, size = entry
        return Symbol(self._string(name), section != 0, info >> 4 == _STB_WEAK, size, value)

    def find(self, name: str) -> Symbol | None:
        """The exported symbol of this name, by the hash table where there is one (as ld.so does)."""
        if _DT_GNU_HASH in self._tags:
            return self._find_by_gnu_hash(name)
        return next((s for s in self.symbols() if s.name == name and s.defined), None)

    def _find_by_gnu_hash(self, name: str) -> Symbol | None:
        code = 5381
        for byte in name.encode("utf-8", "surrogateescape"):
            code = (code * 33 + byte) & 0xFFFFFFFF
        buckets, first, _, _, at = self._gnu_hash()
        if not buckets:
            return None
        index: int = self._unpack(_WORD, at + 4 * (code % buckets))[0]
        table = self._offset(self._tags[_DT_SYMTAB]) if _DT_SYMTAB in self._tags else len(self._data)
        while index >= first and index:
            hashed = self._unpack(_WORD, at + 4 * buckets + 4 * (index - first))[0]
            if hashed | 1 == code | 1:
                entry = _SYMBOL.unpack(self._slice(table + index * _SYMBOL.size, _SYMBOL.size, "a symbol"))
                if entry[3] and self._string(entry[0]) == name:
                    return self._symbol(entry)
            if hashed & 1:
                break
            index += 1
        return None

    def text_at(self, symbol: Symbol) -> str:
        """The C string that an exported character array holds."""
        if not symbol.size:
            return ""
        text = self._slice(self._offset(symbol.value), min(symbol.size, 4096), f"the text of {symbol.name}")
        return text.split(b"\0", 1)[0].decode("utf-8", "replace")

    @cached_property
    def copies(self) -> Mapping[str, int]:
        """Objects that the program copies out of libraries at start (R_*_COPY): name -> size in bytes.

        The program has reserved exactly this size, so the library must have an object of the same.
        """
        if _DT_RELA not in self._tags or _DT_SYMTAB not in self._tags:
            return {}
        size = self._tags.get(_DT_RELASZ, 0)
        table = self._slice(self._offset(self._tags[_DT_RELA]), size - size % 24, "the relocations")
        symbols, found = self._offset(self._tags[_DT_SYMTAB]), {}
        for _, info, _ in _RELA.iter_unpack(table):
            if info & 0xFFFFFFFF == self._copy_type:
                entry = self._slice(symbols + (info >> 32) * _SYMBOL.size, _SYMBOL.size, "a symbol")
                symbol = self._symbol(_SYMBOL.unpack(entry))
                found[symbol.name] = symbol.size
        return found

    def defines_statically(self, name: str) -> bool:
        """Whether the full symbol table (``.symtab``, not in stripped files) defines ``name``."""
        wanted = name.encode()
        for table, strings in self._static_tables():
            if wanted + b"\0" not in strings:  # perhaps as the end of a longer name
                continue
            for entry in _SYMBOL.iter_unpack(table):
                if entry[3] and strings[entry[0] : entry[0] + len(wanted) + 1] == wanted + b"\0":
                    return True
        return False

    def _static_tables(self) -> Iterator[tuple[bytes, bytes]]:
        if not self._shoff or self._shentsize != 64:
            return
        headers = [self._unpack(_SECTION, self._shoff + 64 * i) for i in range(self._shnum)]
        for kind, offset, size, link in headers:
            if kind == _SHT_SYMTAB and link < len(headers):
                table = self._slice(offset, size - size % _SYMBOL.size, "the full symbol table")
                yield table, self._slice(headers[link][1], headers[link][2], "the full string table")
