"""In which order bare and container runs take turns.  Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from benchmarks.errors import BenchError

Cell = TypeVar("Cell")


class Side(StrEnum):
    """What is compared."""

    BARE = "bare"
    CONTAINER = "container"


@dataclass(frozen=True, slots=True)
class Turn(Generic[Cell]):
    """One run of a cell on a side; rounds count from 0, those below 0 are warm-up, to be dropped."""

    round: int
    cell: Cell
    side: Side


def make_schedule(cells: Sequence[Cell], *, rounds: int, warmup: int, seed: int) -> tuple[Turn[Cell], ...]:
    """Order the runs: each round runs every cell once on both sides.

    The cells come in random order in each round, so that no cell always follows the same other one.  The
    two sides of a cell run one after the other, so that a slow change of the machine meets both; which is
    first is random too, but balanced over the counted rounds of a cell, so that being second costs both
    sides the same.  The same seed gives the same schedule.  Raises BenchError for no cells, no rounds, or a
    negative warm-up.
    """
    if not cells:
        raise BenchError("there is nothing to measure: no combination of nodes and ranks fits")
    if rounds < 1 or warmup < 0:
        raise BenchError(
            f"{rounds} rounds after {warmup} of warm-up cannot be run", hint="give at least 1 round"
        )
    draw = random.Random(seed)
    bare_first = [_balanced(rounds, draw) for _ in cells]
    turns: list[Turn[Cell]] = []
    for number in range(-warmup, rounds):
        order = list(range(len(cells)))
        draw.shuffle(order)
        for index in order:
            first = bare_first[index][number] if number >= 0 else draw.random() < 0.5
            sides = (Side.BARE, Side.CONTAINER) if first else (Side.CONTAINER, Side.BARE)
            turns.extend(Turn(number, cells[index], side) for side in sides)
    return tuple(turns)


def _balanced(count: int, draw: random.Random) -> list[bool]:
    flags = [index % 2 == 0 for index in range(count)]
    draw.shuffle(flags)
    return flags
