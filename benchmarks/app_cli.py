"""``bareboat bench app``.  Prints and exits, like `benchmarks.cli`, which lists it."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from benchmarks.run_cli import measure, run

_SHARED = {
    *("forms", "nodes", "ranks", "out", "rounds", "warmup", "seed", "limit", "wait", "minutes"),
    *("srun_options", "salloc_options"),
}
"""Options of `bench run` that a program of the user's has as well, with the same meaning."""


@click.pass_context
def _app(ctx: click.Context, /, **given: Any) -> None:
    """Measure a program of your own, bare against container: its wall time, and figures that it prints.

    The same command is run on both sides, in the working directory.  `bareboat bench run --resume DIR` goes
    on with a measurement that ended early.
    """
    from benchmarks.suites.app import make_metric

    units = tuple(_pair(unit) for unit in given.pop("units"))
    higher, patterns, bare = given.pop("higher"), given.pop("metrics"), given.pop("bare")
    names = [make_metric(pattern).name for pattern in patterns]
    if twice := {name for name in names if names.count(name) > 1}:
        raise click.BadParameter(f"two metrics are called {min(twice)!r}: name their groups differently")
    if unknown := {*higher, *(name for name, _ in units)} - {*names}:
        there = ", ".join(names) or "none"
        raise click.BadParameter(f"no metric is called {min(unknown)!r}; there is: {there}")
    words = {
        "argv": list(given.pop("command")),
        "bare": shlex.split(bare) if bare else [],
        "metrics": list(patterns),
        "higher": list(higher),
        "units": [list(pair) for pair in units],
        "directory": os.getcwd(),  # noqa: PTH109 (a name for srun)
    }
    measure(ctx, {**given, "suites": ("app",), "app": words})


def _pair(text: str) -> tuple[str, str]:
    name, separator, unit = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} is not NAME=UNIT, like loop=s")
    return name, unit


app = click.Command(
    "app",
    callback=_app,
    params=[
        click.Option(["--image"], required=True, metavar="PATH", help="The image."),
        click.Option(
            ["--metric", "metrics"],
            multiple=True,
            metavar="REGEX",
            help="A figure in its output: the last match of the one group. (?P<name>...) names it.",
        ),
        click.Option(["--higher"], multiple=True, metavar="NAME", help="A metric of which more is better."),
        click.Option(["--unit", "units"], multiple=True, metavar="NAME=UNIT", help="The unit of a metric."),
        click.Option(["--bare"], metavar="WORDS", help="The command on the bare side, if it is another."),
        *(parameter for parameter in run.params if parameter.name in _SHARED),
        click.Option(["--mpi"], metavar="TYPE", help="srun's --mpi (default: the cluster's)."),
        click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD..."),
    ],
    help=_app.__doc__,
)
