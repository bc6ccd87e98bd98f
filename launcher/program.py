"""The program: a plan as bytes, which the C core checks and runs.

The format is a row of NUL-terminated strings: a magic, a version, then for each operation its verb followed
by exactly its arguments, and ``end``.  Strings are file system bytes (``surrogateescape``), so that every
path of the host can stand in a program, whatever its encoding.  A malformed program is refused as a whole,
here and again in C, before anything of it runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from launcher.errors import BareboatError

MAGIC = "bareboat-program"
VERSION = "1"
END = "end"
LIMIT = 1 << 20
"""Largest program, in bytes: what the C core reads into its fixed buffer."""
PATH_MAX = 4096
"""Longest path, in bytes with the NUL: the kernel takes no longer one (path_resolution(7))."""


class Verb(StrEnum):
    """What one operation does.  Mount operations run in their order."""

    ROOT_DIR = "root-dir"
    ROOT_SQUASHFS = "root-squashfs"
    BIND = "bind"
    BIND_FSTYPES = "bind-fstypes"
    TMPFS = "tmpfs"
    FILE = "file"
    SYMLINK = "symlink"
    ENV_SET = "env-set"
    ENV_DEFAULT = "env-default"
    ENV_UNSET = "env-unset"
    ENV_PREPEND = "env-prepend"
    ENV_APPEND = "env-append"
    READ_AHEAD = "read-ahead"
    SAY = "say"
    CWD = "cwd"
    NO_NEW_PRIVS = "no-new-privs"


ROOT_VERBS = frozenset({Verb.ROOT_DIR, Verb.ROOT_SQUASHFS})
"""One of these makes the root."""


class Origin(StrEnum):
    """Who asked for an operation."""

    DEFAULT = "default"
    SITE = "site"
    USER = "user"
    IMAGE = "image"
    STEP = "step"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a plan.  ``reason`` and ``origin`` are for people; they do not enter the program."""

    verb: Verb
    args: tuple[str, ...]
    reason: str = ""
    origin: Origin = Origin.DEFAULT


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_path(text: str) -> bool:
    return text.startswith("/") and len(_bytes(text)) < PATH_MAX


def _is_place(text: str) -> bool:
    placeholder = len(text) > 3 and text.startswith("%{") and text.endswith("}")
    return _is_path(text) or (placeholder and len(_bytes(text)) < 4096)


def _is_flags(text: str) -> bool:
    return re.fullmatch(r"(rw|ro)(,optional)?(,unless-shown)?", text) is not None


