"""The statistics on synthetic data: intervals hold what they promise, and chance is held to its share."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.chance import correct, rank_sum, sign_rank
from benchmarks.stats import (
    ALPHA,
    MIN_ROUNDS,
    Better,
    Comparison,
    Estimate,
    Outcome,
    compare,
    compare_apart,
    judge,
    rounds_needed,
)

RATIO = 1.03
TRIALS = 2000
positive = st.floats(min_value=1e-3, max_value=1e6)
chances = st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=40)


def draw_round(draw: random.Random) -> tuple[float, float]:
    """A round as on a shared machine: a bit in common, own noise, and now and then somebody else's work."""
    common = draw.gauss(0, 0.02)
    own = [draw.gauss(0, 0.05) + (draw.expovariate(2) if draw.random() < 0.1 else 0) for _ in range(2)]
    return math.exp(common + own[0]), RATIO * math.exp(common + own[1])


@pytest.mark.parametrize("rounds", [6, 8, 10, 15, 25, 30])
def test_an_interval_holds_the_ratio_as_often_as_it_says(rounds: int) -> None:
    draw = random.Random(1)
    held = 0
    for trial in range(TRIALS):
        bare, container = zip(*(draw_round(draw) for _ in range(rounds)), strict=True)
        ratio = compare(bare, container, seed=trial % 5, replicates=300).ratio
        held += ratio.low <= RATIO <= ratio.high
    assert 0.93 <= held / TRIALS <= 0.97


@pytest.mark.parametrize("rounds", [15, 25])
def test_an_interval_of_two_sets_apart_holds_the_ratio(rounds: int) -> None:
    draw = random.Random(2)
    held = 0
    for trial in range(TRIALS // 2):
        before = [math.exp(draw.gauss(0, 0.05)) for _ in range(rounds)]
        after = [RATIO * math.exp(draw.gauss(0, 0.05)) for _ in range(rounds)]
        ratio = compare_apart(before, after, seed=trial, replicates=300).ratio
        held += ratio.low <= RATIO <= ratio.high
    assert 0.93 <= held / (TRIALS // 2) <= 0.97


def test_of_many_metrics_without_a_difference_few_are_called_different() -> None:
    """In 200 measurements of 40 metrics that are all the same, one in twenty may have a false verdict."""
    draw = random.Random(3)
    measurements = 200
    false = 0
    for _ in range(measurements):
        rows = [
            list(zip(*((a, b / RATIO) for a, b in (draw_round(draw) for _ in range(15))), strict=True))
            for _ in range(40)
        ]
        found = [compare(*row, seed=1, replicates=100) for row in rows]
        corrected = correct([sign_rank(*row) for row in rows])
        verdicts = [
            judge(one, Better.LOWER, chance=chance, metrics=40)
            for one, chance in zip(found, corrected, strict=True)
        ]
        false += any(verdict.outcome in (Outcome.SLOWER, Outcome.FASTER) for verdict in verdicts)
    assert false / measurements <= ALPHA


@given(st.lists(st.sampled_from([0.5, 0.9, 1.1, 1.5, 2.0, 3.0, 4.0]), min_size=1, max_size=9))
def test_the_exact_test_is_the_count_of_all_signs(ratios: list[float]) -> None:
    """Against the definition: of all ways to give signs, the share whose rank sum is as far out."""
    sizes = [abs(math.log(ratio)) for ratio in ratios]
    ordered = sorted(sizes)
    ranks = [(2 * ordered.index(size) + ordered.count(size) + 1) / 2 for size in sizes]
    middle = sum(ranks) / 2
    seen = abs(sum(rank for rank, ratio in zip(ranks, ratios, strict=True) if ratio > 1) - middle)
    sums = [
        sum(rank for rank, up in zip(ranks, signs, strict=True) if up)
        for signs in itertools.product((True, False), repeat=len(ranks))
    ]
    share = sum(abs(one - middle) >= seen - 1e-9 for one in sums) / len(sums)
    assert math.isclose(sign_rank([1.0] * len(ratios), ratios), share, abs_tol=1e-12)


@given(st.lists(st.tuples(positive, positive), min_size=1, max_size=60))
@example([(1.0, 2.0), (4.0, 93.0), (93.0, 4.0)])
def test_a_chance_is_one_and_the_same_from_both_sides(pairs: list[tuple[float, float]]) -> None:
    bare, container = zip(*pairs, strict=True)
    chance = sign_rank(bare, container)
    assert 0 < chance <= 1
    assert math.isclose(chance, sign_rank(container, bare), rel_tol=1e-9)


few = st.lists(st.integers(1, 5).map(float), min_size=1, max_size=6)


@given(few, few)
def test_the_test_of_two_sets_is_the_count_of_all_choices(first: list[float], second: list[float]) -> None:
    """Against the definition: of all ways to choose the second set, the share whose ranks sum up as high."""
    both = [*first, *second]
    ordered = sorted(both)
    ranks = [2 * ordered.index(value) + ordered.count(value) + 1 for value in both]
    seen = sum(ranks[len(first) :])
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(second))]
    share = sum(one >= seen for one in sums) / len(sums)
    assert math.isclose(rank_sum(first, second), share, abs_tol=1e-12)


@pytest.mark.parametrize("size", [8, 9, 15])
def test_two_sets_that_are_alike_differ_by_chance_in_their_share(size: int) -> None:
    draw = random.Random(size)

    def sample() -> list[float]:
        return [draw.lognormvariate(0, 0.1) for _ in range(size)]

    found = sum(rank_sum(sample(), sample()) <= ALPHA for _ in range(TRIALS)) / TRIALS
    assert 0.035 <= found <= 0.06


@given(chances)
def test_a_correction_never_helps_and_keeps_the_order(values: list[float]) -> None:
    corrected = correct(values)
    assert all(value <= fixed <= 1 for value, fixed in zip(values, corrected, strict=True))
    assert all(
        (one <= other) <= (corrected[at] <= corrected[to])
        for (at, one), (to, other) in itertools.permutations(enumerate(values), 2)
    )
    assert math.isclose(max(corrected), max(values))


@given(
    st.floats(0.5, 2.0),
    st.floats(0.0005, 0.5),
    st.floats(0.0005, 0.5),
    st.integers(1, 50),
    st.integers(1, 500),
)
def test_more_rounds_are_asked_for_where_they_help(
    value: float, below: float, above: float, rounds: int, metrics: int
) -> None:
    ratio = Estimate(value, value - below, value + above)
    found = Comparison(1.0, value, ratio, ratio, rounds)
    more = rounds_needed(found, metrics=metrics)
    assert more >= 1
    assert rounds + more >= MIN_ROUNDS
    wider = Comparison(1.0, value, Estimate(value, value - 2 * below, value + 2 * above), ratio, rounds)
    assert rounds_needed(wider, metrics=metrics) >= more
