"""Runs a schedule, and pairs what the sides gave in the same round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.results import Failure
from benchmarks.runner import Stopped
from benchmarks.schedule import AnySide, Cell, Turn

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Measured(Generic[Cell, AnySide, Value]):
    """By cell and side: complete pairs (bare, side), in order of rounds; what failed; why it ended early."""

    pairs: Mapping[tuple[Cell, AnySide], tuple[tuple[Value, Value], ...]]
    failures: tuple[Failure, ...] = ()
    stopped: str = ""


def measure(
    turns: Sequence[Turn[Cell, AnySide]],
    run: Callable[[Cell, AnySide], Value],
    bare: AnySide,
    progress: Progress,
) -> Measured[Cell, AnySide, Value]:
    """Run all turns and pair each side with ``bare``, round by round; warm-up runs are dropped.

    A failing run ends its side of its cell, not the others; bare's ends the cell, since nothing is left to
    compare with.  The pairs that are there are kept.  Stopped ends all, and what is measured is returned.
    """
    values: dict[tuple[int, Cell, AnySide], Value] = {}
    running: dict[Cell, dict[AnySide, None]] = {}
    for turn in turns:
        if turn.side != bare:
            running.setdefault(turn.cell, {})[turn.side] = None
    keys = [(cell, side) for cell, sides in running.items() for side in sides]
    failures: list[Failure] = []
    stopped = ""
    try:
        for turn in turns:
            progress.run(f"{turn.cell}, {turn.side}")
            sides = running[turn.cell]
            if not sides or (turn.side != bare and turn.side not in sides):
                continue
            try:
                value = run(turn.cell, turn.side)
            except BenchError as error:
                failure = Failure(f"{turn.cell}, {turn.side}", str(error), error.hint)
                failures.append(failure)
                progress.note(f"{failure.metric} is given up: {error}")
                if turn.side == bare:
                    sides.clear()
                else:
                    del sides[turn.side]
                continue
            if turn.round >= 0:
                values[turn.round, turn.cell, turn.side] = value
    except Stopped as error:
        stopped = str(error)
    numbers = sorted({number for number, _, _ in values})
    pairs = {
        (cell, side): tuple(
            (values[number, cell, bare], values[number, cell, side])
            for number in numbers
            if (number, cell, bare) in values and (number, cell, side) in values
        )
        for cell, side in keys
    }
    return Measured(pairs, tuple(failures), stopped)
