"""Decides which plots show a suite's rows, and what stands in each.  Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from benchmarks.cases import BARE
from benchmarks.results import Row
from benchmarks.stats import Better, median

_BARS = 8
"""Groups of bars that fit beside each other with their names."""

_Key = TypeVar("_Key", bound=Hashable)

_What = tuple[str, str]
"""Case and figure of a row."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series: ``y[i]`` at ``x[i]``, between ``low[i]`` and ``high[i]``, all of one length."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot: curves over a common axis, or, with names, bars in groups (``x`` is the group's number then).

    bytes_x: the axis is a message size in bytes, by powers of two; log_y: the other goes by powers of ten;
    level: where a line is drawn through the plot (a ratio's 1).
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    names: tuple[str, ...] = ()
    bytes_x: bool = False
    log_y: bool = False
    level: float | None = None


def plots_of(suite: str, rows: Sequence[Row]) -> Iterator[Drawing]:
    """Choose the plots: over message sizes, over ranks, and bars for what has neither.

    Every row that was measured is in one of them; one without a comparison is not among the ratios.
    """
    by_size = [row for row in rows if row.message_bytes is not None]
    for group in _groups(by_size, lambda row: (row.case or row.metric, row.figure, row.nodes, row.ranks)):
        yield from _over_sizes(group)
    rest = [row for row in rows if row.message_bytes is None]
    bars: list[Row] = []
    names = _names(rest)
    for group in _groups(rest, lambda row: (row.case, row.figure, row.nodes)):
        if suite == "launch" or len({row.ranks for row in group}) > 1:
            yield from _over_ranks(group, names[_what(group[0])] if group[0].case else "")
        else:
            bars += group
    for group in _groups(bars, lambda row: (row.nodes, row.ranks)):
        yield from _beside_bare(group, names)


def spread(samples: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value that the median of what was sampled may have, with 95 % confidence at least.

    Order statistics by the sign test (W. J. Conover, Practical Nonparametric Statistics, 3.2); of fewer than
    six samples, the lowest and the highest: no interval of so few holds 95 %.
    """
    ordered = sorted(samples)
    count = len(ordered)
    below, outside = 0.0, 0
    for rank in range(count // 2):
        below += math.comb(count, rank) / 2**count
        if below > 0.025:
            break
        outside = rank
    return ordered[outside], ordered[count - 1 - outside]


def _groups(rows: Iterable[Row], key: Callable[[Row], _Key]) -> Iterator[tuple[Row, ...]]:
    found: dict[_Key, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    yield from map(tuple, found.values())


def _over_sizes(rows: Sequence[Row]) -> Iterator[Drawing]:
    rows = sorted(rows, key=lambda row: row.message_bytes or 0)
    title = _title(rows[0])
    axis = "message size in bytes"
    values = Drawing(
        title, axis, rows[0].unit, _sides(rows, _size), bytes_x=True, log_y=min(_all_values(rows)) > 0
    )
    yield values
    yield from _ratios(rows, replace(values, title=f"{title}: container / bare", log_y=False), _size)


def _over_ranks(rows: Sequence[Row], name: str) -> Iterator[Drawing]:
    rows = sorted(rows, key=lambda row: row.ranks)
    first = rows[0]
    title = ", ".join(filter(None, (name, _nodes(first.nodes))))
    yield Drawing(title, "ranks", first.unit, _sides(rows, _ranks))
    added = [row for row in rows if row.comparison is not None]
    if added:
        curves = tuple(_added_curve(group) for group in _groups(added, lambda row: row.side))
        yield Drawing(f"{title}: added to bare", "ranks", first.unit, curves, level=0.0)


def _beside_bare(rows: Sequence[Row], names: Mapping[_What, str]) -> Iterator[Drawing]:
    """Bars of each side relative to bare's, since programs of one suite differ by orders of magnitude."""
    compared = [row for row in rows if row.comparison is not None]
    places = list(dict.fromkeys(_what(row) for row in compared))
    for start in range(0, len(places), _BARS):
        shown = places[start : start + _BARS]
        group = [row for row in compared if _what(row) in shown]
        curves = tuple(
            _ratio_curve(side, lambda row, shown=shown: float(shown.index(_what(row))))  # type: ignore[misc]
            for side in _groups(group, lambda row: row.side)
        )
        better = {row.better for row in group}
        way = " (higher is better)" if better == {Better.HIGHER} else ""
        way = " (lower is better)" if better == {Better.LOWER} else way
        title = f"{_shape(rows[0])}: against bare{way}"
        yield Drawing(title, "", "container / bare", curves, tuple(names[what] for what in shown), level=1.0)


def _ratios(rows: Sequence[Row], like: Drawing, place: Callable[[Row], float]) -> Iterator[Drawing]:
    compared = [row for row in rows if row.comparison is not None]
    if compared:
        curves = tuple(_ratio_curve(group, place) for group in _groups(compared, lambda row: row.side))
        yield replace(like, y_label="ratio", curves=curves, level=1.0)


def _sides(rows: Sequence[Row], place: Callable[[Row], float]) -> tuple[Curve, ...]:
    """Bare's curve, and one for each other side."""
    longest: dict[float, Row] = {}
    for row in rows:
        if place(row) not in longest or len(row.bare) > len(longest[place(row)].bare):
            longest[place(row)] = row
    curves = [_values_curve(BARE, [(x, row.bare) for x, row in longest.items()])]
    for group in _groups(rows, lambda row: row.side):
        curves.append(_values_curve(group[0].side, [(place(row), row.container) for row in group]))
    return tuple(curves)


def _values_curve(label: str, points: Sequence[tuple[float, Sequence[float]]]) -> Curve:
    points = sorted((x, samples) for x, samples in points if samples)
    spreads = [spread(samples) for _, samples in points]
    return Curve(
        label,
        tuple(x for x, _ in points),
        tuple(median(samples) for _, samples in points),
        tuple(low for low, _ in spreads),
        tuple(high for _, high in spreads),
    )


def _ratio_curve(rows: Sequence[Row], place: Callable[[Row], float]) -> Curve:
    estimates = [row.comparison.ratio for row in rows if row.comparison is not None]
    return Curve(
        rows[0].side,
        tuple(place(row) for row in rows),
        tuple(estimate.value for estimate in estimates),
        tuple(estimate.low for estimate in estimates),
        tuple(estimate.high for estimate in estimates),
    )


def _added_curve(rows: Sequence[Row]) -> Curve:
    estimates = [row.comparison.added for row in rows if row.comparison is not None]
    return Curve(
        rows[0].side,
        tuple(float(row.ranks) for row in rows),
        tuple(estimate.value for estimate in estimates),
        tuple(estimate.low for estimate in estimates),
        tuple(estimate.high for estimate in estimates),
    )


def _all_values(rows: Iterable[Row]) -> list[float]:
    return [value for row in rows for value in (*row.bare, *row.container)] or [0.0]


def _size(row: Row) -> float:
    return float(row.message_bytes or 0)


def _ranks(row: Row) -> float:
    return float(row.ranks)


def _title(row: Row) -> str:
    figure = f", {row.figure}" if row.figure else ""
    return f"{row.case or row.metric.partition(',')[0]}{figure}, {_shape(row)}"


def _what(row: Row) -> _What:
    return row.case or row.metric, row.figure


def _names(rows: Iterable[Row]) -> dict[_What, str]:
    """What each case is called in plots: with the figure, where it has several."""
    found = dict.fromkeys(map(_what, rows))
    several = Counter(case for case, _ in found)
    return {(case, figure): f"{case}, {figure}" if several[case] > 1 else case for case, figure in found}


def _shape(row: Row) -> str:
    ranks = "1 rank" if row.ranks == 1 else f"{row.ranks} ranks"
    return f"{_nodes(row.nodes)}, {ranks}"


def _nodes(number: int) -> str:
    return "1 node" if number == 1 else f"{number} nodes"
