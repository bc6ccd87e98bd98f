"""ELF files that no linker makes, written byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

INTERPRETER = b"/lib64/ld-linux-x86-64.so.2"
_NEEDED, _SONAME, _RPATH = 1, 14, 15


def write_elf(
    path: Path,
    *,
    needed: Iterable[bytes] = (),
    soname: bytes = b"",
    rpath: bytes = b"",
    exports: Iterable[bytes] = (),
    interpreter: bytes = b"",
) -> Path:
    """A file with one segment, with these entries in its dynamic section and these functions."""
    strings = bytearray(b"\0")

    def add(text: bytes) -> int:
        at = len(strings)
        strings.extend(text + b"\0")
        return at

    dynamic = [(_NEEDED, add(name)) for name in needed]
    dynamic += [(tag, add(text)) for tag, text in ((_SONAME, soname), (_RPATH, rpath)) if text]
    symbols = bytearray(24)
    for name in exports:
        symbols += struct.pack("<IBBHQQ", add(name), 0x12, 0, 1, 0x1000, 8)
    start = 64 + 3 * 56
    body = bytearray()

    def put(data: bytes) -> int:
        body.extend(bytes(-len(body) % 16))
        at = start + len(body)
        body.extend(data)
        return at

    where = put(interpreter + b"\0")
    dynamic += [(5, put(bytes(strings))), (10, len(strings)), (6, put(bytes(symbols))), (11, 24)]
    dynamic += [(4, put(struct.pack("<IIII", 1, len(symbols) // 24, 0, 0))), (0, 0)]
    table = b"".join(struct.pack("<QQ", *entry) for entry in dynamic)
    at = put(table)
    headers = [(1, 0, start + len(body)), (2, at, len(table))]
    headers += [(3, where, len(interpreter) + 1)] if interpreter else [(0, 0, 0)]
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    for kind, offset, size in headers:
        head += struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 8)
    path.write_bytes(head + body)
    path.chmod(0o755)
    return path