def _is_types(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*", text) is not None


def _is_mode(text: str) -> bool:
    return re.fullmatch(r"0[0-7]{3}", text) is not None


def _is_name(text: str) -> bool:
    return text != "" and "=" not in text


def _is_filled(text: str) -> bool:
    return text != ""


def _is_anything(_text: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Argument:
    """An argument of a verb: what it is called in messages, what it must be, and the test of that."""

    name: str
    must: str
    test: Callable[[str], bool]


_PLACE = 'an absolute path of less than 4096 bytes or a placeholder "%{NAME}"'
_ROOT = _Argument("path", "an absolute path of less than 4096 bytes", _is_path)
_SERVER = _Argument(
    "server",
    "an absolute path of less than 4096 bytes, or nothing",
    lambda text: not text or _is_path(text),
)
_SOURCE = _Argument("source", _PLACE, _is_place)
_TARGET = _Argument("target", _PLACE, _is_place)
_PATH = _Argument("path", _PLACE, _is_place)
_FLAGS = _Argument(
    "flags", 'rw or ro, and ",optional" after it or not, then ",unless-shown" or not', _is_flags
)
_TYPES = _Argument("types", "file system types with commas between them", _is_types)
_MODE = _Argument("mode", "four octal digits, the first of them 0", _is_mode)
_NAME = _Argument("name", 'not empty and without "="', _is_name)
_TEXT = _Argument("text", "not empty", _is_filled)
_FREE = _Argument("value", "anything", _is_anything)

SIGNATURES: dict[Verb, tuple[_Argument, ...]] = {
    Verb.ROOT_DIR: (_ROOT,),
    Verb.ROOT_SQUASHFS: (_ROOT, _SERVER),
    Verb.BIND: (_SOURCE, _TARGET, _FLAGS),
    Verb.BIND_FSTYPES: (_TYPES, _FLAGS),
    Verb.TMPFS: (_TARGET, _FREE),
    Verb.FILE: (_TARGET, _MODE, _FREE),
    Verb.SYMLINK: (_TARGET, _TEXT),
    Verb.ENV_SET: (_NAME, _FREE),
    Verb.ENV_DEFAULT: (_NAME, _FREE),
    Verb.ENV_UNSET: (_NAME,),
    Verb.ENV_PREPEND: (_NAME, _FREE),
    Verb.ENV_APPEND: (_NAME, _FREE),
    Verb.READ_AHEAD: (_ROOT,),
    Verb.SAY: (_TEXT,),
    Verb.CWD: (_PATH,),
    Verb.NO_NEW_PRIVS: (),
}


def encode(operations: Iterable[Operation]) -> bytes:
    """Write operations as a program.

    Raises BareboatError for an operation that could not be run as it stands: a wrong number of arguments, a
    NUL byte, an argument that is not what its verb needs, or a program of more than ``LIMIT`` bytes.
    """
    strings = [MAGIC, VERSION]
    plan = tuple(operations)
    _check_root(plan)
    try:
        for operation in plan:
            _check(operation)
            strings.append(operation.verb.value)
            strings.extend(operation.args)
        strings.append(END)
        data = b"".join(_bytes(text) + b"\0" for text in strings)
    except UnicodeEncodeError as error:
        raise BareboatError(
            f"the program has a character that no file name can have: {error.reason}"
        ) from error
    if len(data) > LIMIT:
        raise BareboatError(
            f"the program is too long: {len(data)} bytes, at most {LIMIT} can be run",
            hint="pass fewer mounts, or mount their common directory",
        )
    return data


def decode(data: bytes) -> tuple[Operation, ...]:
    """Read a program back.  ``reason`` is empty and ``origin`` is DEFAULT: the bytes carry neither.

    Raises BareboatError for anything that ``encode`` would not have written.
    """
    if len(data) > LIMIT:
        raise BareboatError(f"not a program: {len(data)} bytes, at most {LIMIT} can be run")
    if not data.endswith(b"\0"):
        raise BareboatError("not a program: its last string is not ended")
    strings = [part.decode("utf-8", "surrogateescape") for part in data[:-1].split(b"\0")]
    if strings[0] != MAGIC:
        raise BareboatError(f"not a program: it begins with {strings[0]!r}")
    if len(strings) < 2 or strings[1] != VERSION:
        raise BareboatError(f"a program of another version: {strings[1:2]}, this bareboat runs {VERSION}")
    operations: list[Operation] = []
    index = 2
    while index < len(strings) and strings[index] != END:
        operation = _read(strings, index)
        operations.append(operation)
        index += 1 + len(operation.args)
    if index != len(strings) - 1:
        what = "it has no end" if index >= len(strings) else "something follows its end"
        raise BareboatError(f"a malformed program: {what}")
    _check_root(operations)
    return tuple(operations)


def _check_root(operations: Sequence[Operation]) -> None:
    """Raise BareboatError unless the first operation, and only that, makes the root."""
    if [at for at, operation in enumerate(operations) if operation.verb in ROOT_VERBS] != [0]:
        raise BareboatError("a malformed program: the root must come first and once")


def _read(strings: list[str], index: int) -> Operation:
    """Read the operation whose verb stands at ``index``."""
    try:
        verb = Verb(strings[index])
    except ValueError as error:
        raise BareboatError(f"a malformed program: unknown verb {strings[index]!r}") from error
    args = tuple(strings[index + 1 : index + 1 + len(SIGNATURES[verb])])
    operation = Operation(verb, args)
    _check(operation)
    return operation


def _check(operation: Operation) -> None:
    """Raise BareboatError unless the operation's arguments are what its verb needs."""
    signature = SIGNATURES[operation.verb]
    found = len(operation.args)
    if found != len(signature):
        raise BareboatError(
            f"{operation.verb} takes {len(signature)} arguments, not {found}: {operation.args!r}"
        )
    for argument, text in zip(signature, operation.args, strict=True):
        if "\0" in text:
            raise BareboatError(f"{operation.verb}: {argument.name} {text!r} has a NUL byte")
        if not argument.test(text):
            raise BareboatError(f"{operation.verb}: {argument.name} {text!r} must be {argument.must}")
