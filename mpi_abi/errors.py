"""The error that every part of the ABI layer raises.  Only the command line prints it or exits."""

from __future__ import annotations


class AbiError(Exception):
    """A file or a request could not be judged.

    The text says what failed, on what and why; ``hint`` says what to do next.
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint
