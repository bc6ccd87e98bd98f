"""Results as comma-separated values (RFC 4180): a line for each row, for spreadsheets.  Pure."""

from __future__ import annotations

import csv
import io

from benchmarks.results import Results
from benchmarks.shown import printable_all
from benchmarks.stats import median

COLUMNS = (
    *("suite", "case", "figure", "metric", "nodes", "ranks", "message_bytes", "side", "unit", "better"),
    *("rounds", "bare_median", "side_median", "ratio", "ratio_low", "ratio_high"),
    *("added", "added_low", "added_high", "outcome", "verdict"),
)
"""Medians and added values are in the row's unit; what was not compared has empty fields."""


def to_csv(results: Results) -> str:
    """All rows, below a line with the names of the columns."""
    results = printable_all(results)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in results.rows:
        estimates = (row.comparison.ratio, row.comparison.added) if row.comparison else ()
        numbers = [str(number) for one in estimates for number in (one.value, one.low, one.high)]
        size = "" if row.message_bytes is None else row.message_bytes
        writer.writerow(
            (
                *map(_text, (row.suite or results.suite, row.case, row.figure, row.metric)),
                *(row.nodes, row.ranks, size, _text(row.side), _text(row.unit), row.better),
                *(len(row.container), median(row.bare), median(row.container), *(numbers or [""] * 6)),
                *(row.verdict.outcome, _text(str(row.verdict))),
            )
        )
    return text.getvalue()


def _text(cell: str) -> str:
    """Spreadsheets take what begins so for a formula, and run it."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
