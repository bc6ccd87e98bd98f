"""Statistics of paired rounds: medians, bootstrap intervals, a line through added times, verdicts.  Pure.

The method is the percentile bootstrap (B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 13) over whole rounds: a round holds one run of each side of each metric, close together in time, so
drawing rounds keeps what both sides had in common.  Medians, because launch times on a machine with other
work on it have long tails; no outlier is removed.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from statistics import NormalDist

from benchmarks.errors import BenchError

CONFIDENCE = 0.95
REPLICATES = 2000
MARGIN = 0.01
"""Two sides whose ratio lies within 1 +- this are the same: the project's own budget."""

ALPHA = 1 - CONFIDENCE
"""Of all rows that are called slower or faster, at most this share is so by chance, on average."""

_MANY = 1000

MIN_ROUNDS = 6
"""Below six pairs even a clean separation happens by chance in 2 * 0.5**5 = 6 % of cases (sign test)."""


class Better(StrEnum):
    """Which direction of a metric is good."""

    LOWER = "lower"
    HIGHER = "higher"


class Outcome(StrEnum):
    """What a metric's comparison comes to."""

    SAME = "same"
    SLOWER = "slower"
    FASTER = "faster"
    UNRESOLVED = "unresolved"
    NOT_COMPARED = "not-compared"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Container against bare: medians, their ratio (container / bare) and difference (container - bare)."""

    bare: float
    container: float
    ratio: Estimate
    added: Estimate
    rounds: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and by how many per cent of the bare value (0 unless slower or faster)."""

    outcome: Outcome
    percent: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.outcome in (Outcome.SLOWER, Outcome.FASTER):
            return f"{self.outcome} by {format_percent(self.percent)} %"
        if self.outcome is Outcome.NOT_COMPARED:
            return f"not compared: {self.reason}"
        return f"{self.outcome}: {self.reason}" if self.reason else str(self.outcome)


@dataclass(frozen=True, slots=True)
class Line:
    """added(x) = start + slope * x, in the unit of the added times."""

    start: Estimate
    slope: Estimate


@dataclass(frozen=True, slots=True)
class Point:
    """Paired samples at one place x of a line, one of each side a round."""

    x: float
    bare: tuple[float, ...]
    container: tuple[float, ...]


