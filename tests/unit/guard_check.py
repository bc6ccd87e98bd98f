"""Says whether guards hold, as the C core does (cffi_build/core/entry.c)."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mpi_abi import Guard, GuardKind
from mpi_abi.guards import make_stamp


def holds(guard: Guard) -> bool:
    if guard.kind in {GuardKind.READABLE, GuardKind.WRITABLE}:
        return os.access(guard.path, os.R_OK if guard.kind is GuardKind.READABLE else os.W_OK)
    try:
        status = os.stat(guard.path, follow_symlinks=guard.kind in {GuardKind.SAME, GuardKind.THERE})  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return guard.kind is GuardKind.ABSENT
    except OSError:
        return False
    if guard.kind in {GuardKind.SAME, GuardKind.LINK}:
        return make_stamp(status) == guard.stamp
    return guard.kind is GuardKind.THERE


def broken(guards: Iterable[Guard]) -> list[Guard]:
    return [guard for guard in guards if not holds(guard)]
