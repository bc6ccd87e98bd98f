"""Notes of ELF files: whatever the bytes are, reading them raises nothing."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from mpi_abi.elfnotes import read_demands

_words = st.lists(st.integers(0, 70) | st.just(0xC0008002), max_size=20)
_noise = st.binary(max_size=100) | _words.map(lambda numbers: struct.pack(f"<{len(numbers)}I", *numbers))


@given(_noise, st.sampled_from([1, 5]))
def test_noise_in_a_note_is_passed_over(noise: bytes, kind: int) -> None:
    isa, kernel = read_demands(struct.pack("<III4s", 4, len(noise), kind, b"GNU") + noise)
    assert 0 <= isa < 1 << 32
    assert len(kernel) in (0, 3)


@given(_noise)
def test_noise_is_no_note(noise: bytes) -> None:
    if b"GNU\0" not in noise:
        assert read_demands(noise) == (0, ())
