"""The two readers of an entry, in Python and in C, take and refuse the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher._core import ffi, lib
from launcher.entry import MAGIC, VERSION, decode_entry
from launcher.errors import BareboatError
from launcher.program import Operation, Verb, decode, encode

PROGRAM = encode([Operation(Verb.ROOT_DIR, ("/img",))])
KINDS = ("same", "link", "there", "absent", "readable", "writable", "", "lin", "program")
PATHS = ("/", "/a", "/\udcff", "a", "", "/" + "a" * 5000, "%{cwd}")
STAMPS = (
    *("", "1 2 3 4 5", "1 2 3 4", "1 2 3 4 5 6", "1 2 3 4 5 ", " 1 2 3 4 5", "1  2 3 4 5", "1 2 3 4 5\n"),
    *(f"1 2 3 4 {(1 << 64) - 1}", f"1 2 3 4 {1 << 64}", f"{'9' * 30} 2 3 4 5", f"{'0' * 30} 2 3 4 5"),
    *(f"{'9' * 5000} 2 3 4 5", f"1 2 3 4 {'0' * 5000}"),
    *("1 2 3 4 -5", "+1 2 3 4 5", "1 2 3 4 \u0665", "0x1 2 3 4 5", "1\t2 3 4 5"),
)
PIECES = (b"", b"\0", b" ", b"0", b"/", b"program\0", b"guard\0", b"\xff")
guards = st.tuples(st.sampled_from(KINDS), st.sampled_from(PATHS), st.sampled_from(STAMPS))


def write(*strings: str) -> bytes:
    """The strings as records, unchecked."""
    return b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in strings)


def python_takes(data: bytes) -> bool:
    try:
        decode(decode_entry(data).program)
    except BareboatError:
        return False
    return True


def core_takes(data: bytes) -> bool:
    entry, failure = ffi.new("struct bb_entry *"), ffi.new("struct bb_err *")
    taken: int = lib.bb_entry_open(entry, data, len(data), failure)
    return taken == 0


def assert_agree(data: bytes) -> None:
    assert python_takes(data) == core_takes(data), repr(data[:300])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stamp", STAMPS)
@pytest.mark.parametrize("keep", ["cache", "no-cache", ""])
def test_they_agree_on_each_guard(kind: str, stamp: str, keep: str) -> None:
    for path in PATHS:
        assert_agree(write(MAGIC, VERSION, keep, "guard", kind, path, stamp, "program") + PROGRAM)


def test_they_take_what_is_right() -> None:
    data = write(MAGIC, VERSION, "cache", "guard", "same", "/a", "1 2 3 4 5", "program") + PROGRAM
    assert python_takes(data)
    assert core_takes(data)
    assert not core_takes(data[:-1])


@given(st.lists(guards, max_size=3), st.data())
def test_they_agree_on_damaged_entries(some: list[tuple[str, str, str]], data: st.DataObject) -> None:
    records = [text for guard in some for text in ("guard", *guard)]
    whole = bytearray(write(MAGIC, VERSION, "cache", *records, "program") + PROGRAM)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(whole)))
        length = data.draw(st.integers(0, 3))
        whole[at : at + length] = data.draw(st.sampled_from(PIECES))
    assert_agree(bytes(whole))


@given(st.binary(max_size=64))
def test_they_agree_on_noise(noise: bytes) -> None:
    assert_agree(noise)
    assert_agree(write(MAGIC, VERSION, "cache") + noise)
