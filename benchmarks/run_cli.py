"""``bareboat bench run``.  Prints and exits, like `benchmarks.cli`, which lists it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from benchmarks import options
from benchmarks.errors import BenchError
from mpi_abi.rootfs import open_directory
from mpi_abi.shown import printable

FAILED = 125
SUITES = "launch,osu,npb,io"
_ROUNDS = {"quick": 15, "normal": 15, "full": 30}
_LIMITS = {"quick": 30.0, "normal": 300.0, "full": 3600.0}
_MINUTES = {"quick": 30, "normal": 120, "full": 720}
_QUICK_MINUTES = 7.0
"""Of measuring; with compilation, allocation and the last round that makes less than ten."""

_MAY_CHANGE = {"resume", "out", "rounds", "budget", "minutes", "wait", "limit"}
"""What a measurement that goes on may be given anew."""


@click.command("run")
@click.option("--image", metavar="PATH", help="The image. Must be given, but with --resume.")
@click.option(
    "--suite",
    "suites",
    default=SUITES,
    show_default=True,
    callback=options.words,
    metavar="NAME,...",
    help="What to measure.",
)
@options.only
@options.forms
@options.engines
@options.ranks
@click.option("--quick", "level", flag_value="quick", help="Few programs and sizes: below 10 minutes.")
@click.option("--full", "level", flag_value="full", help="All programs, sizes and classes: hours.")
@click.option(
    "--resume",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Go on with a measurement that ended early, or has too few rounds.",
)
@click.option(
    "--osu", callback=options.site, metavar="DIR[:DIR_IN_IMAGE]", help="The site's own OSU programs."
)
@click.option(
    "--npb", callback=options.site, metavar="DIR[:DIR_IN_IMAGE]", help="The site's own NPB programs."
)
@click.option(
    "--lang",
    type=click.Choice(["c", "python"]),
    default="c",
    show_default=True,
    help="Built-in programs in C, or by mpi4py.",
)
@options.host_mpi
@options.local
@options.common
@click.pass_context
def run(ctx: click.Context, /, **given: Any) -> None:
    """Measure an image against bare metal, in one allocation, and say what it costs.

    Everything that is measured goes into a directory, from which --resume goes on.  Exit code: 0; 125 where
    something failed (the rows that are good are shown); 128 + signal where it was stopped.
    """
    measure(ctx, given)


def measure(ctx: click.Context, given: dict[str, Any]) -> None:
    """Run a measurement with the options of `run`, show what it found, and exit.

    Those that are not given are as `run` has them without a word.
    """
    from benchmarks.progress import make_progress
    from benchmarks.runner import Stopped, stop_on_signals
    from benchmarks.running import run_bench
    from benchmarks.shown import make_console

    given = {**run.make_context("run", [], resilient_parsing=True).params, **given}
    folder, given = _begun(ctx, given)
    asked = _options(ctx, given)
    folder = folder or _make_folder(given)
    code = 0
    with folder.locked():
        try:
            with stop_on_signals() as stop:
                with make_progress(make_console(stderr=True)) as progress:
                    results, ending = run_bench(asked, folder, progress)
                failed = results.failures or ending.failed or not results.rows
                code = 128 + stop.number if stop.number else FAILED if failed else 0
        except BenchError:
            folder.forget()
            raise
        except Stopped as stopped:
            folder.forget()
            what = f"go on: {_go_on(folder)}" if folder.begun else "nothing was measured"
            click.echo(f"bareboat: {stopped}; {what}", err=True)
            raise SystemExit(128 + stopped.number) from None
    show(results, folder)
    raise SystemExit(code)


def show(results: Any, folder: Any) -> None:
    """The table, and where everything is."""
    from benchmarks.shown import show_all
    from benchmarks.table import render_run

    show_all(render_run(results))
    click.echo(f"results: {printable(str(folder.path))}")
    if results.stopped:
        click.echo(f"go on: {_go_on(folder)}")


def _go_on(folder: Any) -> str:
    return printable(shlex.join(("bareboat", "bench", "run", "--resume", str(folder.path))))


def _make_folder(given: Mapping[str, Any]) -> Any:
    """A directory for a new measurement."""
    from benchmarks.folder import Folder

    path = given["out"] or Path(time.strftime("bareboat-bench-%Y%m%d-%H%M%S"))
    return Folder.make(Path(os.path.abspath(path)))  # noqa: PTH100 (as all nodes name it)


def _begun(ctx: click.Context, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The directory that is gone on with (None: a new one), and the options: those that it was begun with."""
    from benchmarks.asked import check_asked
    from benchmarks.folder import SETTING, Folder

    if given["resume"] is None:
        if given["image"] is None:
            raise click.UsageError("Missing option '--image'.")
        return None, given
    folder = Folder(Path(os.path.abspath(given["resume"])))  # noqa: PTH100
    if given["image"]:
        given = {**given, "image": os.path.abspath(given["image"])}  # noqa: PTH100 (as it was kept)
    before = {
        "engines": [],
        **check_asked(folder.kept().asked, where=str(folder.path / SETTING)),
    }  # there were none in older ones
    named = {name for name in given if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT} - {
        "resume"
    }
    for name in sorted(named - _MAY_CHANGE):
        if name not in before or _plain(given[name]) != before[name]:
            raise BenchError(
                f"{folder.path} was measured with another --{name.replace('_', '-')}: {before.get(name)}, "
                f"not {given[name]}",
                hint="leave the option out, or measure into a new directory",
            )
    return folder, {**given, **{name: value for name, value in before.items() if name not in named}}


