"""Statistics: known answers, verdicts, and whether the intervals hold what they promise."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benchmarks.errors import BenchError
from benchmarks.stats import (
    Better,
    Comparison,
    Estimate,
    Outcome,
    Point,
    compare,
    fit_added,
    format_percent,
    judge,
    median,
    quantile,
)


def make(ratio: Estimate, rounds: int = 15) -> Comparison:
    return Comparison(bare=1.0, container=ratio.value, ratio=ratio, added=Estimate(0, 0, 0), rounds=rounds)


def test_median_and_quantile() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5
    assert quantile([0.0, 10.0, 20.0], 0.25) == 5.0
    assert quantile([7.0], 0.9) == 7.0


def test_no_values() -> None:
    with pytest.raises(BenchError, match="the median of no values was asked for"):
        median([])
    with pytest.raises(BenchError, match="a quantile of no values was asked for"):
        quantile([], 0.5)


def test_compare_gives_medians_and_the_same_interval_for_the_same_seed() -> None:
    bare, container = (10.0, 11.0, 9.0, 10.0, 10.5, 9.5), (12.0, 13.0, 11.0, 12.0, 12.5, 11.5)
    found = compare(bare, container, seed=3)
    assert (found.bare, found.container, found.rounds) == (10.0, 12.0, 6)
    assert found.ratio.value == pytest.approx(1.2)
    assert found.added.value == pytest.approx(2.0)
    assert found.added.low <= 2.0 <= found.added.high
    assert found == compare(bare, container, seed=3)


def test_compare_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(BenchError, match="rounds are not pairs: 2 bare and 1 container values"):
        compare([1.0, 2.0], [1.0], seed=1)
    with pytest.raises(BenchError, match=r"a measured value is 0\.0: only values above 0"):
        compare([1.0, 0.0], [1.0, 1.0], seed=1)


@pytest.mark.parametrize(
    ("low", "value", "high", "better", "expected"),
    [
        (0.995, 1.0, 1.005, Better.LOWER, "same"),
        (1.001, 1.004, 1.008, Better.LOWER, "same"),  # surely slower, and surely within the margin
        (1.002, 1.034, 1.06, Better.LOWER, "slower by 3.4 %"),
        (1.002, 1.034, 1.06, Better.HIGHER, "faster by 3.4 %"),
        (0.4, 0.5, 0.6, Better.LOWER, "faster by 50 %"),
        (0.4, 0.5, 0.6, Better.HIGHER, "slower by 50 %"),
        (0.98, 1.01, 1.04, Better.LOWER, "unresolved: needs 120 more rounds"),
        (0.995, 1.01, 1.02, Better.LOWER, "unresolved: needs 19 more rounds"),
    ],
)
def test_judge(low: float, value: float, high: float, better: Better, expected: str) -> None:
    assert str(judge(make(Estimate(value, low, high)), better)) == expected


def test_judge_says_nothing_with_too_few_rounds() -> None:
    verdict = judge(make(Estimate(2.0, 1.9, 2.1), rounds=5), Better.LOWER)
    assert verdict.outcome is Outcome.UNRESOLVED
    assert str(verdict) == "unresolved: needs 1 more round"


def test_rounds_are_asked_for_where_the_correction_and_not_the_interval_fails() -> None:
    """z of one clear row among 100 is 3.48, z of 0.2 is 1.28: (3.48 / 1.28)**2 times the rounds."""
    found = make(Estimate(1.05, 1.005, 1.09))
    verdict = judge(found, Better.LOWER, chance=1.0, alone=0.2, metrics=100)
    assert str(verdict) == "unresolved: needs 96 more rounds"
    assert str(judge(found, Better.LOWER, chance=0.04, alone=0.01, metrics=100)) == "slower by 5.0 %"
    hopeless = judge(found, Better.LOWER, chance=1.0, alone=1.0, metrics=100)
    assert str(hopeless) == "unresolved: needs more than 1000 more rounds"
    # The interval of one that is nearly the same is within the margin first.
    near = make(Estimate(1.004, 1.001, 1.011))
    assert str(judge(near, Better.LOWER, chance=1.0, alone=0.2, metrics=100)) == (
        "unresolved: needs 6 more rounds"
    )


def test_percentages() -> None:
    assert [format_percent(value) for value in (0.344, 3.44, 34.4, 344.0)] == ["0.34", "3.4", "34", "344"]


def test_line_through_exact_points() -> None:
    points = [Point(x, (50.0,) * 6, (50.0 + 5 + 0.5 * x,) * 6) for x in (1.0, 4.0, 16.0)]
    line = fit_added(points, seed=1)
    assert line.start.value == pytest.approx(5.0)
    assert line.slope.value == pytest.approx(0.5)


def test_line_is_not_pulled_by_a_cell_that_scatters() -> None:
    draw = random.Random(4)
    quiet = [
        Point(x, (50.0,) * 20, tuple(55 + 0.5 * x + draw.gauss(0, 0.1) for _ in range(20))) for x in (1, 4)
    ]
    noisy = Point(16, (50.0,) * 20, tuple(63 + draw.gauss(4, 30) for _ in range(20)))
    line = fit_added([*quiet, noisy], seed=1)
    assert line.start.value == pytest.approx(5.0, abs=0.3)


def test_line_needs_two_places_and_equal_rounds() -> None:
    one = Point(1.0, (1.0,) * 6, (2.0,) * 6)
    with pytest.raises(BenchError, match="at two different numbers of ranks"):
        fit_added([one, one], seed=1)
    with pytest.raises(BenchError, match="the same rounds at each of its points"):
        fit_added([one, Point(2.0, (1.0,) * 5, (2.0,) * 5)], seed=1)


def lognormal(draw: random.Random) -> float:
    return draw.lognormvariate(0, 0.05)


def with_tail(draw: random.Random) -> float:
    """Most starts alike, every tenth held up: what launch times look like."""
    return draw.gauss(1, 0.03) + (0.5 * draw.random() if draw.random() < 0.1 else 0)


@pytest.mark.parametrize(("noise", "rounds"), [(lognormal, 10), (lognormal, 15), (with_tail, 15)])
def test_intervals_cover_the_true_ratio_and_the_added_time(
    noise: Callable[[random.Random], float], rounds: int
) -> None:
    """Of many data sets with a known ratio of 1.1, 95 % of the intervals hold it (93 to 97)."""
    draw = random.Random(7)
    sets, ratio_held, added_held = 1000, 0, 0
    for seed in range(sets):
        bare = [100 * noise(draw) for _ in range(rounds)]
        container = [110 * noise(draw) for _ in range(rounds)]
        found = compare(bare, container, seed=seed, replicates=200)
        ratio_held += found.ratio.low <= 1.1 <= found.ratio.high
        added_held += found.added.low <= 10 <= found.added.high
    assert 0.93 <= ratio_held / sets <= 0.97
    assert 0.93 <= added_held / sets <= 0.97


def test_intervals_of_the_line_cover_its_start_and_slope() -> None:
    draw = random.Random(7)
    sets, start_held, slope_held = 500, 0, 0
    for seed in range(sets):
        points = []
        for x in (1, 4, 16):
            bare = tuple((50 + 10 * x) * lognormal(draw) for _ in range(15))
            container = tuple((55 + 10.5 * x) * lognormal(draw) for _ in range(15))
            points.append(Point(x, bare, container))
        line = fit_added(points, seed=seed, replicates=200)
        start_held += line.start.low <= 5 <= line.start.high
        slope_held += line.slope.low <= 0.5 <= line.slope.high
    assert 0.93 <= start_held / sets <= 0.97
    assert 0.93 <= slope_held / sets <= 0.97


def test_noise_that_both_sides_share_does_not_break_the_promise() -> None:
    """Then the interval is wider than it needs to be, never too narrow."""
    draw = random.Random(7)
    sets, held = 500, 0
    for seed in range(sets):
        common = [lognormal(draw) for _ in range(12)]
        bare = [100 * shared * lognormal(draw) for shared in common]
        container = [110 * shared * lognormal(draw) for shared in common]
        found = compare(bare, container, seed=seed, replicates=200)
        held += found.ratio.low <= 1.1 <= found.ratio.high
    assert held / sets >= 0.93


def test_one_round_lacks_five() -> None:
    verdict = judge(compare((1.0,), (2.0,), seed=1), Better.LOWER, chance=1.0, alone=1.0)
    assert str(verdict) == "unresolved: needs 5 more rounds"
