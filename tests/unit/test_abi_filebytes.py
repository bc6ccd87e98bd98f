"""A file as bytes: the same answers as of the bytes themselves, of which only what is asked for is read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from abi_toolbox import HOST_LIBS
from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_abi.elf import open_elf
from mpi_abi.errors import AbiError
from mpi_abi.filebytes import HEAD, FileBytes

_EDGES = [0, 1, 255, 256, HEAD - 1, HEAD, HEAD + 1, 3 * HEAD, 3 * HEAD + 7, 5 * HEAD]
_places = st.one_of(st.sampled_from(_EDGES), st.integers(0, 4 * HEAD))


@settings(max_examples=200, deadline=None)
@given(
    size=_places,
    marks=st.lists(_places, max_size=4),
    parts=st.lists(st.tuples(_places, _places), min_size=1, max_size=5),
    wanted=st.sampled_from([b"\1", b"\1\0", b"\0\0\1", b"\0" * 600 + b"\1"]),
)
def test_answers_are_those_of_bytes(
    size: int, marks: list[int], parts: list[tuple[int, int]], wanted: bytes
) -> None:
    content = bytearray(size)
    for mark in marks:
        content[mark : mark + 1] = b"\1" if mark < size else b""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        data = FileBytes(file.fileno())
        assert len(data) == size
        for start, stop in parts:
            assert data[start:stop] == content[start:stop]
            assert data.find(wanted, start, stop) == content.find(wanted, start, stop)


def _read_so_far() -> int:
    """Bytes that this process has read (proc_pid_io(5))."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_of_a_large_library_little_is_read() -> None:
    library = HOST_LIBS / "libmpich.so.12"
    before = _read_so_far()
    with open_elf(str(library)) as elf:
        assert elf.facts.soname == "libmpich.so.12"
        assert elf.find("MPI_Init")
    assert _read_so_far() - before < library.stat().st_size / 10


def test_a_file_that_is_cut_short_meanwhile_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "lib"
    path.write_bytes((HOST_LIBS / "libmpich.so.12").read_bytes())
    with open_elf(str(path)) as elf:
        assert elf.facts.needed
        os.truncate(path, 4096)
        with pytest.raises(AbiError) as caught:
            _ = elf.exports
    assert str(caught.value).startswith(f"{path}: damaged ELF file: ")