def repeating(words: list[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The command with bareboat's variables, and without the place of its results, which is taken."""
    kept: list[str] = []
    rest = iter(words[1:])
    for word in rest:
        if word == "--":  # what follows is the program's
            kept += (word, *rest)
        elif word in {"--out", "--resume"}:
            next(rest, None)
        elif not word.startswith(("--out=", "--resume=")):
            kept.append(word)
    variables = [
        f"{name}={environment[name]}" for name in sorted(environment) if name.startswith("BAREBOAT_")
    ]
    return (*(("env", *variables) if variables else ()), "bareboat", *kept)


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _app(words: Mapping[str, Any]) -> Any:
    """The program of `bench app`, from the words that its folder keeps."""
    from benchmarks.cases import App
    from benchmarks.suites.app import make_metric

    units = tuple((name, unit) for name, unit in words["units"])
    metrics = tuple(make_metric(pattern, tuple(words["higher"]), units) for pattern in words["metrics"])
    return App(tuple(words["argv"]), words["directory"], metrics, tuple(words["bare"]))


def _options(ctx: click.Context, given: dict[str, Any]) -> Any:
    from benchmarks.cases import Asked, Language, Level
    from benchmarks.runner import Client
    from benchmarks.running import RunOptions
    from benchmarks.suites import get_suite
    from benchmarks.suites.common import Target

    for name in given["suites"]:
        get_suite(name)
    level = given["level"] or "normal"
    budget = given["budget"] or (_QUICK_MINUTES if level == "quick" else None)
    client = Client(
        environment=dict(os.environ),
        srun_options=tuple(given["srun_options"]),
        salloc_options=tuple(given["salloc_options"]),
        bareboat=os.path.abspath(sys.argv[0]),  # noqa: PTH100 (where it is installed, links and all)
    )
    target = Target(
        client=client,
        nodes=given["nodes"],
        rounds=given["rounds"] or _ROUNDS[level],
        warmup=given["warmup"],
        seed=given["seed"],
        limit=given["limit"] or _LIMITS[level],
        minutes=given["minutes"] or _MINUTES[level],
        wait=given["wait"],
        opener=ctx.obj or open_directory,
    )
    asked = Asked(
        Level(level),
        Language(given["lang"]),
        tuple(given["ranks"]),
        osu=tuple(given["osu"]) if given["osu"] else None,
        npb=tuple(given["npb"]) if given["npb"] else None,
        only=tuple(given["only"]),
        forms=tuple((label, path) for label, path in given["forms"]),
        app=_app(given["app"]) if given.get("app") else None,
        label=given.get("label", ""),
        engines=tuple(given["engines"]) if given["engines"] is not None else None,
        cold=given.get("cold", True),
    )
    image = os.path.abspath(given["image"])  # noqa: PTH100 (an image is a name; links in it stay)
    kept = {name: _plain(value) for name, value in given.items() if name not in {"resume", "out"}}
    return RunOptions(
        target,
        image,
        tuple(given["suites"]),
        asked,
        seconds=budget * 60 if budget else None,
        prefix=os.path.abspath(given["host_mpi"]) if given["host_mpi"] else None,  # noqa: PTH100
        mpi=given["mpi"],
        local=given["local"],
        command=repeating(sys.argv, os.environ),
        words={**kept, "image": image},
    )
