"""The error that the benchmarks raise.  Only the command line prints it or exits."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement could not be made, or its output could not be read.

    The text says what failed, on what and why; ``hint`` says what to do next.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint
