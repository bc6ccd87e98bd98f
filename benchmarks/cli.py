"""The group ``bareboat bench``.  Only the files *cli.py of this package print or exit."""

from __future__ import annotations

from typing import Any

import click

from benchmarks.app_cli import app
from benchmarks.compare_cli import compare
from benchmarks.errors import BenchError
from benchmarks.report_cli import report
from benchmarks.run_cli import FAILED, run
from benchmarks.short_cli import latency, launch
from benchmarks.shown import printable_lines


class Group(click.Group):
    """A group that turns a BenchError into a message and exit code 125."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as error:
            click.echo(f"bareboat: error: {printable_lines(str(error))}", err=True)
            if error.hint:
                click.echo(f"bareboat: hint: {printable_lines(error.hint)}", err=True)
            ctx.exit(FAILED)


@click.group(cls=Group)
def bench() -> None:
    """Measure container against bare metal, interleaved in one allocation.

    Inside an allocation (salloc, sbatch) that one is used; elsewhere one is made and released.
    """


for _command in (run, launch, latency, app, compare, report):
    bench.add_command(_command)
