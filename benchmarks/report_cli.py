"""``bareboat bench report``.  Prints and exits, like `benchmarks.cli`, which lists it."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.errors import BenchError
from benchmarks.folder import PAGE, TABLE, write_whole


@click.command("report")
@click.argument("results", metavar="DIR|FILE", type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the page goes (default: beside the results).",
)
def report(*, results: Path, out: Path | None) -> None:
    """Show results as one page without a network (report.html), and as a table (results.csv).

    DIR is of `bareboat bench run`; FILE is a results.json.
    """
    from benchmarks.analysis import read_results
    from benchmarks.page.html import to_html
    from benchmarks.page.table import to_csv

    found = read_results(results)
    if not found.rows:
        raise BenchError(
            f"{results} holds no figure that could be shown", hint="look at its failures and notes"
        )
    target = out or (results if results.is_dir() else results.parent)
    for name, text in ((PAGE, to_html(found)), (TABLE, to_csv(found))):
        try:
            write_whole(target / name, text)
        except BenchError as error:
            raise BenchError(str(error), hint="name another directory with --out") from error
        click.echo(target / name)
