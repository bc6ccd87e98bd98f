"""Entries: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.entry import LIMIT, Entry, decode_entry, encode_entry
from launcher.errors import BareboatError
from launcher.program import Operation, Verb, decode, encode
from mpi_abi import Guard, GuardKind

raw = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"n").decode("utf-8", "surrogateescape"))
paths = raw.map(lambda text: "/" + text)
stamps = st.lists(st.integers(0, (1 << 64) - 1), min_size=5, max_size=5).map(lambda n: " ".join(map(str, n)))
guards = st.lists(
    st.one_of(
        st.builds(Guard, st.sampled_from([GuardKind.SAME, GuardKind.LINK]), paths, stamps),
        st.builds(Guard, st.sampled_from([GuardKind.THERE, GuardKind.ABSENT]), paths),
    ),
    max_size=8,
).map(tuple)
places = st.sampled_from(["%{cwd}", "%{spool}", "%{TMPDIR}", "%{PMIX_SERVER_TMPDIR}", "/plain"])
programs = st.lists(places, max_size=4).map(
    lambda found: encode(
        [
            Operation(Verb.ROOT_DIR, ("/img",)),
            *(Operation(Verb.BIND, (place, place, "rw,optional,unless-shown")) for place in found),
            Operation(Verb.CWD, ("%{cwd}",)),
        ]
    )
)


@given(programs, guards)
def test_what_is_written_is_read_back(program: bytes, kept: tuple[Guard, ...]) -> None:
    entry = decode_entry(encode_entry(program, kept, cacheable=True))
    assert entry == Entry(program, kept, cacheable=True)
    assert encode(decode(entry.program)) == program


@given(programs, guards)
def test_what_is_not_kept_has_no_guards(program: bytes, kept: tuple[Guard, ...]) -> None:
    assert decode_entry(encode_entry(program, kept, cacheable=False)) == Entry(program, (), cacheable=False)


@given(programs, guards, st.data())
def test_an_entry_that_was_cut_is_refused(
    program: bytes, kept: tuple[Guard, ...], data: st.DataObject
) -> None:
    whole = encode_entry(program, kept, cacheable=True)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(BareboatError):
        decode(decode_entry(cut).program)


@given(st.binary(max_size=200))
def test_noise_is_refused_with_our_own_error(noise: bytes) -> None:
    with pytest.raises(BareboatError):
        decode_entry(noise)


def test_more_guards_than_fit_make_an_entry_for_one_step() -> None:
    program = encode([Operation(Verb.ROOT_DIR, ("/img",))])
    many = (Guard(GuardKind.THERE, "/" + "a" * 4000),) * (LIMIT // 4000 + 1)
    assert decode_entry(encode_entry(program, many, cacheable=True)) == Entry(program, (), cacheable=False)


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        ("2\0cache\0program\0", "not an entry, or one of another version"),
        ("1\0perhaps\0program\0", "a malformed entry: it says neither cache nor no-cache"),
        ("1\0cache\0guard\0near\0/a\0\0program\0", "a malformed entry: unknown kind of guard 'near'"),
        ("1\0cache\0guard\0there\0a\0\0program\0", "a malformed entry: the guarded path 'a' is not absolute"),
        (
            "1\0cache\0guard\0there\0/a\x001 2 3 4 5\0program\0",
            "a malformed entry: '1 2 3 4 5' is no stamp of /a",
        ),
        ("1\0cache\0guard\0same\0/a\x001 2 3 4\0program\0", "a malformed entry: '1 2 3 4' is no stamp of /a"),
        ("1\0cache\0reboot\0", "a malformed entry: unknown record 'reboot'"),
        ("1\0cache\0", "a malformed entry: it ends too early"),
    ],
)
def test_a_malformed_entry_is_refused(tail: str, text: str) -> None:
    with pytest.raises(BareboatError) as caught:
        decode_entry(f"bareboat-entry\0{tail}".encode())
    assert str(caught.value) == text
