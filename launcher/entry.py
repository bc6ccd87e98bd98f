"""The entry: a program with the guards under which it holds, as the plugin keeps it for later steps.

NUL-terminated strings: a magic, a version, ``cache`` or ``no-cache``, for each guard ``guard`` KIND PATH
STAMP, then ``program`` and the program's bytes to the end.  Its reader is ``cffi_build/core/entry.c``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from launcher.errors import BareboatError
from launcher.program import LIMIT as PROGRAM_LIMIT
from mpi_abi.guards import Guard, GuardKind

MAGIC = "bareboat-entry"
VERSION = "1"
LIMIT = 2 * PROGRAM_LIMIT
"""Largest entry, in bytes: what the C core reads into its fixed buffer."""

_CACHE, _NO_CACHE = "cache", "no-cache"
_GUARD, _PROGRAM = "guard", "program"
_STAMPED = {GuardKind.SAME, GuardKind.LINK}


@dataclass(frozen=True, slots=True)
class Entry:
    """A program, whether it may be used again, and while what holds."""

    program: bytes
    guards: tuple[Guard, ...]
    cacheable: bool


def encode_entry(program: bytes, guards: Iterable[Guard], *, cacheable: bool) -> bytes:
    """Write an entry.  Where it would be too long to be kept, it is one for this step alone."""
    kept = tuple(guards) if cacheable else ()
    data = _encode(program, kept, cacheable=cacheable)
    return data if len(data) <= LIMIT else _encode(program, (), cacheable=False)


def decode_entry(data: bytes) -> Entry:
    """Read an entry back.  Raises BareboatError for anything that ``encode_entry`` would not have written."""
    if len(data) > LIMIT:
        raise BareboatError(f"not an entry: {len(data)} bytes, at most {LIMIT} can be kept")
    records = _Records(data)
    if records.take() != MAGIC or records.take() != VERSION:
        raise BareboatError("not an entry, or one of another version")
    cacheable = {_CACHE: True, _NO_CACHE: False}.get(records.take())
    if cacheable is None:
        raise BareboatError("a malformed entry: it says neither cache nor no-cache")
    guards: list[Guard] = []
    while (record := records.take()) == _GUARD:
        guards.append(_read_guard(records.take(), records.take(), records.take()))
    if record != _PROGRAM:
        raise BareboatError(f"a malformed entry: unknown record {record!r}")
    return Entry(records.rest(), tuple(guards), cacheable)


def _encode(program: bytes, guards: tuple[Guard, ...], *, cacheable: bool) -> bytes:
    texts = [MAGIC, VERSION, _CACHE if cacheable else _NO_CACHE]
    for guard in guards:
        texts += [_GUARD, guard.kind.value, guard.path, guard.stamp]
    texts.append(_PROGRAM)
    return b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts) + program


def _read_guard(kind: str, path: str, stamp: str) -> Guard:
    if kind not in set(GuardKind):
        raise BareboatError(f"a malformed entry: unknown kind of guard {kind!r}")
    guard = Guard(GuardKind(kind), path, stamp)
    if not path.startswith("/"):
        raise BareboatError(f"a malformed entry: the guarded path {path!r} is not absolute")
    pattern = r"[0-9]+( [0-9]+){4}" if guard.kind in _STAMPED else ""
    if not re.fullmatch(pattern, stamp, re.ASCII) or not all(map(_fits, stamp.split())):
        raise BareboatError(f"a malformed entry: {stamp!r} is no stamp of {path}")
    return guard


def _fits(digits: str) -> bool:
    """Whether a number is one to the core, which has 64 bits for it."""
    digits = digits.lstrip("0")
    return len(digits) <= 20 and int(digits or "0") < 1 << 64


class _Records:
    """Takes strings off the front of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise BareboatError("a malformed entry: it ends too early")
        text = self._data[self._at : end].decode("utf-8", "surrogateescape")
        self._at = end + 1
        return text

    def rest(self) -> bytes:
        return self._data[self._at :]
