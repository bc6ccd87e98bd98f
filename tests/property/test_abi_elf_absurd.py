"""ELF files that claim absurd sizes and counts: answered or refused, within bounds of memory."""

from __future__ import annotations

import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpi_abi.elf import open_as
from mpi_abi.elfcode import ElfCode
from mpi_abi.errors import AbiError

MOST = 200 << 20
DENSE, SIZE = 96 << 20, 1 << 30
_SOURCE = "int answer = 42; int twice(int n) { return 2 * n; } int main(int c, char **v) { return twice(c); }"
_QUESTIONS: tuple[Callable[[ElfCode], object], ...] = (
    lambda elf: elf.facts,
    lambda elf: elf.exports,
    lambda elf: elf.undefined,
    lambda elf: elf.objects,
    lambda elf: elf.find("answer"),
    lambda elf: elf.copies,
    lambda elf: elf.defines_statically("main"),
    lambda elf: elf.bound_at_start,
    lambda elf: elf.reached(("main", "twice")),
)
_TAGS = {
    "needed": 1,
    "hash": 4,
    "strtab": 5,
    "symtab": 6,
    "pltrelsz": 2,
    "rela": 7,
    "relasz": 8,
    "init": 12,
    "jmprel": 23,
    "strsz": 10,
    "runpath": 29,
    "gnu_hash": 0x6FFFFEF5,
    "verneed": 0x6FFFFFFE,
    "verneednum": 0x6FFFFFFF,
    "verdef": 0x6FFFFFFC,
    "verdefnum": 0x6FFFFFFD,
}
_VALUES = (
    0,
    1,
    0x1000,
    1 << 20,
    24 << 20,
    32 << 20,
    DENSE - 8,
    DENSE,
    1 << 29,
    SIZE - 1,
    SIZE,
    1 << 32,
    2**64 - 1,
)


class Absurd:
    """A file of 1 GB with a real program at its front: bytes without meaning behind it, then zeros."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command: list[str | Path] = ["gcc", "-w", "-x", "c", "-", "-no-pie", "-rdynamic", "-o", path]
        subprocess.run(command, input=_SOURCE.encode(), check=True)
        self.front = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(len(self.front))
            # No end of a string, no end of a hash chain, no small number.
            file.write(b"B" * (DENSE - len(self.front)))
            file.truncate(SIZE)

    def claim(self, tags: dict[int, int]) -> None:
        """Write the program's front anew, with these values in its dynamic section (beside those it has).

        Its first segment is the whole file, at address 0.
        """
        front = bytearray(self.front)
        start, count = struct.unpack_from("<Q", front, 32)[0], struct.unpack_from("<H", front, 56)[0]
        headers = {
            kind: start + 56 * i
            for i in reversed(range(count))
            for kind in struct.unpack_from("<I", front, start + 56 * i)
        }
        struct.pack_into("<QQQQ", front, headers[1] + 8, 0, 0, 0, SIZE)
        dynamic = struct.unpack_from("<Q", front, headers[2] + 8)[0]
        left, at = dict(tags), dynamic
        while (tag := struct.unpack_from("<Q", front, at)[0]) != 0:
            if tag in left:
                struct.pack_into("<Q", front, at + 8, left.pop(tag))
            at += 16
        for tag, value in left.items():
            struct.pack_into("<QQ", front, at, tag, value)
            at += 16
        struct.pack_into("<QQ", front, at, 0, 0)
        with self.path.open("r+b") as file:
            file.write(front)

    def peak(self) -> int:
        """The most memory that any question took, in bytes."""
        most = 0
        for question in _QUESTIONS:
            tracemalloc.start()
            try:
                with open_as(ElfCode, str(self.path)) as elf:
                    question(elf)
            except AbiError as error:
                assert str(error).startswith(f"{self.path}: ")
            finally:
                most = max(most, tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        return most


@pytest.fixture(scope="module")
def absurd(tmp_path_factory: pytest.TempPathFactory) -> Absurd:
    return Absurd(tmp_path_factory.mktemp("absurd") / "file")


@pytest.mark.parametrize(
    "tags",
    [
        {"strsz": SIZE},
        {"strtab": 1 << 20, "strsz": 30 << 20},
        {"strtab": 1 << 20, "strsz": 30 << 20, "symtab": 1 << 20, "hash": 1 << 20},
        {"strtab": DENSE, "strsz": 1 << 20, "symtab": 1 << 20, "gnu_hash": 1 << 20},
        {"rela": 1 << 20, "relasz": SIZE - (1 << 20)},
        {"verneed": 1 << 20, "verneednum": 1 << 29},
        {"verdef": DENSE - 64, "verdefnum": 60000},
    ],
    ids=" ".join,
)
def test_tables_as_big_as_the_file(absurd: Absurd, tags: dict[str, int]) -> None:
    absurd.claim({_TAGS[name]: value for name, value in tags.items()})
    assert absurd.peak() < MOST


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(_TAGS.values())), st.sampled_from(_VALUES), max_size=6))
def test_any_tables_anywhere(absurd: Absurd, tags: dict[int, int]) -> None:
    absurd.claim(tags)
    assert absurd.peak() < MOST


def test_symbols_that_share_one_long_name(absurd: Absurd) -> None:
    """Half a million names of 16 kB, all in the same 32 kB: they would be 8 GB."""
    names, symbols, hash_table = 1 << 20, 2 << 20, 24 << 20
    count = (1 << 19) - 1
    absurd.claim({4: hash_table, 5: names, 6: symbols, 10: 1 << 15, 0x6FFFFEF5: hash_table})
    with absurd.path.open("r+b") as file:
        file.seek(names + (1 << 15) - 1)
        file.write(b"\0")
        file.seek(symbols)
        file.write(b"".join(struct.pack("<IBBHQQ", 1 + n % 16000, 0x11, 0, 1, 0, 8) for n in range(count)))
        file.seek(hash_table)
        file.write(struct.pack("<II", 1, count))
    assert absurd.peak() < MOST
    with open_as(ElfCode, str(absurd.path)) as elf, pytest.raises(AbiError) as caught:
        _ = elf.exports
    assert str(caught.value) == f"{absurd.path}: damaged ELF file: names of more than 33554432 bytes"
