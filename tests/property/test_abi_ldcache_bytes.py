"""Damaged loader caches are read or refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mpi_abi.errors import AbiError
from mpi_abi.ldcache import parse_cache


@given(st.binary(max_size=300))
def test_arbitrary_bytes(data: bytes) -> None:
    for prefix in (b"", b"ld.so-1.7.0\0", b"glibc-ld.so.cache1.1"):
        with contextlib.suppress(AbiError):
            parse_cache(prefix + data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutations_of_a_real_one(data: st.DataObject) -> None:
    content = bytearray(Path("/etc/ld.so.cache").read_bytes())
    places = st.one_of(st.integers(0, 200), st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        content[place] = value
    with contextlib.suppress(AbiError):
        parse_cache(bytes(content[: data.draw(st.integers(0, len(content)))]))
