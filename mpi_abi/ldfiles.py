"""The files that a container's dynamic loader goes by, read within bounds: strangers made them."""

from __future__ import annotations

import re

from .errors import AbiError
from .files import read_start
from .ldcache import MOST_BYTES, CacheEntries, parse_cache
from .ldso import LdSo
from .rootfs import RootView

# Where ld.so lies, by machine: for questions without a program (psABI supplements).
INTERPRETERS = {
    "x86_64": "/lib64/ld-linux-x86-64.so.2",
    "aarch64": "/lib/ld-linux-aarch64.so.1",
    "ppc64le": "/lib64/ld64.so.2",
    "riscv64": "/lib/ld-linux-riscv64-lp64d.so.1",
    "loongarch64": "/lib64/ld-linux-loongarch-lp64d.so.1",
}
_CACHE = "/etc/ld.so.cache"
_PRELOADS = "/etc/ld.so.preload"
_MOST_PRELOADS = 1 << 16
_MOST_LOADER = 4 << 20
"""Bytes of the list of preloads, and of the loader's own file, whose constants lie in front."""


def read_cache(view: RootView, machine: str) -> CacheEntries:
    """The loader's table; empty if there is none, or if it is damaged: ld.so then goes on without it."""
    try:
        return parse_cache(_read(view, _CACHE, MOST_BYTES + 1), machine=machine)
    except AbiError:
        return {}


def read_preloads(view: RootView) -> list[str]:
    """The names in /etc/ld.so.preload.  Raises AbiError if it is longer than any that serves a purpose."""
    data = _read(view, _PRELOADS, _MOST_PRELOADS + 1)
    if len(data) > _MOST_PRELOADS:
        raise AbiError(
            f"{_PRELOADS}: more than {_MOST_PRELOADS} bytes of libraries for every program",
            hint="remove the file from the image, or all but the names that it needs",
        )
    # To the loader, the text ends at a zero.
    text = re.sub(rb"#[^\n]*", b"", data).partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return [name for name in re.split("[ \t\n:]+", text) if name]


def read_loader(view: RootView, interpreter: str, machine: str) -> LdSo:
    """What is compiled into the loader at a container path ("": none is known)."""
    return LdSo(_read(view, interpreter, _MOST_LOADER) if interpreter else b"", machine)


def _read(view: RootView, path: str, most: int) -> bytes:
    host = view.resolve(path)
    try:
        return read_start(host, most) if host else b""
    except OSError:
        return b""
