"""The table of ``bareboat bench run``, for a terminal.  Pure: it makes it, and prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmarks.cases import CONTAINER
from benchmarks.report import STYLES, format_comparison, format_estimate, format_value
from benchmarks.results import ADDED_TIMES, Derived, Results, Row
from benchmarks.shown import printable_all
from benchmarks.stats import median

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = frozenset({8, 1024, 65536, 1 << 20})
"""Message sizes (bytes) that are shown of a curve that has them; all are in the files."""

_NARROW = 3
"""Digits of added times, which stand beside each other."""

_VERDICT = len("unresolved: needs 100")
"""Columns that a verdict has at least."""


def render_run(results: Results) -> Iterator[RenderableType]:
    """The table by suites, then what each side used, and what went wrong or is to be known."""
    from rich.text import Text

    results = printable_all(results)
    done = sorted({len(row.bare) for row in results.rows}) or [0]
    rounds = f"{done[0]} to {done[-1]}" if done[0] != done[-1] else str(done[0])
    yield Text(f"bare against container, medians of {rounds} rounds, ratios with 95 % intervals", "italic")
    for suite in dict.fromkeys(row.suite for row in results.rows):
        yield _table(suite, shown_rows([row for row in results.rows if row.suite == suite]))
    if results.derived:
        yield _derived(results.derived)
    hidden = len(results.rows) - len(shown_rows(results.rows))
    if hidden:
        yield Text(f"{hidden} more rows, of other message sizes, are in results.json", style="dim")
    for command in results.commands:
        version = f" (version {command.version})" if command.version else ""
        yield Text(f"{command.side}: {command.command}{version}")
    for line in _facts(results):
        yield Text(line)
    for note in results.notes:
        yield Text(f"note: {note}")
    for failure in results.failures:
        yield Text(f"failed: {failure.metric}: {failure.text}", style="red")
        if failure.hint:
            yield Text(f"  {failure.hint}")
    if results.stopped:
        yield Text(f"ended early: {results.stopped}", style="yellow")


def _table(suite: str, rows: Sequence[Row]) -> RenderableType:
    """The rows of a suite; where there is little room, long metrics and verdicts are folded at words."""
    from rich.table import Table
    from rich.text import Text

    added = ("added",) if suite in ADDED_TIMES else ()
    table = Table(title=suite or None, title_justify="left")
    table.add_column("metric")
    for name in ("bare", "container", "ratio", *added):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=_VERDICT)
    for row in rows:
        cells = _cells(row)[: 4 + len(added)]
        table.add_row(*cells, Text(str(row.verdict), style=STYLES[row.verdict.outcome]))
    return table


def shown_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Those without sizes, and of each curve the usual sizes (or its ends, where it has none of them)."""
    curves: dict[tuple[str, str, str, int, int, str], list[Row]] = {}
    for row in rows:
        key = (row.suite, row.case, row.figure, row.nodes, row.ranks, row.side)
        curves.setdefault(key, []).append(row)
    return tuple(row for curve in curves.values() for row in _shown(curve))


def _shown(curve: Sequence[Row]) -> Iterable[Row]:
    usual = [row for row in curve if row.message_bytes is None or row.message_bytes in SHOWN]
    return usual or ([curve[0], curve[-1]] if len(curve) > 1 else curve)


def _derived(found: Sequence[Derived]) -> RenderableType:
    """A row for each side."""
    from rich.table import Table

    names = list(dict.fromkeys(one.name for one in found))
    table = Table(title="what follows from these, with 95 % intervals", title_justify="left")
    table.add_column("side", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    shown = {
        (one.side, one.name): f"{format_estimate(one.estimate, signed=True, digits=_NARROW)} {one.unit}"
        for one in found
    }
    for side in dict.fromkeys(one.side for one in found):
        table.add_row(side, *(shown.get((side, name), "") for name in names))
    return table


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    """Metric, medians, ratio, and what is added, where the suite is read by that."""
    metric = row.metric if row.side == CONTAINER else f"{row.metric}: {row.side}"
    bare, other = (f"{format_value(median(values))} {row.unit}" for values in (row.bare, row.container))
    ratio, added = format_comparison(row.comparison, _NARROW)
    return metric, bare, other, ratio, f"{added} {row.unit}" if added and row.suite in ADDED_TIMES else ""


def _facts(results: Results) -> Iterator[str]:
    for facts in results.sides:
        digest = f" ({facts.library_digest[:12]})" if facts.library_digest != "unknown" else ""
        yield f"{facts.place}, {facts.side}: {facts.library}{digest}; {facts.transport}"
    setting = results.setting
    for node in setting.machine:
        parts = [
            node.model,
            f"{node.processors} processors for itself" if node.processors else "",
            f"kernel {node.kernel}" if node.kernel else "",
            f"governor {node.governor}" if node.governor else "governor not known",
            f"{node.megahertz} MHz" if node.megahertz else "",
            f"load {node.load} before" if node.load else "",
            *(f"{side}: bound to {processors}" for side, processors in node.binding),
        ]
        yield f"{node.host}: {', '.join(part for part in parts if part)}"
    yield "; ".join(
        (
            f"image {setting.image}",
            f"job {setting.job_id}",
            f"seed {setting.seed}",
            *(f"{name} {value}" for name, value in setting.versions),
        )
    )
