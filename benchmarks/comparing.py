"""Two results of the same programs, before and after a change: what has become slower.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.cases import CONTAINER
from benchmarks.chance import correct, rank_sum
from benchmarks.errors import BenchError
from benchmarks.report import STYLES, format_comparison, format_estimate, format_value
from benchmarks.results import Results, Row
from benchmarks.shown import printable_all
from benchmarks.stats import ALPHA, MIN_ROUNDS, Better, Comparison, Verdict, compare_apart, judge

if TYPE_CHECKING:
    from rich.console import RenderableType

Key = tuple[str, str, str, str, int, int, int | None, str]
"""Side, suite, case (or metric), figure, nodes, ranks, message size, unit."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of one side, in both results.

    beyond: it got worse by more than the limit, and the whole interval says so.
    """

    metric: str
    side: str
    unit: str
    comparison: Comparison
    verdict: Verdict
    beyond: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """All metrics that both results have, and what a reader is told of the others.

    lost: the names of those that only the first has.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def slower(self) -> tuple[Change, ...]:
        """Those that got worse beyond the limit."""
        return tuple(change for change in self.changes if change.beyond)

    @property
    def open(self) -> tuple[Change, ...]:
        """Those of too few rounds to be judged: whether they got slower, nobody knows."""
        return tuple(change for change in self.changes if change.comparison.rounds < MIN_ROUNDS)


def compare_results(before: Results, after: Results, *, limit: float) -> Changes:
    """Compare each side with itself; limit: a share (0.02: 2 %).

    The two were not measured in turns, so that what differed from day to day is in the ratio as well.
    As with rounds, something is slower or faster only where that is not by chance among so many metrics.
    Raises BenchError when they have no metric in common.
    """
    first, second = _samples(before), _samples(after)
    common = [key for key in first if key in second]
    if not common:
        raise BenchError(
            "the two results have no metric in common",
            hint="measure the same suites on the same numbers of nodes and ranks",
        )
    changes = []
    pairs = [(first[key][1], second[key][1]) for key in common]
    own = [min(1.0, 2 * min(rank_sum(old, new), rank_sum(new, old))) for old, new in pairs]
    chances = correct(own)
    betters = [first[key][0].better for key in common]
    beyond = correct(
        [_chance_beyond(*pair, better, limit) for pair, better in zip(pairs, betters, strict=True)]
    )
    for number, key in enumerate(common):
        row = first[key][0]
        comparison = compare_apart(*pairs[number], seed=before.setting.seed)
        changes.append(
            Change(
                row.metric,
                key[0],
                row.unit,
                comparison,
                judge(
                    comparison,
                    row.better,
                    chance=chances[number],
                    alone=own[number],
                    metrics=len(common),
                ),
                beyond[number] <= ALPHA and _is_beyond(comparison, row.better, limit),
            )
        )
    notes = []
    alone = {"first": _only(first, second), "second": _only(second, first)}
    for name, metrics in alone.items():
        if metrics:
            more = ", ..." if len(metrics) > _NAMED else ""
            notes.append(f"in the {name} result only ({len(metrics)}): {'; '.join(metrics[:_NAMED])}{more}")
    notes += _differences(before, after)
    return Changes(tuple(changes), tuple(notes), alone["first"])


def render_changes(changes: Changes, *, limit: float) -> Iterator[RenderableType]:
    """The table, and under it which metrics are beyond the limit."""
    from rich.table import Table
    from rich.text import Text

    changes = printable_all(changes)
    table = Table(title="second against first, ratios with 95 % intervals", title_justify="left")
    table.add_column("metric", no_wrap=True)
    table.add_column("side")
    for name in ("first", "second", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for change in changes.changes:
        found = change.comparison
        table.add_row(
            change.metric,
            change.side,
            *(f"{format_value(value)} {change.unit}" for value in (found.bare, found.container)),
            format_comparison(found)[0],
            Text(str(change.verdict), style=STYLES[change.verdict.outcome]),
        )
    yield table
    for note in changes.notes:
        yield Text(f"note: {note}")
    for change in changes.slower:
        yield Text(
            f"slower beyond {limit * 100:g} %: {change.metric}, {change.side}: "
            f"ratio {format_estimate(change.comparison.ratio)}",
            style="red",
        )
    if changes.open:
        yield Text(
            f"not judged: {len(changes.open)} of {len(changes.changes)} have fewer than {MIN_ROUNDS} rounds "
            "in one of the results: measure more, by `bareboat bench run --resume DIR --rounds N`",
            style="red",
        )
    if not changes.slower:
        rest = "of the others, nothing" if changes.open else "nothing"
        yield Text(f"{rest} got slower by surely more than {limit * 100:g} %")


def _is_beyond(comparison: Comparison, better: Better, limit: float) -> bool:
    if comparison.rounds < MIN_ROUNDS:
        return False
    ratio = comparison.ratio
    return ratio.low > 1 + limit if better is Better.LOWER else ratio.high < 1 / (1 + limit)


def _chance_beyond(old: Sequence[float], new: Sequence[float], better: Better, limit: float) -> float:
    """The chance of the second being so bad if it were no worse than the limit allows."""
    if better is Better.LOWER:
        return rank_sum([value * (1 + limit) for value in old], new)
    return rank_sum(new, [value / (1 + limit) for value in old])


def _only(ours: Mapping[Key, tuple[Row, object]], theirs: Mapping[Key, object]) -> tuple[str, ...]:
    return tuple(f"{row.metric}, {key[0]}" for key, (row, _) in ours.items() if key not in theirs)


def _samples(results: Results) -> dict[Key, tuple[Row, tuple[float, ...]]]:
    """The samples of every metric, those of bare once: of the side that has the most."""
    found: dict[Key, tuple[Row, tuple[float, ...]]] = {}
    for row in results.rows:
        what = (
            row.suite,
            row.case or row.metric,
            row.figure,
            row.nodes,
            row.ranks,
            row.message_bytes,
            row.unit,
        )
        found[row.side, *what] = row, row.container
        bare: Key = ("bare", *what)
        if bare not in found or len(found[bare][1]) < len(row.bare):
            found[bare] = row, row.bare
    return found


def _differences(before: Results, after: Results) -> Iterable[str]:
    """What else is not the same: the image, the nodes, the libraries."""
    one, two = before.setting, after.setting
    if one.image != two.image:
        yield f"the images differ: {one.image} and {two.image}"
    if one.nodes != two.nodes:
        yield f"the nodes differ: {', '.join(one.nodes)} and {', '.join(two.nodes)}"
    libraries: list[Mapping[tuple[str, str], str]] = [
        {(facts.side, facts.place): facts.library for facts in results.sides} for results in (before, after)
    ]
    for key in sorted(libraries[0].keys() & libraries[1].keys()):
        if libraries[0][key] != libraries[1][key]:
            side = "the container" if key[0] == CONTAINER else key[0]
            yield f"{side}, {key[1]}, used {libraries[0][key]} first and {libraries[1][key]} then"
