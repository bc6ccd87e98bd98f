"""The order of the runs, and what becomes of a side that fails or a measurement that is stopped."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from benchmarks.errors import BenchError
from benchmarks.progress import PlainLines, Silent
from benchmarks.results import Failure
from benchmarks.rounds import measure
from benchmarks.runner import stop_on_signals
from benchmarks.schedule import Turn, make_schedule

SIDES = ("bare", "one", "two")


def test_schedule_is_balanced_paired_and_repeatable() -> None:
    turns = make_schedule(["a", "b"], SIDES, rounds=9, warmup=1, seed=5)
    assert turns == make_schedule(["a", "b"], SIDES, rounds=9, warmup=1, seed=5)
    assert turns != make_schedule(["a", "b"], SIDES, rounds=9, warmup=1, seed=6)
    assert len(turns) == 10 * 2 * 3
    groups = [turns[at : at + 3] for at in range(0, len(turns), 3)]
    assert all(len({(turn.round, turn.cell) for turn in group}) == 1 for group in groups)
    assert all({turn.side for turn in group} == set(SIDES) for group in groups)
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
    few, many = (make_schedule(["a", "b"], SIDES, rounds=rounds, warmup=1, seed=5) for rounds in (7, 15))
    assert many[: len(few)] == few


def test_schedule_of_nothing() -> None:
    with pytest.raises(BenchError, match="there is nothing to measure"):
        make_schedule([], SIDES, rounds=1, warmup=0, seed=1)
    with pytest.raises(BenchError, match="0 rounds after 1 of warm-up cannot be run"):
        make_schedule(["a"], SIDES, rounds=0, warmup=1, seed=1)
    with pytest.raises(BenchError, match="there is nothing to compare with"):
        make_schedule(["a"], ["bare"], rounds=1, warmup=0, seed=1)


def test_measure_drops_warmup_and_pairs_the_sides() -> None:
    turns = make_schedule(["a"], SIDES, rounds=3, warmup=2, seed=1)
    calls: list[str] = []

    def run(cell: str, side: str) -> int:
        calls.append(side)
        return calls.count(side) * {"bare": 1, "one": 10, "two": 100}[side]

    measured = measure(turns, run, "bare", Silent())
    assert measured.pairs == {
        ("a", "one"): ((3, 30), (4, 40), (5, 50)),
        ("a", "two"): ((3, 300), (4, 400), (5, 500)),
    }
    assert (measured.failures, measured.stopped) == ((), "")


def test_a_failing_side_keeps_its_pairs_and_leaves_the_others_alone() -> None:
    turns = [Turn(n, cell, side) for n in range(3) for cell in "ab" for side in SIDES]
    runs: Counter[tuple[str, str]] = Counter()
    said: list[str] = []

    def run(cell: str, side: str) -> int:
        runs[cell, side] += 1
        if (cell, side, runs[cell, side]) == ("b", "one", 2):
            raise BenchError("b broke", hint="mend it")
        return 1

    measured = measure(turns, run, "bare", PlainLines(said.append, interval=3600))
    pairs = {key: len(found) for key, found in measured.pairs.items()}
    assert pairs == {("a", "one"): 3, ("a", "two"): 3, ("b", "one"): 1, ("b", "two"): 3}
    assert measured.failures == (Failure("b, one", "b broke", "mend it"),)
    assert (runs["b", "one"], runs["b", "bare"]) == (2, 3)
    assert said == ["b, one is given up: b broke"]


@pytest.mark.parametrize(("broken", "ran"), [({"bare"}, 2), ({"one", "two"}, 2)])
def test_a_cell_ends_when_nothing_is_left_to_compare(broken: set[str], ran: int) -> None:
    turns = [Turn(n, "a", side) for n in range(9) for side in SIDES]
    runs: Counter[str] = Counter()

    def run(cell: str, side: str) -> int:
        runs[side] += 1
        if side in broken and runs[side] == 2:
            raise BenchError("broke")
        return 1

    measured = measure(turns, run, "bare", Silent())
    assert {failure.metric for failure in measured.failures} == {f"a, {side}" for side in broken}
    assert {key: len(found) for key, found in measured.pairs.items()} == {("a", "one"): 1, ("a", "two"): 1}
    assert max(runs.values()) == ran


def test_stopping_keeps_complete_pairs() -> None:
    turns = [Turn(n, "a", side) for n in range(5) for side in SIDES]
    count = 0

    def run(cell: str, side: str) -> int:
        nonlocal count
        count += 1
        if count == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return count

    with stop_on_signals() as stop:
        measured = measure(turns, run, "bare", Silent())
        os.kill(os.getpid(), signal.SIGINT)  # a second one while cleaning up changes nothing
    assert measured.pairs == {("a", "one"): ((1, 2), (4, 5)), ("a", "two"): ((1, 3),)}
    assert measured.stopped == "stopped by SIGTERM"
    assert stop.number == signal.SIGTERM