def format_percent(value: float) -> str:
    """Write a percentage with as many digits as it deserves: 0.34, 3.4, 34, 340."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones.

    Raises BenchError for no values.
    """
    if not values:
        raise BenchError("the median of no values was asked for")
    return _sorted_median(sorted(values))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate the quantile ``share`` (0 to 1) of ascending values (Hyndman and Fan 1996, type 7)."""
    if not ordered:
        raise BenchError("a quantile of no values was asked for")
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def compare(
    bare: Sequence[float], container: Sequence[float], *, seed: int, replicates: int = REPLICATES
) -> Comparison:
    """Compare paired rounds.

    ``bare[i]`` and ``container[i]`` are of the same round; same unit, all above 0.  The same seed gives the
    same intervals.  Raises BenchError when they are not pairs, or a value is not above 0 (a ratio has no
    meaning then).
    """
    require_pairs(bare, container)
    least = min(*bare, *container)
    if least <= 0:
        raise BenchError(f"a measured value is {least}: only values above 0 can be compared")
    ratios: list[float] = []
    differences: list[float] = []
    for drawn in _draws(len(bare), seed, replicates):
        middle_bare = _sorted_median(sorted(drawn(bare)))
        middle_container = _sorted_median(sorted(drawn(container)))
        ratios.append(middle_container / middle_bare)
        differences.append(middle_container - middle_bare)
    middle_bare, middle_container = median(bare), median(container)
    return Comparison(
        bare=middle_bare,
        container=middle_container,
        ratio=_with_interval(middle_container / middle_bare, ratios),
        added=_with_interval(middle_container - middle_bare, differences),
        rounds=len(bare),
    )


def judge(
    comparison: Comparison,
    better: Better,
    *,
    margin: float = MARGIN,
    chance: float = 0.0,
    alone: float = 0.0,
    metrics: int = 1,
) -> Verdict:
    """Say what the interval of the ratio allows to say.

    Within 1 +- margin as a whole: same.  On one side of 1 as a whole: slower or faster, by the ratio's
    distance from 1, unless among so many ``metrics`` that may be ``chance`` (a p-value that is corrected for
    them, see `benchmarks.chance.correct`; ``alone`` is the same without that).  Anything else is unresolved,
    with the rounds that it lacks.
    """
    # A p-value of so few rounds is large by itself, and says nothing of how many there have to be.
    lacking = alone if chance > ALPHA and comparison.rounds >= MIN_ROUNDS else 0.0
    needed = rounds_needed(comparison, margin=margin, chance=lacking, metrics=metrics)
    needs = Verdict(Outcome.UNRESOLVED, reason=_say_needed(needed))
    if comparison.rounds < MIN_ROUNDS:
        return needs
    ratio = comparison.ratio
    if ratio.low >= 1 - margin and ratio.high <= 1 + margin:
        return Verdict(Outcome.SAME)
    if (ratio.low > 1 or ratio.high < 1) and chance <= ALPHA:
        worse = (ratio.value > 1) == (better is Better.LOWER)
        return Verdict(Outcome.SLOWER if worse else Outcome.FASTER, percent=abs(ratio.value - 1) * 100)
    return needs


def rounds_needed(
    comparison: Comparison, *, margin: float = MARGIN, chance: float = 0.0, metrics: int = 1
) -> int:
    """How many more rounds it takes, about, until a difference of ``margin`` is seen, or that there is none.

    An interval narrows with the root of the rounds; it has to become so narrow that, about the ratio as it is
    now, it lies within 1 +- margin or on one side of 1, whichever comes first.  For the latter the row's own
    p-value has to pass, too: where ``chance`` is one that does not, the z-score that belongs to it grows with
    the root of the rounds as well, up to that of one clear row among ``metrics`` (2 * 0.5**rounds is the
    smallest p-value there is).
    """
    ratio = comparison.ratio
    distance = abs(ratio.value - 1)
    width = max(ratio.high - ratio.value, ratio.value - ratio.low)
    within = width / (margin - distance) if distance < margin else math.inf
    apart = max(width / distance if distance else math.inf, _lacking_score(chance, metrics))
    least = math.ceil(math.log2(2 * metrics / ALPHA))
    total = min(
        max(MIN_ROUNDS, _scale_rounds(comparison.rounds, within)),
        max(MIN_ROUNDS, least, _scale_rounds(comparison.rounds, apart)),
    )
    return max(1, total - comparison.rounds)


def compare_apart(
    before: Sequence[float], after: Sequence[float], *, seed: int, replicates: int = REPLICATES
) -> Comparison:
    """Compare two sets that were not measured in turns; each is drawn from by itself.

    ``bare`` of the result is before, ``container`` after.  Raises BenchError as `compare` does.
    """
    if not before or not after:
        raise BenchError("one of two sets to compare is empty")
    if min(*before, *after) <= 0:
        raise BenchError(f"a measured value is {min(*before, *after)}: only values above 0 can be compared")
    draw = random.Random(seed)
    ratios: list[float] = []
    differences: list[float] = []
    for _ in range(replicates):
        middles = [_sorted_median(sorted(draw.choices(side, k=len(side)))) for side in (before, after)]
        ratios.append(middles[1] / middles[0])
        differences.append(middles[1] - middles[0])
    first, second = median(before), median(after)
    return Comparison(
        bare=first,
        container=second,
        ratio=_with_interval(second / first, ratios),
        added=_with_interval(second - first, differences),
        rounds=min(len(before), len(after)),
    )


def fit_added(points: Sequence[Point], *, seed: int, replicates: int = REPLICATES) -> Line:
    """Lay a line through the added times (median of container - median of bare) over x.

    Weighted least squares; the weights are the inverse bootstrap variances of the points, so that a cell of
    many ranks, which scatters more, does not pull the start of the line.  All points must have the same
    rounds: a replicate draws whole rounds.  Raises BenchError with fewer than two different x, or unequal
    rounds.
    """
    if len({point.x for point in points}) < 2:
        raise BenchError("a line needs added times at two different numbers of ranks")
    if len({len(point.bare) for point in points}) != 1:
        raise BenchError("a line needs the same rounds at each of its points")
    for point in points:
        require_pairs(point.bare, point.container)
    draw = random.Random(seed)
    indices = range(len(points[0].bare))
    drawn_added: list[list[float]] = []
    for _ in range(replicates):
        drawn = draw.choices(indices, k=len(indices))
        drawn_added.append([_added(point, drawn) for point in points])
    xs = [point.x for point in points]
    weights = _weights([[row[k] for row in drawn_added] for k in range(len(points))])
    lines = [_least_squares(xs, row, weights) for row in drawn_added]
    start, slope = _least_squares(xs, [_added(point, indices) for point in points], weights)
    return Line(
        start=_with_interval(start, [line[0] for line in lines]),
        slope=_with_interval(slope, [line[1] for line in lines]),
    )


def _lacking_score(chance: float, metrics: int) -> float:
    """The z-score that one of ``metrics`` rows needs, as a multiple of the one that has this p-value."""
    if chance <= 0:
        return 0.0
    normal = NormalDist()
    seen = -normal.inv_cdf(chance / 2)
    return -normal.inv_cdf(ALPHA / metrics / 2) / seen if seen > 0 else math.inf


def _scale_rounds(rounds: int, times: float) -> int:
    # Of values that differ by orders of magnitude there may be no finite number.
    return math.ceil(rounds * (times if times < _MANY else _MANY) ** 2)


def _say_needed(count: int) -> str:
    if count > _MANY:
        return f"needs more than {_MANY} more rounds"
    return "needs 1 more round" if count == 1 else f"needs {count} more rounds"


@functools.lru_cache(maxsize=8)
def _draws(
    rounds: int, seed: int, replicates: int
) -> tuple[Callable[[Sequence[float]], Sequence[float]], ...]:
    """What takes the drawn rounds out of samples, for each replicate; most rows share them."""
    draw = random.Random(seed)
    drawn = (draw.choices(range(rounds), k=rounds) for _ in range(replicates))
    return tuple(itemgetter(*those) if rounds > 1 else tuple for those in drawn)


def _sorted_median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def require_pairs(bare: Sequence[float], container: Sequence[float]) -> None:
    """Raise BenchError where they are not, or are none."""
    if len(bare) != len(container) or not bare:
        raise BenchError(f"rounds are not pairs: {len(bare)} bare and {len(container)} container values")


def _with_interval(value: float, replicates: list[float]) -> Estimate:
    ordered = sorted(replicates)
    tail = (1 - CONFIDENCE) / 2
    return Estimate(value, quantile(ordered, tail), quantile(ordered, 1 - tail))


def _added(point: Point, rounds: Sequence[int]) -> float:
    container = _sorted_median(sorted([point.container[i] for i in rounds]))
    return container - _sorted_median(sorted([point.bare[i] for i in rounds]))


def _weights(columns: list[list[float]]) -> list[float]:
    variances = []
    for column in columns:
        mean = sum(column) / len(column)
        variances.append(sum((value - mean) ** 2 for value in column) / len(column))
    # A point without scatter (few rounds, or a coarse clock) says nothing about its error: then all weigh
    # the same.
    return [1 / variance for variance in variances] if min(variances) > 0 else [1.0] * len(variances)


def _least_squares(xs: Sequence[float], ys: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, xs, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, xs, ys, strict=True)) / spread
    return mean_y - slope * mean_x, slope
