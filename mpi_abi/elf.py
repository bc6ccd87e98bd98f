"""Reader of an ELF file with its symbols; what ld.so goes by without them is read in `elffile.py`."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

from .elffile import LONGEST, MOST_TEXT, ElfFile
from .elftypes import Symbol
from .errors import unreadable
from .filebytes import FileBytes

_DT_HASH, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_GNU_HASH = 4, 6, 7, 8, 0x6FFFFEF5
_SHT_SYMTAB = 2
_STB_GLOBAL, _STB_WEAK, _STB_GNU_UNIQUE = 1, 2, 10
_STT_OBJECT = 1
SYMBOL = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size
RELA = struct.Struct("<QQq")
_WORD = struct.Struct("<I")
_SECOND_WORD = struct.Struct("<4xI")
_FOUR_WORDS = struct.Struct("<IIII")
_SECTION = struct.Struct("<4xI8x8xQQI20x")  # type, offset, size, link

_MOST_SYMBOLS = 1 << 19
_MOST_RELOCATIONS = 1 << 22
_PIECE = 256
"""Of dynamic symbols, of relocations (and a static program's symbols), and how many are read at once."""

Kind = TypeVar("Kind", bound="Elf")


@contextmanager
def open_elf(path: str, *, shown: str = "") -> Iterator[Elf]:
    """Open the file at ``path`` as ELF, for the time of the context.

    Errors name it as ``shown`` (default: ``path``): a file of a container is known by its path in there.
    Raises AbiError if it cannot be read or is not a 64-bit little-endian ELF file.
    """
    with open_as(Elf, path, shown=shown) as elf:
        yield elf


@contextmanager
def open_as(kind: type[Kind], path: str, *, shown: str = "") -> Iterator[Kind]:
    """The same, with more to ask than symbols."""
    name = shown or path
    try:
        # What has become a pipe meanwhile does not stop us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            yield kind(FileBytes(descriptor), name)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(name, error) from error


class Elf(ElfFile):
    """An ELF file with its symbols.  Every attribute raises AbiError where the bytes make no sense."""

    # -- symbols ---------------------------------------------------------------------------------------------

    @cached_property
    def _symbol_count(self) -> int:
        if _DT_HASH in self._tags:
            count = self._unpack(_SECOND_WORD, self._offset(self._tags[_DT_HASH]))[0]
        elif _DT_GNU_HASH in self._tags:
            count = self._count_by_gnu_hash()
        else:
            count = 0
        return self._bounded(count, _MOST_SYMBOLS)

    def _gnu_hash(self) -> tuple[int, int, int, int, int]:
        """Of DT_GNU_HASH: buckets, first hashed symbol, bloom shift, offsets of bloom and buckets."""
        at = self._offset(self._tags[_DT_GNU_HASH])
        buckets, first, bloom_size, shift = self._unpack(_FOUR_WORDS, at)
        return buckets, first, shift, at + 16, at + 16 + 8 * bloom_size

    def _count_by_gnu_hash(self) -> int:
        # The table does not say how many symbols there are: the highest chain's end does.
        buckets, first, _, _, at = self._gnu_hash()
        table = self._slice(at, 4 * self._bounded(buckets, _MOST_SYMBOLS), "the symbol hash table")
        last = max((index for (index,) in _WORD.iter_unpack(table)), default=0)
        if last < first:
            return first
        chain = at + 4 * buckets + 4 * (last - first)
        while not self._unpack(_WORD, chain)[0] & 1:
            last, chain = self._bounded(last + 1, _MOST_SYMBOLS), chain + 4
        return last + 1

    @cached_property
    def _table(self) -> bytes:
        """The dynamic symbols."""
        if _DT_SYMTAB not in self._tags or not self._symbol_count:
            return b""
        start = self._offset(self._tags[_DT_SYMTAB])
        return self._slice(start, self._symbol_count * SYMBOL.size, "the symbol table")

    def _names(self, *, defined: bool, bindings: tuple[int, ...]) -> frozenset[str]:
        start, stop = self._strings
        self._bounded(stop - start, MOST_TEXT)
        text = self._data[start:stop].decode("latin-1")
        # No name is longer than two such blocks.
        if any(text.find("\0", at, at + LONGEST) < 0 for at in range(0, len(text), LONGEST)):
            raise self._bad("a name without end in the string table")
        wanted = frozenset(info for info in range(256) if info >> 4 in bindings)
        try:
            names = frozenset(self._pick(text, wanted, defined=defined))
        except ValueError as error:
            raise self._bad("a name without end in the string table") from error
        if text.isascii():
            return names
        return frozenset(name.encode("latin-1").decode("utf-8", "surrogateescape") for name in names)

    def _pick(self, text: str, wanted: frozenset[int], *, defined: bool) -> Iterator[str]:
        # These loops are the reader's only hot ones: no call, no decoding and no tuple for each symbol.
        table, end = self._table, text.index
        step = _PIECE * SYMBOL.size
        for at in range(0, len(table), step):
            found = [
                text[name : end("\0", name)]
                for name, info, _, section, _, _ in SYMBOL.iter_unpack(table[at : at + step])
                if info in wanted and (section != 0) is defined and name
            ]
            self._take(sum(map(len, found)))
            yield from found

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
            for name, info, _, section, _, size in SYMBOL.iter_unpack(self._table)
            if section and info & 15 == _STT_OBJECT and info >> 4 in (_STB_GLOBAL, _STB_WEAK)
        }

    def symbols(self) -> Iterator[Symbol]:
        """Go through all dynamic symbols with a name."""
        for entry in SYMBOL.iter_unpack(self._table):
            if entry[0]:
                yield self._symbol(entry)

    def _symbol(self, entry: tuple[int, ...]) -> Symbol:
        name, info, _, section, value, size = entry
        return Symbol(self._string(name), section != 0, info >> 4 == _STB_WEAK, size, value)

    def find(self, name: str) -> Symbol | None:
        """The exported symbol of this name, by the hash table where there is one (as ld.so does)."""
        if _DT_GNU_HASH in self._tags:
            return self._find_by_gnu_hash(name)
        wanted, start = name.encode("utf-8", "surrogateescape") + b"\0", self._strings[0]
        for entry in SYMBOL.iter_unpack(self._table):
            at = start + entry[0]
            if entry[3] and self._data[at : at + len(wanted)] == wanted:
                return self._symbol(entry)
        return None

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
                entry = SYMBOL.unpack(self._slice(table + index * SYMBOL.size, SYMBOL.size, "a symbol"))
                if entry[3] and self._string(entry[0]) == name:
                    return self._symbol(entry)
            if hashed & 1:
                break
            index = self._bounded(index + 1, _MOST_SYMBOLS)
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
        count = self._bounded(self._tags.get(_DT_RELASZ, 0) // RELA.size, _MOST_RELOCATIONS)
        start, symbols = self._offset(self._tags[_DT_RELA]), self._offset(self._tags[_DT_SYMTAB])
        found = {}
        for _, info, _ in self._records(RELA, start, count, "the relocations"):
            if info & 0xFFFFFFFF == self._copy_type:
                entry = self._slice(symbols + (info >> 32) * SYMBOL.size, SYMBOL.size, "a symbol")
                symbol = self._symbol(SYMBOL.unpack(entry))
                found[symbol.name] = symbol.size
        return found

    def _records(self, layout: struct.Struct, start: int, count: int, what: str) -> Iterator[tuple[int, ...]]:
        """The entries of a table, without a copy of all of it."""
        for at in range(0, count, _PIECE):
            size = min(_PIECE, count - at) * layout.size
            yield from layout.iter_unpack(self._slice(start + at * layout.size, size, what))

    def defines_statically(self, name: str) -> bool:
        """Whether the full symbol table (``.symtab``, not in stripped files) defines ``name``."""
        wanted = name.encode() + b"\0"
        start, count, strings, end = self._static_table
        if self._data.find(wanted, strings, end) < 0:  # perhaps as the end of a longer name
            return False
        return any(
            entry[3] and self._data[strings + entry[0] : strings + entry[0] + len(wanted)] == wanted
            for entry in self._records(SYMBOL, start, count, "the full symbol table")
        )

    @cached_property
    def _static_table(self) -> tuple[int, int, int, int]:
        """Where the full symbol table lies, how many it has, and from where to where its names are."""
        if self._shoff and self._shentsize == 64:
            headers = [self._unpack(_SECTION, self._shoff + 64 * i) for i in range(self._shnum)]
            for kind, offset, size, link in headers:
                # There is one at most.
                if kind == _SHT_SYMTAB and link < len(headers):
                    count = self._bounded(size // SYMBOL.size, _MOST_RELOCATIONS)
                    names, length = headers[link][1:3]
                    return offset, count, names, min(names + length, len(self._data))
        return 0, 0, 0, 0
