"""Shows results: a table for people, JSON for programs.  Pure: it makes them, and prints nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchError
from benchmarks.results import Derived, Failure, Results, Row, SideCommand, SideFacts, setting_from
from benchmarks.schedule import Side
from benchmarks.shown import printable_all
from benchmarks.stats import MIN_ROUNDS, Better, Comparison, Estimate, Outcome, Verdict, median
from benchmarks.typed import require_types

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SCHEMA = "bareboat-bench/3"
"""Changes with the shape of the JSON; readers refuse what they do not know."""

_READ = ("bareboat-bench/1", "bareboat-bench/2", SCHEMA)
"""The first had one side beside bare, which it did not name; the second had one suite, and no machine."""

_NARROW = 3
"""Digits of added times beside each other, so that several sides fit."""

STYLES = {
    Outcome.SAME: "green",
    Outcome.FASTER: "green",
    Outcome.SLOWER: "yellow",
    Outcome.UNRESOLVED: "dim",
    Outcome.NOT_COMPARED: "red",
}


def format_value(value: float, digits: int = 4) -> str:
    """So many significant digits, without an exponent."""
    size = abs(value)
    before = 4 if size >= 1000 else 3 if size >= 100 else 2 if size >= 10 else 1
    return f"{value:.{max(0, digits - before)}f}"


def format_estimate(estimate: Estimate, *, signed: bool = False, digits: int = 4) -> str:
    """The value with its interval: ``1.05 [1.03, 1.07]``."""
    value, low, high = (
        format_value(number, digits) for number in (estimate.value, estimate.low, estimate.high)
    )
    sign = "+" if signed and estimate.value > 0 else ""
    return f"{sign}{value} [{low}, {high}]"


def render(results: Results) -> Iterator[RenderableType]:
    """The table, and under it what follows from it, what each side used, and what went wrong."""
    from rich.text import Text

    results = printable_all(results)
    setting = results.setting
    nodes = ", ".join(setting.nodes)
    done = max((len(row.bare) for row in results.rows), default=0)
    if {row.side for row in results.rows} <= {Side.CONTAINER}:
        yield _one_side(results, done)
        for derived in results.derived:
            yield Text(f"{derived.name}: {format_estimate(derived.estimate, signed=True)} {derived.unit}")
    else:
        yield _all_sides(results, done)
    for command in results.commands:
        version = f" (version {command.version})" if command.version else ""
        yield Text(f"{command.side}: {command.command}{version}")
    for facts in results.sides:
        yield Text(f"{facts.place}, {facts.side}: {facts.library}; {facts.transport}")
    yield Text(
        f"image {setting.image}; job {setting.job_id} on {nodes} ({setting.cpus_per_node} processors each); "
        f"seed {setting.seed}",
        style="dim",
    )
    for note in results.notes:
        yield Text(f"note: {note}")
    for failure in results.failures:
        yield Text(f"failed: {failure.metric}: {failure.text}", style="red")
        if failure.hint:
            yield Text(f"  {failure.hint}")
    if results.stopped:
        yield Text(f"{results.stopped}: {done} of {setting.rounds} rounds are measured", style="yellow")


def _one_side(results: Results, done: int) -> Table:
    """A row for each metric, with the ratio and what it means."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"{results.suite}: bare against container, medians of {done} rounds, 95 % intervals",
        title_justify="left",
    )
    table.add_column("metric", no_wrap=True)
    for name in ("bare", "container", "ratio", "added"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in results.rows:
        table.add_row(*_cells(row), Text(str(row.verdict), style=STYLES[row.verdict.outcome]))
    return table


def _all_sides(results: Results, done: int) -> Table:
    """A row for each metric and a column for each side: its median, and below what it adds to bare's."""
    from rich.table import Table

    sides = list(dict.fromkeys(row.side for row in results.rows))
    rows = {(row.metric, row.side): row for row in results.rows}
    table = Table(
        title=f"{results.suite}: medians of {done} rounds in {results.rows[0].unit}, "
        "below them what is added to bare, with 95 % intervals",
        title_justify="left",
    )
    table.add_column("metric", no_wrap=True)
    table.add_column("bare", justify="right", no_wrap=True)
    for side in sides:
        table.add_column(side, justify="right")
    for metric in dict.fromkeys(row.metric for row in results.rows):
        found = [rows.get((metric, side)) for side in sides]
        longest = max((row for row in found if row), key=lambda row: len(row.bare))
        table.add_row(metric, format_value(median(longest.bare)), *map(_cell, found))
    table.add_section()
    derived = {(item.name, item.side): item for item in results.derived}
    for name in dict.fromkeys(item.name for item in results.derived):
        estimates = [derived.get((name, side)) for side in sides]
        table.add_row(
            name,
            "",
            *(_added(item.estimate) if item else "" for item in estimates),
        )
    return table


def _cell(row: Row | None) -> str:
    if row is None:
        return "failed"
    value = format_value(median(row.container))
    if row.comparison is None:
        return f"{value}\nnot compared"
    added = row.comparison.added
    if row.comparison.rounds < MIN_ROUNDS:
        sign = "+" if added.value > 0 else ""
        return f"{value}\n{sign}{format_value(added.value, _NARROW)}, {_rounds(row.comparison.rounds)}"
    return f"{value}\n{_added(added)}"


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _added(estimate: Estimate) -> str:
    return format_estimate(estimate, signed=True, digits=_NARROW)


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    bare = f"{format_value(median(row.bare))} {row.unit}"
    container = f"{format_value(median(row.container))} {row.unit}"
    if row.comparison is None:
        return row.metric, bare, container, "", ""
    ratio, added = row.comparison.ratio, row.comparison.added
    if row.comparison.rounds < MIN_ROUNDS:  # an interval of so few would promise what it cannot hold
        return row.metric, bare, container, format_value(ratio.value), format_value(added.value)
    return row.metric, bare, container, format_estimate(ratio), format_estimate(added, signed=True)


def to_json(results: Results) -> str:
    """All of the results, the samples too."""
    return json.dumps({"schema": SCHEMA, **asdict(results)}, indent=1) + "\n"


def from_json(text: str) -> Results:
    """Read what `to_json` wrote.  Raises BenchError for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"the results are not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schema") not in _READ:
        found = data.get("schema") if isinstance(data, dict) else None
        raise BenchError(
            f"the results have schema {found!r}, only {SCHEMA!r} can be read",
            hint="they are of another version of bareboat, or not of bareboat",
        )
    try:
        results = _results(data)
        require_types(results, Results, "the whole")
        for row in results.rows:
            if (
                len(row.bare) != len(row.container)
                or min(row.bare, default=0) <= 0
                or min(row.container) <= 0
            ):
                raise ValueError(f"the samples of {row.metric} are no pairs of values above 0")
        return results
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BenchError(f"the results are damaged: {type(error).__name__}: {error}") from error


def _results(data: dict[str, Any]) -> Results:
    return Results(
        suite=data["suite"],
        setting=setting_from(data["setting"]),
        rows=tuple(_row(item) for item in data["rows"]),
        derived=tuple(
            Derived(**{**item, "estimate": Estimate(**item["estimate"])}) for item in data["derived"]
        ),
        sides=tuple(SideFacts(**item) for item in data["sides"]),
        commands=tuple(SideCommand(**item) for item in data.get("commands", ())),
        failures=tuple(Failure(**item) for item in data["failures"]),
        notes=tuple(data["notes"]),
        stopped=data["stopped"],
    )


def _row(data: dict[str, Any]) -> Row:
    comparison = data["comparison"]
    if comparison is not None:
        comparison = Comparison(
            **{
                **comparison,
                "ratio": Estimate(**comparison["ratio"]),
                "added": Estimate(**comparison["added"]),
            }
        )
    changed = {
        "better": Better(data["better"]),
        "bare": tuple(data["bare"]),
        "container": tuple(data["container"]),
        "comparison": comparison,
        "verdict": Verdict(**{**data["verdict"], "outcome": Outcome(data["verdict"]["outcome"])}),
    }
    return Row(**{**data, **changed})
