"""The error that every part of the Slurm side raises.  Only the command line prints it or exits."""

from __future__ import annotations


class SlurmError(Exception):
    """Something on Slurm's side could not be done.

    The text says what failed, on what and why; ``hint`` says what to do next.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint
