"""The order of the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from benchmarks.errors import BenchError
from benchmarks.schedule import make_schedule


def three(_cell: str) -> Sequence[str]:
    return ("bare", "one", "two")


def test_schedule_is_balanced_paired_and_repeatable() -> None:
    turns = make_schedule(["a", "b"], three, rounds=9, warmup=1, seed=5)
    assert turns == make_schedule(["a", "b"], three, rounds=9, warmup=1, seed=5)
    assert turns != make_schedule(["a", "b"], three, rounds=9, warmup=1, seed=6)
    assert len(turns) == 10 * 2 * 3
    groups = [turns[at : at + 3] for at in range(0, len(turns), 3)]
    assert all(len({(turn.round, turn.cell) for turn in group}) == 1 for group in groups)
    assert all({turn.side for turn in group} == {*three("")} for group in groups)
    places = Counter(
        (turn.cell, turn.side, place)
        for group in groups
        for place, turn in enumerate(group)
        if turn.round >= 0
    )
    assert set(places.values()) == {3}
    # No side always follows the same other one.
    follows = {(group[at].side, group[at + 1].side) for group in groups for at in range(2)}
    assert len(follows) == 6


def test_more_rounds_go_on_where_fewer_ended() -> None:
    few, many = (make_schedule(["a", "b"], three, rounds=rounds, warmup=1, seed=5) for rounds in (7, 15))
    assert many[: len(few)] == few


def test_schedule_of_nothing() -> None:
    with pytest.raises(BenchError, match="there is nothing to measure"):
        make_schedule([], three, rounds=1, warmup=0, seed=1)
    with pytest.raises(BenchError, match="0 rounds after 1 of warm-up cannot be run"):
        make_schedule(["a"], three, rounds=0, warmup=1, seed=1)
    with pytest.raises(BenchError, match="there is nothing to compare with"):
        make_schedule(["a"], lambda _: ["bare"], rounds=1, warmup=0, seed=1)
