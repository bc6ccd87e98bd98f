"""In which order the runs of the sides take turns.  Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.errors import BenchError

Cell = TypeVar("Cell")
AnySide = TypeVar("AnySide")


@dataclass(frozen=True, slots=True)
class Turn(Generic[Cell, AnySide]):
    """One run of a cell on a side; rounds count from 0, those below 0 are warm-up, to be dropped."""

    round: int
    cell: Cell
    side: AnySide


def make_schedule(
    cells: Sequence[Cell],
    sides: Callable[[Cell], Sequence[AnySide]],
    *,
    rounds: int,
    warmup: int,
    seed: int,
) -> tuple[Turn[Cell, AnySide], ...]:
    """Order the runs: each round runs every cell once on every one of its ``sides``.

    The cells come in random order in each round, so that no cell always follows the same other one.  The
    sides of a cell run one after the other, so that a slow change of the machine meets all of them; their
    order is random too, but balanced over the counted rounds of a cell, so that each place costs all sides
    the same.  The same seed gives the same schedule, of which more rounds are a continuation.
    Raises BenchError for no cells, fewer than two sides, no rounds, or a negative warm-up.
    """
    if not cells:
        raise BenchError("there is nothing to measure: no combination of nodes and ranks fits")
    if any(len(sides(cell)) < 2 for cell in cells):
        raise BenchError("there is nothing to compare with: one side alone was asked for")
    if rounds < 1 or warmup < 0:
        raise BenchError(
            f"{rounds} rounds after {warmup} of warm-up cannot be run", hint="give at least 1 round"
        )
    # Each cell and round has draws of its own, so that more rounds leave the first ones as they were.
    orders = [
        _balanced(sides(cell), rounds, random.Random(f"{seed} cell {at}")) for at, cell in enumerate(cells)
    ]
    turns: list[Turn[Cell, AnySide]] = []
    for number in range(-warmup, rounds):
        draw = random.Random(f"{seed} round {number}")
        shuffled = list(range(len(cells)))
        draw.shuffle(shuffled)
        for index in shuffled:
            cell = cells[index]
            those = sides(cell)
            order = orders[index][number] if number >= 0 else draw.sample(those, len(those))
            turns.extend(Turn(number, cell, side) for side in order)
    return tuple(turns)


def _balanced(sides: Sequence[AnySide], rounds: int, draw: random.Random) -> list[tuple[AnySide, ...]]:
    """Orders of the sides, in each of which a side has been at every place as often as at any other, +- 1.

    As many rounds as there are sides form a Latin square: a random order and all its rotations.  Each square
    has an order of its own, so that no side always follows the same other one.
    """
    orders: list[tuple[AnySide, ...]] = []
    while len(orders) < rounds:
        order = draw.sample(sides, len(sides))
        square = [tuple(order[at:] + order[:at]) for at in range(len(order))]
        draw.shuffle(square)
        orders += square
    return orders[:rounds]
