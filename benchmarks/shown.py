"""What goes to a terminal or a page: names and outputs that are not ours must neither steer nor break it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mpi_abi.shown import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH = 150
"""Columns of a table that does not go to a terminal."""

_Any = TypeVar("_Any")


def printable_lines(text: str) -> str:
    """The same lines, with everything else escaped that is not printed."""
    return "\n".join(map(printable, text.split("\n")))


def printable_all(value: _Any) -> _Any:
    """The same value with every text of it made printable: of dataclasses and tuples, at any depth."""
    return cast("_Any", _printable(value))


def _printable(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Enum):
        return printable_lines(value)
    if isinstance(value, tuple):
        return tuple(map(_printable, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: _printable(getattr(value, one.name)) for one in fields(value)})
    return value


def make_console(*, stderr: bool = False) -> Console:
    """A console that takes texts as they are: square brackets and colons are no markup."""
    from rich.console import Console

    width = None if stderr or sys.stdout.isatty() else WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


def show_all(parts: Iterable[RenderableType]) -> None:
    """Print them on standard output."""
    console = make_console()
    for part in parts:
        console.print(part)
