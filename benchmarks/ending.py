"""Reads what our MPI programs say of their end (``benchmarks/src/common/ending.c``).  Pure."""

from __future__ import annotations


def find_ending(text: str) -> tuple[str, ...]:
    """As notes: nothing, unless MPI_Finalize hung."""
    said = "# MPI_Finalize did not return" in text
    return ("MPI_Finalize did not return; the result was whole by then",) if said else ()
