"""Damaged and hostile ELF files: the reader answers or refuses, and never fails in another way."""

from __future__ import annotations

import functools
import struct
import subprocess
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_abi.elfcode import ElfCode
from mpi_abi.elftypes import machine_name
from mpi_abi.errors import AbiError

_SOURCE = """
extern long table[7]; extern int twice(int); extern int maybe(void) __attribute__((weak));
int answer = 42; int one(void) { return 1; } int main(int c, char **v) { return twice(c) + (int) table[0]; }
"""
_LIBRARY = "long table[7]; int twice(int n) { return 2 * n; }"


@functools.cache
def _programs() -> tuple[bytes, ...]:
    """A program with copy relocations and versions, and a library with the old kind of hash table."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        library, program = top / "libt.so", top / "program"
        base = ["gcc", "-w", "-x", "c", "-"]
        shared = [*base, "-shared", "-fPIC", "-Wl,--hash-style=sysv,-rpath,/x,-soname,libt.so.1"]
        subprocess.run([*shared, "-o", library], input=_LIBRARY.encode(), check=True)
        link = ["-no-pie", "-fno-pie", "-rdynamic", "-x", "none", str(library), "-o", str(program)]
        subprocess.run([*base, *link], input=_SOURCE.encode(), check=True)
        return program.read_bytes(), library.read_bytes()


def _ask_everything(data: bytes) -> None:
    machine_name(data)
    questions = (
        lambda elf: elf.facts,
        lambda elf: elf.exports,
        lambda elf: elf.undefined,
        lambda elf: elf.objects,
        lambda elf: list(elf.symbols()),
        lambda elf: elf.find("answer"),
        lambda elf: elf.find("one") and elf.text_at(elf.find("one")),
        lambda elf: elf.copies,
        lambda elf: elf.defines_statically("main"),
        lambda elf: elf.bound_at_start,
        lambda elf: elf.reached(("main", "one", "twice")),
    )
    try:
        elf = ElfCode(data, "file")
    except AbiError:
        return
    for question in questions:
        try:
            question(elf)
        except AbiError as error:
            assert str(error).startswith("file: ")


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes(data: bytes) -> None:
    _ask_everything(data)
    _ask_everything(b"\x7fELF\x02\x01\x01" + data)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 1), st.data())
def test_mutated_files(which: int, data: st.DataObject) -> None:
    original = bytearray(_programs()[which])
    # The tables lie at the front and the section headers at the end; the code between is of no interest.
    places = st.one_of(st.integers(0, 4096), st.integers(0, len(original) - 1))
    values = st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF, 0x10, 0x40])
    for place, value in data.draw(st.lists(st.tuples(places, values), min_size=1, max_size=12)):
        original[min(place, len(original) - 1)] = value
    _ask_everything(bytes(original[: data.draw(st.integers(0, len(original)))]))
    _ask_everything(bytes(original))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1), st.integers(0, 40), st.integers(0, 2**64 - 1))
def test_mutated_dynamic_entries(which: int, position: int, value: int) -> None:
    original = bytearray(_programs()[which])
    offset = _dynamic_offset(bytes(original))
    struct.pack_into("<Q", original, offset + 8 * position, value)
    _ask_everything(bytes(original))


def _dynamic_offset(data: bytes) -> int:
    start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
    for i in range(count):
        kind, _, offset = struct.unpack_from("<IIQ", data, start + 56 * i)
        if kind == 2:
            return int(offset)
    raise AssertionError("no dynamic section")
