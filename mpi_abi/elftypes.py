"""What is told about ELF files: their machine, their dynamic section, their symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from .errors import AbiError

# e_machine -> (name, R_*_COPY); the names are those of `uname -m`.
MACHINES: dict[int, tuple[str, int]] = {
    3: ("i386", 5),
    20: ("ppc", 19),
    21: ("ppc64", 19),
    22: ("s390x", 9),
    40: ("arm", 20),
    62: ("x86_64", 5),
    183: ("aarch64", 1024),
    243: ("riscv", 4),
    258: ("loongarch", 4),
}


class ElfType(IntEnum):
    """What a file is for (``e_type``)."""

    REL = 1
    EXEC = 2
    DYN = 3
    CORE = 4
    OTHER = 0


class ForeignElf(AbiError):
    """An ELF file of another width or byte order than can be judged.

    The loader passes those of another width over (``passed_over``).
    """

    def __init__(self, text: str, machine: str, *, passed_over: bool) -> None:
        super().__init__(text, hint="use one that was built for this machine")
        self.machine = machine
        self.passed_over = passed_over


@dataclass(frozen=True, slots=True)
class Symbol:
    """One dynamic symbol; ``size`` in bytes."""

    name: str
    defined: bool
    weak: bool
    size: int
    value: int


@dataclass(frozen=True, slots=True)
class ElfFacts:
    """What the dynamic loader decides by, of one file; see ``ld.so(8)``.

    ``filters`` are the libraries of DT_FILTER and DT_AUXILIARY, ``auxiliary`` the latter, which may be
    missing; ``audit`` those of DT_AUDIT and DT_DEPAUDIT, which are loaded apart from all others.
    ``isa_needed`` are the bits of GNU_PROPERTY_X86_ISA_1_NEEDED, ``kernel_needed`` is the oldest Linux of
    NT_GNU_ABI_TAG, e.g. (3, 2, 0); 0 and () where there is no such note.
    """

    machine: str
    kind: ElfType
    interpreter: str
    soname: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    no_default_dirs: bool
    versions_needed: Mapping[str, frozenset[str]]
    versions_defined: frozenset[str]
    filters: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    isa_needed: int = 0
    kernel_needed: tuple[int, ...] = ()


def machine_name(header: bytes) -> str | None:
    """Name the architecture of a file by its first 20 bytes, or None if it is not ELF.

    Names are those of ``uname -m``; 32-bit and big-endian variants say so, e.g. ``i386``, ``x32``, ``arm``.
    """
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    wide, little = header[4] == 2, header[5] == 1
    number = int.from_bytes(header[18:20], "little" if little else "big")
    name = MACHINES.get(number, (f"machine {number}", 0))[0]
    if number == 62 and not wide:
        return "x32"
    if number == 21 and little:
        return "ppc64le"
    if number in (243, 258):
        return f"{name}{64 if wide else 32}"
    if number == 183 and not little:
        return "aarch64_be"
    return name
