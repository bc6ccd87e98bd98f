"""The table of ``bareboat bench run``, for a terminal.  Pure: it makes it, and prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmarks.report import STYLES, format_estimate, format_value
from benchmarks.results import Results, Row
from benchmarks.schedule import Side
from benchmarks.shown import printable_all
from benchmarks.stats import MIN_ROUNDS, median

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = frozenset({8, 1024, 65536, 1 << 20})
"""Message sizes (bytes) that are shown of a curve that has them; all are in the files."""


def render_run(results: Results) -> Iterator[RenderableType]:
    """The table by suites, then what each side used, and what went wrong or is to be known."""
    from rich.table import Table
    from rich.text import Text

    results = printable_all(results)
    done = sorted({len(row.bare) for row in results.rows}) or [0]
    rounds = f"{done[0]} to {done[-1]}" if done[0] != done[-1] else str(done[0])
    yield Text(f"bare against container, medians of {rounds} rounds, ratios with 95 % intervals", "italic")
    table = Table()
    table.add_column("metric", no_wrap=True)
    for name in ("bare", "container", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    suites = list(dict.fromkeys(row.suite for row in results.rows))
    for suite in suites:
        for row in shown_rows([row for row in results.rows if row.suite == suite]):
            table.add_row(*_cells(row), Text(str(row.verdict), style=STYLES[row.verdict.outcome]))
        table.add_section()
    yield table
    hidden = len(results.rows) - len(shown_rows(results.rows))
    if hidden:
        yield Text(f"{hidden} more rows, of other message sizes, are in results.json", style="dim")
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


def _cells(row: Row) -> tuple[str, str, str, str]:
    metric = row.metric if row.side == Side.CONTAINER else f"{row.metric}: {row.side}"
    bare, other = (f"{format_value(median(values))} {row.unit}" for values in (row.bare, row.container))
    if row.comparison is None:
        return metric, bare, other, ""
    ratio = row.comparison.ratio
    # An interval of so few would promise what it cannot hold.
    few = row.comparison.rounds < MIN_ROUNDS
    return metric, bare, other, format_value(ratio.value) if few else format_estimate(ratio)


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
