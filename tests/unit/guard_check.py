"""Which of guards hold no longer."""

from __future__ import annotations

from collections.abc import Iterable

from mpi_abi import Guard
from mpi_abi.guards import holds


def broken(guards: Iterable[Guard]) -> list[Guard]:
    return [guard for guard in guards if not holds(guard)]
