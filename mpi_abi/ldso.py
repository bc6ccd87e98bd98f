"""What is compiled into a container's ld.so, read from the file itself, and what it learns from the CPU.

Distributions build it with directories of their own, and glibc has changed the subdirectories in which it
looks for a CPU's own libraries: up to 2.36 ``haswell``, ``tls`` and the like (called legacy here), from 2.33
on ``glibc-hwcaps``.  Of other machines than x86-64 no such subdirectories are known here.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import product
from pathlib import Path

_COMMON_DIRS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
_CPUINFO = Path("/proc/cpuinfo")
_HWCAPS = "glibc-hwcaps"

# The x86-64 micro-architecture levels (psABI), best first, as flags of /proc/cpuinfo.
_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
)
# What glibc calls Intel's CPUs (sysdeps/x86/cpu-features.c), and the bits of the legacy names in a cache.
_HASWELL = {"avx2", "bmi1", "bmi2", "abm", "movbe", "popcnt", "fma"}
_XEON_PHI = {"avx512cd", "avx512er", "avx512pf"}
_AVX512_1 = {"avx512cd", "avx512bw", "avx512dq", "avx512vl"}
_BITS = {"x86_64": 1 << 1, "avx512_1": 1 << 2, "haswell": 1 << 50, "xeon_phi": 1 << 51, "tls": 1 << 63}
_PLATFORMS = sum(1 << bit for bit in range(48, 52))


def cpu_levels(cpuinfo: str) -> tuple[str, ...]:
    """Names of the x86-64 levels that a CPU offers, best first, by the text of ``/proc/cpuinfo``."""
    flags = _cpu_flags(cpuinfo)
    names: list[str] = []
    for name, wanted in reversed(_LEVELS):
        if not wanted <= flags:
            break
        names.insert(0, name)
    return tuple(names)


def platform(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """What ``$PLATFORM`` stands for on x86-64, and the names of the CPU's legacy capabilities, best first."""
    flags = _cpu_flags(cpuinfo)
    if not re.search(r"^vendor_id\s*: GenuineIntel$", cpuinfo, re.MULTILINE):
        return "x86_64", ("x86_64",)
    if flags >= _XEON_PHI:
        return "xeon_phi", ("x86_64",)
    more = ("avx512_1",) if flags >= _AVX512_1 else ()
    return ("haswell" if flags >= _HASWELL else "x86_64"), (*more, "x86_64")


def legacy_subdirectories(cpuinfo: str) -> tuple[str, ...]:
    """The subdirectories that glibc before 2.37 searches first, best first: each subset of the names."""
    own, capabilities = platform(cpuinfo)
    names = ("tls", own, *capabilities)
    chosen = (
        "/".join(name for name, taken in zip(names, row, strict=True) if taken)
        for row in product((True, False), repeat=len(names))
    )
    return tuple(dict.fromkeys(path for path in chosen if path))


def _cpu_flags(cpuinfo: str) -> set[str]:
    match = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(match.group(1).split()) if match else set()


class LdSo:
    """A container's loader for one machine; ``content`` is the file, b"" where there is none to read."""

    def __init__(self, content: bytes, machine: str) -> None:
        self._content = content
        self._machine = machine
        self._x86 = machine == "x86_64"

    @cached_property
    def directories(self) -> tuple[str, ...]:
        """The directories that are searched at last; the usual ones where the file does not tell."""
        # The bounds keep a file of nothing but slashes from costing the square of its size.
        for run in re.findall(rb"(?:/(?:[\w.+-]{1,64}/){1,8}\0){2,}", self._content):
            dirs = [part.decode().rstrip("/") for part in run.split(b"\0") if part]
            if any(part in _COMMON_DIRS for part in dirs):
                return tuple(dirs)
        multiarch = f"{self._machine}-linux-gnu"
        return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", *_COMMON_DIRS)

    @cached_property
    def lib(self) -> str:
        """What ``$LIB`` stands for."""
        match = re.search(rb"\0(lib(?:64|32)?(?:/[a-z0-9_-]+)?)\0", self._content)
        return match.group(1).decode() if match else "lib64"

    @property
    def platform(self) -> str:
        """What ``$PLATFORM`` stands for."""
        return platform(self._cpuinfo)[0] if self._x86 else self._machine

    @cached_property
    def knows_levels(self) -> bool:
        """Whether it is one that looks into ``glibc-hwcaps``."""
        return self._x86 and (not self._content or _HWCAPS.encode() in self._content)

    @cached_property
    def _is_legacy(self) -> bool:
        # Twenty times as fast as a search that begins with a zero, of which there are many.
        found = re.finditer(b"tls", self._content) if self._x86 else ()
        return any(self._content[match.start() - 1 : match.end() + 1] == b"\0tls\0" for match in found)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """The names in a directory that have to be there for any of `subdirectories` to be."""
        levels = (_HWCAPS,) if self.knows_levels else ()
        return (*levels, *_BITS) if self._is_legacy else levels

    @cached_property
    def subdirectories(self) -> tuple[str, ...]:
        """Where in each directory libraries of this CPU are looked for before others, best first."""
        legacy = legacy_subdirectories(self._cpuinfo) if self._is_legacy else ()
        return (*(f"{_HWCAPS}/{level}" for level in self.levels), *legacy)

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The levels of this CPU for which the loader takes a library, best first."""
        return cpu_levels(self._cpuinfo) if self.knows_levels else ()

    def takes(self, capabilities: int) -> bool:
        """Whether it takes an entry of its cache with these legacy capabilities (a mask of bits)."""
        if not self._is_legacy:
            return False
        own, names = platform(self._cpuinfo)
        allowed = sum(_BITS[name] for name in ("tls", *names))
        wanted = capabilities & _PLATFORMS
        return not capabilities & ~(allowed | _PLATFORMS) and wanted in (0, _BITS[own] & _PLATFORMS)

    @cached_property
    def _cpuinfo(self) -> str:
        # The kernel writes this file CPU by CPU, in milliseconds each; the first is as good as all.
        with _CPUINFO.open("rb", buffering=0) as file:
            return file.read(8192).decode(errors="replace")
