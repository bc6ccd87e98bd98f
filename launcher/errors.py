"""The errors that the launcher raises.  Only the command line prints one or exits."""

from __future__ import annotations

from typing import ClassVar


class BareboatError(Exception):
    """Something could not be done.

    The text says what failed, on what and why; ``hint`` says what to do next.  ``exit_code`` is that of the
    command which ends by it.
    """

    exit_code: ClassVar[int] = 125

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class UsageError(BareboatError):
    """The request itself is wrong."""

    exit_code = 2


class NotExecutableError(BareboatError):
    """The program is in the container and cannot be executed."""

    exit_code = 126


class NotFoundError(BareboatError):
    """The program, or the interpreter that it needs, is not in the container."""

    exit_code = 127
