"""What must hold for every set of samples, not only for nice ones."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median as reference_median

from bench_cases import bench_kept, read_number
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.analysis import analyse
from benchmarks.cases import BARE, Case, Command
from benchmarks.engine import Pace, run_cases
from benchmarks.errors import BenchError
from benchmarks.progress import Silent
from benchmarks.records import Record
from benchmarks.runner import Output
from benchmarks.schedule import make_schedule
from benchmarks.stats import Better, Outcome, Point, compare, fit_added, judge, median, quantile

positive = st.floats(min_value=1e-3, max_value=1e6)
pairs = st.lists(st.tuples(positive, positive), min_size=1, max_size=12)
REPLICATES = 50


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_median_is_the_standard_librarys(values: list[float]) -> None:
    assert median(values) == reference_median(values)


@given(st.lists(positive, min_size=1).map(sorted), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_ordered_and_inside(values: list[float], first: float, second: float) -> None:
    low, high = sorted((first, second))
    below, above = quantile(values, low), quantile(values, high)
    slack = 1e-9 * values[-1]
    assert values[0] - slack <= below <= above + slack <= values[-1] + 2 * slack


@given(pairs, st.integers())
def test_intervals_lie_within_what_was_measured(samples: list[tuple[float, float]], seed: int) -> None:
    bare, container = [pair[0] for pair in samples], [pair[1] for pair in samples]
    found = compare(bare, container, seed=seed, replicates=REPLICATES)
    slack = 1 + 1e-9
    assert min(container) / max(bare) / slack <= found.ratio.low <= found.ratio.high
    assert found.ratio.high <= max(container) / min(bare) * slack


@given(pairs, st.integers(), st.integers(min_value=-10, max_value=10))
def test_the_unit_does_not_matter(samples: list[tuple[float, float]], seed: int, exponent: int) -> None:
    """A power of two is exact in binary floating point, so that the ratio must not change by a bit."""
    bare, container = [pair[0] for pair in samples], [pair[1] for pair in samples]
    scale = 2.0**exponent
    first = compare(bare, container, seed=seed, replicates=REPLICATES)
    second = compare(
        [scale * x for x in bare], [scale * x for x in container], seed=seed, replicates=REPLICATES
    )
    assert second.ratio == first.ratio
    assert second.added.value == scale * first.added.value


@given(pairs, st.integers())
def test_a_side_against_itself_is_exactly_the_same(samples: list[tuple[float, float]], seed: int) -> None:
    values = [pair[0] for pair in samples]
    found = compare(values, values, seed=seed, replicates=REPLICATES)
    assert (found.ratio.low, found.ratio.value, found.ratio.high) == (1, 1, 1)
    assert judge(found, Better.LOWER).outcome in (Outcome.SAME, Outcome.UNRESOLVED)


@given(pairs, st.integers())
def test_better_decides_only_between_slower_and_faster(samples: list[tuple[float, float]], seed: int) -> None:
    bare, container = [pair[0] for pair in samples], [pair[1] for pair in samples]
    found = compare(bare, container, seed=seed, replicates=REPLICATES)
    lower, higher = judge(found, Better.LOWER), judge(found, Better.HIGHER)
    assert lower.percent == higher.percent
    opposite = {Outcome.SLOWER: Outcome.FASTER, Outcome.FASTER: Outcome.SLOWER}
    assert higher.outcome is opposite.get(lower.outcome, lower.outcome)


@given(
    st.lists(st.integers(1, 64), min_size=2, max_size=4, unique=True),
    st.floats(-10, 100),
    st.floats(-1, 10),
    st.integers(),
)
def test_a_line_without_noise_is_found(xs: list[int], start: float, slope: float, seed: int) -> None:
    points = [Point(x, (1000.0,) * 6, (1000.0 + start + slope * x,) * 6) for x in xs]
    line = fit_added(points, seed=seed, replicates=REPLICATES)
    assert math.isclose(line.start.value, start, abs_tol=1e-6)
    assert math.isclose(line.slope.value, slope, abs_tol=1e-6)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(1, 12), st.integers(0, 3), st.integers())
def test_every_round_has_every_cell_on_every_side(
    cells: int, sides: int, rounds: int, warmup: int, seed: int
) -> None:
    turns = make_schedule(range(cells), lambda _: range(sides), rounds=rounds, warmup=warmup, seed=seed)
    counted = Counter((turn.round, turn.cell, turn.side) for turn in turns)
    assert set(counted.values()) == {1}
    assert len(counted) == (rounds + warmup) * cells * sides
    assert [turn.round for turn in turns] == sorted(turn.round for turn in turns)
    places = Counter((turn.cell, turn.side, at % sides) for at, turn in enumerate(turns) if turn.round >= 0)
    for cell in range(cells):
        found = [places[cell, side, place] for side in range(sides) for place in range(sides)]
        assert max(found) - min(found) <= 1


@given(
    st.integers(1, 3),
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 8))),
    st.integers(),
)
def test_pairs_are_of_one_round_in_which_both_sides_ran_well(
    others: int, broken: set[tuple[int, int]], seed: int
) -> None:
    sides = (BARE, *(f"side {number}" for number in range(1, others + 1)))
    case = Case("osu", "a", 1, 2, {side: Command((side,)) for side in sides}, read_number)
    runs: Counter[str] = Counter()
    kept: list[Record] = []

    def start(_case: Case, side: str) -> Output:
        number = runs[side]
        runs[side] += 1
        if (sides.index(side), number) in broken:
            raise BenchError("broke")
        return Output(str(len(kept) + 1), "", 0.1)

    pace = Pace(9, 0, seed)
    run_cases(
        [case],
        pace,
        (),
        session=0,
        start=start,
        keep=kept.append,
        check=lambda: None,
        progress=Silent(),
    )
    good = {(record.round, record.side): record.figures[0].value for record in kept if not record.error}
    rows = {row.side: (row.bare, row.container) for row in analyse(bench_kept(case), kept).rows}
    for side in sides[1:]:
        both = [number for number in range(9) if {(number, BARE), (number, side)} <= good.keys()]
        pairs = tuple(tuple(good[number, one] for number in both) for one in (BARE, side))
        assert rows.get(side, ((), ())) == pairs
