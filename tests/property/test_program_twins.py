"""The two readers of a program, in Python and in C, take and refuse the same bytes.

The reader in C decides what a rank gets; the one in Python writes and shows plans.  Where they disagree, a
plan that can be shown cannot be run, or one can be run that no plan shows.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.apply import check
from launcher.errors import BareboatError
from launcher.program import LIMIT, MAGIC, ROOT_VERBS, SIGNATURES, VERSION, Verb, decode

# Arguments on both sides of each rule.
ARGUMENTS = (
    *("", "/", "/a", "a", "/" + "a" * 4094, "/" + "a" * 4095, "/\udcff", "/" + "\u20ac" * 1365),
    *("%{cwd}", "%{}", "%{", "%{a}b", "%{\udcff}", "%{" + "a" * 4092 + "}", "%{" + "a" * 4093 + "}"),
    *("rw", "ro", "rw,optional", "ro,optional", "rw,", "ro,optional,", "rwx", "optional"),
    *("rw,optional,optional", "rw,unless-shown", "ro,optional,unless-shown"),
    *("rw,unless-shown,optional", "ro,unless-shown,unless-shown"),
    *("nfs", "nfs,lustre", "nfs,", ",nfs", "nfs,,nfs", "fuse.x-y_z", "nfs 4", "nfs\n", "nf\u00df", ","),
    *("0644", "644", "4755", "0", "0888", "00644", "0644 ", "0644\n", "\u0660644"),
    *("A", "A=b", "=", "A\n", "\udc80"),
    *("end", "no-new-privs", "root-dir", "root-squashfs"),
)
DAMAGE = (b"", b"\0", b"end\0", b"=", b"/", b",", b"\xff")
arguments = st.sampled_from(ARGUMENTS) | st.text("/aé%{},=0\n", max_size=5)


def write(*strings: str) -> bytes:
    """The strings as records, unchecked."""
    return b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in strings)


@st.composite
def operations(draw: st.DrawFn) -> tuple[str, ...]:
    """A verb with about as many arguments as it takes."""
    verb = draw(st.sampled_from(Verb))
    count = max(0, len(SIGNATURES[verb]) + draw(st.sampled_from([0] * 8 + [1, -1])))
    return (verb.value, *draw(st.lists(arguments, min_size=count, max_size=count)))


plans = st.lists(operations(), max_size=4)


def refusal(data: bytes) -> tuple[str | None, str | None]:
    """What the reader in Python and the one in C say against ``data``; None where nothing."""
    answers: list[str | None] = []
    for read in (decode, check):
        try:
            read(data)
            answers.append(None)
        except BareboatError as error:
            answers.append(str(error))
    return answers[0], answers[1]


def assert_agree(data: bytes) -> None:
    ours, core = refusal(data)
    assert (ours is None) == (core is None), f"{data[:300]!r}: Python: {ours}; C: {core}"


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_they_agree_on_each_argument(verb: Verb, argument: str) -> None:
    """In each place of the verb, the others being right for some verbs."""
    count = len(SIGNATURES[verb])
    for place in range(count):
        for fill in ("/a", "rw", "0644", "nfs"):
            given_args = [fill] * count
            given_args[place] = argument
            if verb is Verb.BIND and place < 2:
                given_args[2] = "rw"
            if verb is Verb.BIND_FSTYPES and place == 0:
                given_args[1] = "rw"
            if verb is Verb.FILE and place == 0:
                given_args[1] = "0644"
            if verb in {Verb.BIND, Verb.FILE} and place > 0:
                given_args[0] = "/a"
            first = () if verb in ROOT_VERBS else (Verb.ROOT_DIR.value, "/img")
            assert_agree(write(MAGIC, VERSION, *first, verb.value, *given_args, "end"))


@given(plans)
def test_they_agree_on_programs(plan: list[tuple[str, ...]]) -> None:
    strings = [text for operation in plan for text in operation]
    assert_agree(write(MAGIC, VERSION, Verb.ROOT_DIR, "/img", *strings, "end"))
    assert_agree(write(MAGIC, VERSION, *strings, "end"))


@given(plans, st.data())
def test_they_agree_on_damaged_programs(plan: list[tuple[str, ...]], data: st.DataObject) -> None:
    strings = [text for operation in plan for text in operation]
    whole = bytearray(write(MAGIC, VERSION, Verb.ROOT_DIR, "/img", *strings, "end"))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole)))
        length = data.draw(st.integers(0, 3))
        whole[at : at + length] = data.draw(st.sampled_from(DAMAGE))
    assert_agree(bytes(whole))


@given(st.binary(max_size=64))
def test_they_agree_on_noise(noise: bytes) -> None:
    assert_agree(noise)
    assert_agree(write(MAGIC, VERSION, Verb.ROOT_DIR, "/img") + noise)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_they_agree_on_the_longest_program(size: int) -> None:
    head, tail = write(MAGIC, VERSION, Verb.ROOT_DIR, "/img", Verb.FILE, "/f", "0644"), write("end")
    data = head + b"x" * (size - len(head) - len(tail) - 1) + b"\0" + tail
    assert len(data) == size
    ours, core = refusal(data)
    assert (ours is None, core is None) == (size == LIMIT, size == LIMIT)
