"""The loader's cache, against what ldconfig prints of it, and files that are none."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from mpi_abi.errors import AbiError
from mpi_abi.ldcache import parse_cache

_MAGIC = b"glibc-ld.so.cache1.1"


def _cache(entries: list[tuple[str, str, int]], levels: tuple[str, ...] = ()) -> bytes:
    """A table as glibc lays it out: header, entries, strings, extension."""
    strings, offsets = bytearray(), {}
    base = 48 + 24 * len(entries)

    def put(text: str) -> int:
        if text not in offsets:
            offsets[text] = base + len(strings)
            strings.extend(text.encode() + b"\0")
        return offsets[text]

    table = b"".join(struct.pack("<iIIIQ", 0x0303, put(n), put(p), 0, h) for n, p, h in entries)
    names = b"".join(struct.pack("<I", put(level)) for level in levels)
    extension = base + len(strings)
    tail = struct.pack("<IIIIII", 0xEAA42174, 1, 1, 0, extension + 24, len(names)) + names
    header = struct.pack("<20sIIB3xI12x", _MAGIC, len(entries), len(strings), 2, extension if levels else 0)
    return header + table + bytes(strings) + (tail if levels else b"")


def test_this_machines_cache_holds_what_ldconfig_prints() -> None:
    printed = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    wanted: dict[str, list[str]] = {}
    for name, path in re.findall(r"^\t(\S+) \(.*\) => (.*)$", printed, re.MULTILINE):
        wanted.setdefault(name, []).append(path)
    entries = parse_cache(Path("/etc/ld.so.cache").read_bytes())
    assert {name: [path for path, _ in paths] for name, paths in entries.items()} == wanted


def test_a_table_behind_the_old_one_is_found() -> None:
    new = _cache([("liba.so.1", "/lib/liba.so.1", 0)])
    old = b"ld.so-1.7.0\0" + struct.pack("<I", 3) + bytes(3 * 12)
    old += bytes(-len(old) % 8)
    assert parse_cache(old + new) == {"liba.so.1": [("/lib/liba.so.1", "")]}


def test_the_old_table_counts_where_it_stands_alone() -> None:
    strings = b"liba.so.1\0/lib/liba.so.1\0"
    old = b"ld.so-1.7.0\0" + struct.pack("<I", 1) + struct.pack("<iII", 3, 0, 10) + strings
    assert parse_cache(old) == {"liba.so.1": [("/lib/liba.so.1", "")]}


def test_hardware_levels_are_named() -> None:
    level = (1 << 62) | 0
    entries = [
        ("liba.so", "/x/liba.so", level),
        ("liba.so", "/lib/liba.so", 0),
        ("libb.so", "/y/libb.so", 1 << 40),
    ]
    assert parse_cache(_cache(entries, ("x86-64-v3",))) == {
        "liba.so": [("/x/liba.so", "x86-64-v3"), ("/lib/liba.so", "")],
        "libb.so": [("/y/libb.so", "0x10000000000")],
    }


def test_entries_of_other_machines_are_left_out() -> None:
    content = _cache([("liba.so", "/lib/liba.so", 0)])
    assert parse_cache(content, machine="x86_64") == {"liba.so": [("/lib/liba.so", "")]}
    assert parse_cache(content, machine="aarch64") == {}
    assert parse_cache(content, machine="a machine of tomorrow") == {"liba.so": [("/lib/liba.so", "")]}


def test_entries_whose_strings_lie_outside_are_passed_over() -> None:
    assert parse_cache(_cache([("b", "/b", 0), ("a", "/a", 0)])[:-1]) == {"b": [("/b", "")]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "/etc/ld.so.cache: not a table of glibc's"),
        (b"ld.so-1.7.0\0", "/etc/ld.so.cache: ends in the middle of its table"),
        (b"glibc-ld.so.cache2.0" + bytes(64), "/etc/ld.so.cache: not a table of glibc's"),
        (_cache([("a", "/a", 0)])[:60], "/etc/ld.so.cache: ends in the middle of its table"),
        (bytes((64 << 20) + 1), "/etc/ld.so.cache: a table of more than 67108864 bytes"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(AbiError) as caught:
        parse_cache(content)
    assert str(caught.value) == text
    assert caught.value.hint == "run ldconfig in the image"
