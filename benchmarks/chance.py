"""How likely a difference is by chance: tests by ranks, and their correction for many rows.  Pure."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

from benchmarks.errors import BenchError
from benchmarks.stats import require_pairs

_EXACT = 25
"""Rounds up to which the distribution of the test of pairs is counted out."""
_EXACT_APART = 16


def sign_rank(bare: Sequence[float], container: Sequence[float]) -> float:
    """The chance of differences this far to one side if there were none: Wilcoxon's signed-rank test.

    Two-sided, of the logarithms' differences of each round; exact up to 25 rounds, then by the normal
    approximation (F. Wilcoxon, Individual comparisons by ranking methods, 1945).  Which side of a round ran
    first was drawn, so that without a difference either sign is as likely.
    """
    require_pairs(bare, container)
    # Of logarithms, since that of a quotient is rounded otherwise when the sides are changed.
    logs = ((math.log(a), math.log(b)) for a, b in zip(bare, container, strict=True))
    differences = [b - a for a, b in logs if a != b]
    if not differences:
        return 1.0
    doubled = _doubled_ranks([abs(value) for value in differences])
    positive = sum(rank for rank, value in zip(doubled, differences, strict=True) if value > 0)
    extreme = min(positive, sum(doubled) - positive)
    if len(doubled) > _EXACT:
        middle, spread = sum(doubled) / 2, math.sqrt(sum(rank * rank for rank in doubled)) / 2
        return min(1.0, 2 * NormalDist(middle, spread).cdf(extreme + 1))
    ways = _rank_sums(tuple(sorted(doubled)))
    return min(1.0, 2 * sum(ways[: extreme + 1]) / float(2 ** len(doubled)))


def rank_sum(first: Sequence[float], second: Sequence[float]) -> float:
    """The chance of ``second`` lying so far above ``first`` if it did not: Wilcoxon's rank-sum test.

    One-sided, for sets that are not paired.  Exact up to 16 values in all, ties too, then by the normal
    approximation (H. B. Mann, D. R. Whitney, On a test of whether one of two random variables is
    stochastically larger than the other, 1947).  Raises BenchError where one is empty.
    """
    if not first or not second:
        raise BenchError("one of two sets to compare is empty")
    doubled = _doubled_ranks([*first, *second])
    reached, count, total = sum(doubled[len(first) :]), len(second), len(doubled)
    if total > _EXACT_APART:
        middle = count * sum(doubled) / total
        scatter = sum((rank - sum(doubled) / total) ** 2 for rank in doubled) / (total - 1)
        spread = math.sqrt(len(first) * count * scatter / total)
        return 1.0 if spread == 0 else 1 - NormalDist(middle, spread).cdf(reached - 1)
    sums = Counter({(0, 0): 1})
    for rank in doubled:
        sums.update({(taken + 1, at + rank): ways for (taken, at), ways in sums.items() if taken < count})
    far = sum(ways for (taken, at), ways in sums.items() if taken == count and at >= reached)
    return far / math.comb(total, count)


def correct(chances: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for their number, so that `ALPHA` bounds the share of false ones among those below it.

    Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, 1995.
    """
    order = sorted(range(len(chances)), key=lambda index: chances[index], reverse=True)
    corrected = [1.0] * len(chances)
    least = 1.0
    for place, index in enumerate(order):
        least = min(least, chances[index] * (len(chances) / (len(chances) - place)))
        corrected[index] = least
    return tuple(corrected)


def _doubled_ranks(sizes: Sequence[float]) -> list[int]:
    """Twice the rank of each value (from 1), the mean of their ranks for equal ones."""
    ordered = sorted(sizes)
    first = {size: at for at, size in reversed(list(enumerate(ordered, 1)))}
    counts = Counter(sizes)
    return [2 * first[size] + counts[size] - 1 for size in sizes]


@functools.lru_cache(maxsize=64)
def _rank_sums(doubled: tuple[int, ...]) -> tuple[int, ...]:
    """In how many ways signs can be given so that the positive ranks sum up to the index."""
    ways = [1] + [0] * sum(doubled)
    for rank in doubled:
        for at in range(len(ways) - 1, rank - 1, -1):
            ways[at] += ways[at - rank]
    return tuple(ways)
