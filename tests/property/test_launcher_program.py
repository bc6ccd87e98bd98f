"""Programs: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import BareboatError
from launcher.program import (
    LIMIT,
    MAGIC,
    ROOT_VERBS,
    SIGNATURES,
    VERSION,
    Operation,
    Verb,
    decode,
    encode,
)

# Any bytes that a path or a value can have: everything but NUL, seen as Python sees file names.
raw = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"n").decode("utf-8", "surrogateescape"))
paths = raw.map(lambda text: "/" + text)
names = raw.map(lambda text: "N" + text.replace("=", "_"))
types = st.lists(st.sampled_from(["nfs", "nfs4", "lustre", "fuse.sshfs"]), min_size=1, max_size=3).map(
    ",".join
)
flags = st.sampled_from(["rw", "ro", "rw,optional", "ro,optional"])
modes = st.integers(0, 0o777).map("0{:03o}".format)
filled = raw.map(lambda text: "x" + text)

BY_NAME = {
    "path": paths,
    "source": paths,
    "target": paths,
    "flags": flags,
    "types": types,
    "mode": modes,
    "name": names,
    "text": filled,
    "value": raw,
}


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    verb = draw(st.sampled_from([verb for verb in Verb if verb not in ROOT_VERBS]))
    return Operation(verb, tuple(draw(BY_NAME[argument.name]) for argument in SIGNATURES[verb]))


ROOT = Operation(Verb.ROOT_DIR, ("/img",))
plans = st.builds(
    lambda root, rest: [Operation(Verb.ROOT_DIR, (root,)), *rest], paths, st.lists(operations(), max_size=8)
)


@given(plans)
def test_what_is_written_is_read_back(plan: list[Operation]) -> None:
    assert decode(encode(plan)) == tuple(plan)


@given(plans, st.data())
def test_a_program_that_was_cut_is_refused(plan: list[Operation], data: st.DataObject) -> None:
    whole = encode(plan)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BareboatError):
        decode(whole[:length])


@given(st.binary(max_size=200))
def test_noise_is_refused_with_our_own_error(noise: bytes) -> None:
    with pytest.raises(BareboatError):
        decode(noise)


@given(plans, st.data())
def test_a_changed_byte_gives_another_program_or_our_error(
    plan: list[Operation], data: st.DataObject
) -> None:
    whole = bytearray(encode(plan))
    index = data.draw(st.integers(0, len(whole) - 1))
    whole[index] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode(bytes(whole))
    except BareboatError:
        return
    assert encode(changed) == bytes(whole)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Operation(Verb.CWD, ()), "cwd takes 1 arguments, not 0: ()"),
        (Operation(Verb.CWD, ("",)), "cwd: path '' must be an absolute path of less than 4096 bytes"),
        (Operation(Verb.CWD, ("/a\0b",)), "cwd: path '/a\\x00b' has a NUL byte"),
        (
            Operation(Verb.BIND, ("/a", "b", "rw")),
            "bind: target 'b' must be an absolute path",
        ),
        (
            Operation(Verb.BIND, ("/a", "/b", "")),
            "bind: flags '' must be rw or ro, and \",optional\" after it or not",
        ),
        (Operation(Verb.FILE, ("/a", "644", "")), "file: mode '644' must be four octal digits"),
        (Operation(Verb.ENV_SET, ("", "x")), "env-set: name '' must be not empty and without \"=\""),
        (Operation(Verb.ENV_UNSET, ("A=B",)), "env-unset: name 'A=B' must be not empty and without \"=\""),
        (Operation(Verb.SYMLINK, ("/a", "")), "symlink: text '' must be not empty"),
        (
            Operation(Verb.BIND_FSTYPES, ("nfs,,x", "rw")),
            "bind-fstypes: types 'nfs,,x' must be file system types",
        ),
    ],
)
def test_a_senseless_operation_is_refused(operation: Operation, text: str) -> None:
    with pytest.raises(BareboatError) as caught:
        encode([ROOT, operation])
    assert str(caught.value).startswith(text)


def test_a_program_over_the_limit_is_refused() -> None:
    content = "x" * LIMIT
    with pytest.raises(
        BareboatError, match="the program is too long: 1048636 bytes, at most 1048576 can be run"
    ):
        encode([ROOT, Operation(Verb.FILE, ("/etc/passwd", "0644", content))])


@pytest.mark.parametrize(
    "operation", [Operation(Verb.CWD, ("/\ud800",)), Operation(Verb.ENV_SET, ("A", "\ud800"))]
)
def test_a_character_without_bytes_is_refused(operation: Operation) -> None:
    """JSON can say it: an image's configuration may."""
    with pytest.raises(BareboatError) as caught:
        encode([ROOT, operation])
    assert str(caught.value) == (
        "the program has a character that no file name can have: surrogates not allowed"
    )


@pytest.mark.parametrize("flags", ["rw,unless-shown", "ro,optional,unless-shown"])
def test_a_place_may_be_left_to_the_step(flags: str) -> None:
    plan = (ROOT, Operation(Verb.BIND, ("%{spool}", "%{spool}", flags)), Operation(Verb.CWD, ("%{cwd}",)))
    assert decode(encode(plan)) == plan


def test_the_root_may_not_be_left_to_the_step() -> None:
    with pytest.raises(BareboatError) as caught:
        encode([Operation(Verb.ROOT_DIR, ("%{cwd}",))])
    assert str(caught.value) == ("root-dir: path '%{cwd}' must be an absolute path of less than 4096 bytes")


def test_the_bytes_are_those_of_the_format() -> None:
    plan = [Operation(Verb.ROOT_DIR, ("/img",)), Operation(Verb.NO_NEW_PRIVS, ())]
    assert encode(plan).split(b"\0") == [
        b"bareboat-program",
        b"1",
        b"root-dir",
        b"/img",
        b"no-new-privs",
        b"end",
        b"",
    ]


def test_another_version_is_refused_by_name() -> None:
    data = f"{MAGIC}\0{int(VERSION) + 1}\0end\0".encode()
    with pytest.raises(BareboatError, match=r"a program of another version: \['2'\], this bareboat runs 1"):
        decode(data)


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        (b"end\0end\0", "a malformed program: something follows its end"),
        (b"no-new-privs\0", "a malformed program: it has no end"),
        (b"reboot\0end\0", "a malformed program: unknown verb 'reboot'"),
        (b"end\0", "a malformed program: the root must come first and once"),
        (b"root-dir\0/a\0root-dir\0/a\0end\0", "a malformed program: the root must come first and once"),
        (b"bind\0/a\0end\0", "bind takes 3 arguments, not 2"),
    ],
)
def test_a_malformed_program_is_refused(tail: bytes, text: str) -> None:
    with pytest.raises(BareboatError) as caught:
        decode(b"\0".join([b"bareboat-program", b"1", tail]))
    assert str(caught.value).startswith(text)
