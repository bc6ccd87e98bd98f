"""``bareboat bench app``.  Prints and exits, like `benchmarks.cli`, which lists it."""

from __future__ import annotations

import os
import shlex
from typing import Any

import click

from benchmarks import options
from benchmarks.run_cli import measure


@click.command("app")
@click.option("--image", required=True, metavar="PATH", help="The image.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="REGEX",
    help="A figure in its output: the last match of the one group. (?P<name>...) names it.",
)
@click.option("--higher", multiple=True, metavar="NAME", help="A metric of which more is better.")
@click.option("--unit", "units", multiple=True, metavar="NAME=UNIT", help="The unit of a metric.")
@click.option("--bare", metavar="WORDS", help="The command on the bare side, if it is another.")
@options.forms
@options.ranks
@options.common
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.pass_context
def app(ctx: click.Context, /, **given: Any) -> None:
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
        "bare": _split(bare or ""),
        "metrics": list(patterns),
        "higher": list(higher),
        "units": [list(pair) for pair in units],
        "directory": os.getcwd(),  # noqa: PTH109 (a name for srun)
    }
    measure(ctx, {**given, "suites": ("app",), "app": words})


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise click.BadParameter(f"--bare {text!r} is no command as in a shell: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, separator, unit = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} is not NAME=UNIT, like loop=s")
    return name, unit
