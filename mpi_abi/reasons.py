"""Why a verdict is what it is: the codes, which stay as they are, and what a reason consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OWN_MPI = "BAREBOAT_MPI=image runs the program with the image's own MPI"


class Code(StrEnum):
    """Names of reasons, for programs.  docs/abi.md explains each; none changes its meaning."""

    ADAPTS = "adapts"
    ARCHITECTURE = "architecture"
    CONFLICT = "conflict"
    CPU_LEVEL = "cpu-level"
    FAMILY_UNKNOWN = "family-unknown"
    FORTRAN_LOGICAL = "fortran-logical"
    FORTRAN_MARKER = "fortran-marker"
    FORTRAN_MARKERS = "fortran-markers"
    FORTRAN_RUNTIME = "fortran-runtime"
    GLIBC = "glibc"
    HOST_GLIBC = "host-glibc"
    HOST_INCOMPLETE = "host-incomplete"
    HWCAPS = "hwcaps"
    INTERFACE_KEPT = "interface-kept"
    INTERFACE_MISSING = "interface-missing"
    INTERFACE_UNCHECKED = "interface-unchecked"
    INTERPRETER_MISSING = "interpreter-missing"
    KERNEL = "kernel"
    LIBRARY_MISSING = "library-missing"
    MPI_MISSING = "mpi-missing"
    MUSL = "musl"
    NO_HOST_MPI = "no-host-mpi"
    NO_MPI = "no-mpi"
    OBJECT_SIZE = "object-size"
    OTHER_FAMILY = "other-family"
    OTHER_MPI = "other-mpi"
    STANDARD_UNKNOWN = "standard-unknown"
    STANDARD_VALUES = "standard-values"
    STATIC_MPI = "static-mpi"
    SYMBOL_MISSING = "symbol-missing"
    SYMBOLS = "symbols"
    TWO_MPIS = "two-mpis"
    UNCHECKED = "unchecked"


OF_THE_NODE = frozenset((Code.CPU_LEVEL, Code.INTERPRETER_MISSING, Code.KERNEL))
"""Codes of reasons that no MPI has to do with."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: ``code`` for programs, ``text`` a sentence, ``evidence`` files or symbols, ``hint`` a way out."""

    code: Code
    text: str
    evidence: tuple[str, ...] = ()
    hint: str = ""


def some(names: list[str], *, most: int = 3) -> str:
    """Some names, for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
