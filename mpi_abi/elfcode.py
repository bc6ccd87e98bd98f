"""What a library's functions can come to call, by its machine code: too much rather than too little.

A library that calls a function that nobody defines runs all the same while it does not come to the call: what
is bound at the first call (JUMP_SLOT) need not be there before.  No code is understood here: whatever looks
like a jump, or like an address that is taken, counts, at each byte.  x86-64 only.

Sources: x86-64 psABI (relocations), LSB (.eh_frame_hdr), Intel's manual, volume 2 (opcodes, ModR/M).
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import cached_property

from .elf import RELA, SYMBOL, Elf

_PT_LOAD, _PT_GNU_EH_FRAME = 1, 0x6474E550
_PF_X = 1
_DT_PLTRELSZ, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_INIT, _DT_FINI, _DT_JMPREL = 2, 6, 7, 8, 12, 13, 23
_DT_BIND_NOW, _DT_FLAGS, _DT_RELR, _DT_FLAGS_1 = 24, 30, 36, 0x6FFFFFFB
_DF_BIND_NOW, _DF_1_NOW = 8, 1
_JUMP_SLOTS = {"x86_64": 7}
"""The type of what is bound at the first call, where that is read."""
_R_64 = 1
_STT_FUNC = 2
_LAYOUT = b"\x01\x1b\x03\x3b"  # of .eh_frame_hdr: what all linkers write
_HEAD = struct.Struct("<4xiI")  # encodings, .eh_frame, how many functions
_ROW = struct.Struct("<ii")  # a function, what describes it
_FDE = struct.Struct("<Qii")  # sizes, where the function begins (from here), how long it is
_LONG, _SHORT = struct.Struct("<i"), struct.Struct("<b")

# Bytes after which a distance to somewhere follows: e8, e9 and 0f 8x jump by 32 bits, eb and 7x by 8; the
# others are ModR/M of operands beside the instruction pointer (25 after 04 is none: the stack guard).
_HINTS = re.compile(
    rb"[\xe8\xe9\xeb\x70-\x7f\x05\x0d\x15\x1d\x2d\x35\x3d]|(?<!\x04)\x25|(?<=\x0f)[\x80-\x8f]"
)
_STUB = re.compile(rb"(?:\xf3\x0f\x1e\xfa)?\xf2?\xff\x25")  # endbr64, bnd jmp *slot(%rip)
_BEHIND = (0, 1, 2, 4)
"""How many bytes of the same instruction may follow such an operand."""

_UNWINDS = frozenset(("__gxx_personality_v0", "__gcc_personality_v0"))
"""Code of libraries that need these is also come to by tables, which are not read here."""
_MOST_FUNCTIONS = 1 << 17
_MOST_RELOCATIONS = 1 << 18
_MOST_PARTS = 8
_MOST_CASES = 1 << 10
_MOST_STEPS = 1 << 22
"""Of functions, relocations, parts of a file with code, places in one table, and of all that is looked at."""


class ElfCode(Elf):
    """An ELF file in memory, and what its functions call."""

    def reached(self, names: Collection[str]) -> frozenset[str]:
        """Undefined names (weak ones left out) that calls of the functions ``names`` may come to use.

        All of them, where the file does not tell.  Raises AbiError where the bytes make no sense.
        """
        if self.machine != "x86_64" or not self._starts or self.undefined & _UNWINDS:
            return self.undefined
        slots, _, pointers = self._relocations
        found: set[str] = set()
        # What runs or may be called without a name comes first: initialisers, and what data point to.
        todo = [
            *self._inits,
            *pointers,
            *(self._functions[name] for name in names if name in self._functions),
        ]
        seen: set[int] = set()
        left = _MOST_STEPS
        while todo:
            at = bisect_right(self._starts, todo.pop()) - 1
            if at < 0 or at in seen:
                continue
            seen.add(at)
            left -= self._ends[at] - self._starts[at]
            if left < 0:
                return self.undefined
            for address in self._mentioned(self._starts[at], self._ends[at]):
                left -= 1
                name = slots.get(address)
                if name is None:
                    todo.append(address)
                elif name in self._functions:
                    todo.append(self._functions[name])
                elif name in self.undefined:
                    found.add(name)
                if left < 0:
                    return self.undefined
        return frozenset(found)

    @cached_property
    def bound_at_start(self) -> frozenset[str]:
        """Undefined names (weak ones left out) that must be there before anything runs."""
        flags, more = self._tags.get(_DT_FLAGS, 0), self._tags.get(_DT_FLAGS_1, 0)
        if _DT_BIND_NOW in self._tags or flags & _DF_BIND_NOW or more & _DF_1_NOW:
            return self.undefined
        return self.undefined & self._relocations[1] if self.machine in _JUMP_SLOTS else self.undefined

    # -- code ------------------------------------------------------------------------------------------------

    def _mentioned(self, start: int, end: int) -> Iterator[int]:
        """What a function may jump to or take the address of: code, or slots of the global offset table."""
        offset = self._offset(start)
        code = self._slice(offset, end - start, "a function")
        for hint in _HINTS.finditer(code):
            at, byte = hint.end(), code[hint.start()]
            if byte == 0xEB or 0x70 <= byte < 0x80:
                # Within a function these go anywhere; to another one, to where it begins.
                if (
                    at < len(code)
                    and (target := start + at + 1 + _SHORT.unpack_from(code, at)[0]) in self._begins
                ):
                    yield target
                continue
            if at + 4 > len(code):
                continue
            target = start + at + 4 + _LONG.unpack_from(code, at)[0]
            if byte >= 0x80:
                if self._is_code(target):
                    yield self._through(target)
                continue
            for behind in _BEHIND:
                yield from self._taken(target + behind)

    def _taken(self, address: int) -> Iterator[int]:
        """Where an operand at an address leads: a slot, a function, or the places in a table of jumps."""
        if address in self._relocations[0] or address in self._begins:
            yield address
        elif not self._is_code(address):
            yield from self._cases(address)

    def _cases(self, table: int) -> Iterator[int]:
        """The code that a table of distances leads to, as those of switches are."""
        span = next((s for s in self._loads if s[0] <= table < s[0] + s[2]), None)
        if span is None:
            return
        place = span[1] + table - span[0]
        for _ in range(_MOST_CASES):
            if place + 4 > min(span[1] + span[2], len(self._data)):
                return
            target = table + _LONG.unpack(self._data[place : place + 4])[0]
            if not self._is_code(target):
                return
            yield target
            place += 4

    def _through(self, target: int) -> int:
        """The slot behind a stub of the procedure linkage table, else the target itself."""
        place = self._offset(target)
        code = self._data[place : place + 12]
        stub = _STUB.match(code, 0, 8)
        if stub is None or stub.end() + 4 > len(code):
            return target
        slot = target + stub.end() + 4 + _LONG.unpack_from(code, stub.end())[0]
        return slot if slot in self._relocations[0] else target

    def _is_code(self, address: int) -> bool:
        return any(start <= address < end for start, end in self._code)

    # -- tables ----------------------------------------------------------------------------------------------

    @cached_property
    def _code(self) -> tuple[tuple[int, int], ...]:
        """Where code is mapped: from, to."""
        table = self._slice(self._phoff, self._phnum * 56, "the program header table")
        parts = tuple(
            (address, address + size)
            for kind, flags, address, size in struct.iter_unpack("<II8xQ8xQ16x", table)
            if kind == _PT_LOAD and flags & _PF_X
        )
        return parts if len(parts) <= _MOST_PARTS else ()

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """Where functions begin, in order; () if that is not known."""
        header = next((row for row in self._segments if row[0] == _PT_GNU_EH_FRAME), None)
        if header is None or _DT_RELR in self._tags:
            return ()
        _, offset, address, size = header
        if self._slice(offset, 4, "the table of functions") != _LAYOUT:
            return ()
        _, count = self._unpack(_HEAD, offset)
        self._bounded(count, min(_MOST_FUNCTIONS, size // _ROW.size))
        rows = self._records(_ROW, offset + _HEAD.size, count, "the table of functions")
        # Some have no row; what comes before the first counts as a function, too.
        found = {*self._functions.values(), *self._inits, *(start for start, _ in self._code)}
        for distance, description in rows:
            function, place = address + distance, address + description
            _, begin, length = self._unpack(_FDE, self._offset(place))
            found.add(function)
            if place + 8 + begin == function:
                found.add(function + length)  # what follows is another one, if it is any
        return tuple(sorted(at for at in found if self._is_code(at)))

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        """Where each of the functions ends: with its part of the file, or where the next begins."""
        borders = (*self._starts[1:], 1 << 64)
        parts = (next(end for first, end in self._code if first <= at < end) for at in self._starts)
        return tuple(map(min, borders, parts))

    @cached_property
    def _begins(self) -> frozenset[int]:
        return frozenset(self._starts)

    @cached_property
    def _functions(self) -> dict[str, int]:
        """Where the exported functions begin."""
        return {
            self._string(name): value
            for name, info, _, section, value, _ in SYMBOL.iter_unpack(self._table)
            if name and section and info & 15 == _STT_FUNC
        }

    @cached_property
    def _relocations(self) -> tuple[dict[int, str], frozenset[str], tuple[int, ...]]:
        """Names by the places that get their addresses, those bound at start, and code that data point to."""
        slots: dict[int, str] = {}
        at_start: set[str] = set()
        pointers: list[int] = []
        if _DT_SYMTAB not in self._tags:
            return slots, frozenset(), ()
        symbols = self._offset(self._tags[_DT_SYMTAB])
        at_call = _JUMP_SLOTS.get(self.machine)
        for tag, size_tag in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
            if not (size := self._tags.get(size_tag, 0)):
                continue
            start = self._offset(self._tags.get(tag, 0))
            count = self._bounded(size // RELA.size, _MOST_RELOCATIONS)
            for place, info, addend in self._records(RELA, start, count, "the relocations"):
                if not info >> 32:
                    pointers += [addend] if self._is_code(addend) else []
                    continue
                entry = self._slice(symbols + (info >> 32) * SYMBOL.size, SYMBOL.size, "a symbol")
                name = self._string(SYMBOL.unpack(entry)[0])
                slots[place] = name
                if info & 0xFFFFFFFF != at_call:
                    at_start.add(name)
                if info & 0xFFFFFFFF == _R_64 and name in self._functions:
                    pointers.append(self._functions[name])
        return slots, frozenset(at_start), tuple(pointers)

    @cached_property
    def _inits(self) -> tuple[int, ...]:
        return tuple(self._tags[tag] for tag in (_DT_INIT, _DT_FINI) if tag in self._tags)
