"""``bareboat bench compare``.  Prints and exits, like `benchmarks.cli`, which lists it."""

from __future__ import annotations

import re
from pathlib import Path

import click

FAILED = 125
"""Exit code where something is not measured any more, or too seldom: whether it got slower, nobody knows."""

SLOWER = 1
"""Exit code where something got slower beyond the limit."""


def _share(_ctx: click.Context, _parameter: click.Parameter, value: str) -> float:
    """2% as 0.02."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no percentage like 2%")
    return float(match[1]) / 100


@click.command("compare")
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--limit",
    default="2%",
    show_default=True,
    callback=_share,
    metavar="PERCENT",
    help="What may get slower by chance or choice.",
)
def compare(*, before: Path, after: Path, limit: float) -> None:
    """Compare two results, before and after a change.

    A and B are directories of `bareboat bench run`, or files of results (results.json). Exit code: 1 where
    something got slower by more than the limit with its whole interval; 125 where B lacks what A has, or one
    has too few rounds of it to be judged; else 0.
    """
    from benchmarks.analysis import read_results
    from benchmarks.comparing import compare_results, render_changes
    from benchmarks.shown import show_all

    changes = compare_results(read_results(before), read_results(after), limit=limit)
    show_all(render_changes(changes, limit=limit))
    raise SystemExit(SLOWER if changes.slower else FAILED if changes.lost or changes.open else 0)
