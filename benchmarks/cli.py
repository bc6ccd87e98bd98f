"""The group ``bareboat bench``.  Only the files *cli.py of this package print or exit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from benchmarks.app_cli import app
from benchmarks.compare_cli import compare
from benchmarks.errors import BenchError
from benchmarks.folder import write_whole
from benchmarks.report_cli import report
from benchmarks.run_cli import run
from benchmarks.shown import printable_lines
from mpi_abi.rootfs import open_directory

if TYPE_CHECKING:
    from benchmarks.progress import Progress
    from benchmarks.results import Results
    from benchmarks.suites.common import Target

FAILED = 125
"""Exit code when bareboat, not the user's program, failed; also when some of the rows failed."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


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


def _numbers(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    words = value.split(",")
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise click.BadParameter(f"{value!r} is not a list of numbers above 0, like 1,4,16")
    return tuple(int(word) for word in words)


def _engines(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...] | None:
    """None: whatever works."""
    return None if value == "auto" else () if value == "none" else tuple(value.split(","))


_bare_bin = click.Path(exists=True, file_okay=False, resolve_path=True)
_image_bin = click.option(
    "--image-bin",
    default="/opt/bareboat-tests/bin",
    show_default=True,
    metavar="DIR_IN_IMAGE",
    help="Where they lie in the image.",
)
_mpi = click.option("--mpi", metavar="TYPE", help="srun's --mpi on every side (default: the cluster's).")


def _common(command: _Command) -> _Command:
    """Options that every suite has."""
    options = (
        click.option(
            "--nodes",
            type=click.IntRange(min=1),
            help="Nodes to use (default: all of the allocation, or 2).",
        ),
        click.option(
            "--rounds", default=15, show_default=True, type=click.IntRange(min=1), help="Counted rounds."
        ),
        click.option(
            "--warmup",
            default=1,
            show_default=True,
            type=click.IntRange(min=0),
            help="Rounds before, dropped.",
        ),
        click.option(
            "--seed", default=20260, show_default=True, help="Of the random order and the intervals."
        ),
        click.option(
            "--limit",
            default=120.0,
            show_default=True,
            type=click.FloatRange(min=1),
            help="Seconds for one run.",
        ),
        click.option(
            "--wait",
            default=600.0,
            show_default=True,
            type=click.FloatRange(min=1),
            help="Seconds to wait for nodes.",
        ),
        click.option(
            "--minutes",
            default=60,
            show_default=True,
            type=click.IntRange(min=1),
            help="Time limit of the allocation.",
        ),
        click.option(
            "--srun-option", "srun_options", multiple=True, metavar="OPTION", help="Further option of srun."
        ),
        click.option(
            "--salloc-option",
            "salloc_options",
            multiple=True,
            metavar="OPTION",
            help="Further option of salloc.",
        ),
        click.option(
            "--json",
            "json_file",
            metavar="FILE",
            type=click.Path(dir_okay=False, writable=True, path_type=Path),
            help="Write everything measured there.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@bench.command()
@click.option(
    "--image",
    "images",
    required=True,
    multiple=True,
    metavar="[LABEL=]PATH",
    help="An image, and what to call it in the table; may be given more than once.",
)
@_common
@click.option(
    "--ranks",
    default="1,4,16",
    show_default=True,
    callback=_numbers,
    metavar="N,...",
    help="Ranks of the steps.",
)
@click.option(
    "--program", default="true", show_default=True, help="What to start: a path, or a name, on each side."
)
@click.option(
    "--engines",
    default="auto",
    show_default=True,
    callback=_engines,
    metavar="auto|none|NAME,...",
    help="Other container engines to compare with: ch-run, apptainer, podman, pyxis.",
)
@click.option("--cold", is_flag=True, help="Measure bareboat without its kept plans, too.")
@click.option(
    "--bare-bin",
    metavar="DIR",
    type=_bare_bin,
    help="Measure MPI's start and end, too: where mpi_hello lies that was compiled on the host.",
)
@_image_bin
@_mpi
def launch(
    *,
    images: tuple[str, ...],
    ranks: tuple[int, ...],
    program: str,
    engines: tuple[str, ...] | None,
    cold: bool,
    bare_bin: str | None,
    image_bin: str,
    mpi: str | None,
    json_file: Path | None,
    **common: Any,
) -> None:
    """How long srun takes to start and end a program, bare, in containers, and by other engines."""
    from benchmarks.suites.launch import LaunchOptions, run_launch
    from benchmarks.suites.ways import parse_image

    options = LaunchOptions(
        _target(**common),
        tuple(parse_image(image) for image in images),
        ranks=ranks,
        program=program,
        engines=engines,
        cold=cold,
        bare_bin=bare_bin,
        image_bin=image_bin,
        mpi=mpi,
    )
    _run(lambda progress: run_launch(options, progress), json_file)


@bench.command()
@click.option("--image", required=True, metavar="PATH", type=click.Path(), help="The image.")
@_common
@click.option(
    "--bare-bin",
    required=True,
    metavar="DIR",
    type=_bare_bin,
    help="Where mpi_latency and mpi_hello lie that were compiled on the host.",
)
@_image_bin
@_mpi
def latency(
    *, image: str, bare_bin: str, image_bin: str, mpi: str | None, json_file: Path | None, **common: Any
) -> None:
    """Latency and bandwidth of MPI inside a node and between two."""
    from benchmarks.suites.latency import LatencyOptions, run_latency

    path = str(Path(image).absolute())
    options = LatencyOptions(_target(**common), path, bare_bin, image_bin=image_bin, mpi=mpi)
    _run(lambda progress: run_latency(options, progress), json_file)


def _target(*, srun_options: tuple[str, ...], salloc_options: tuple[str, ...], **numbers: Any) -> Target:
    from benchmarks.runner import Client
    from benchmarks.suites.common import Target

    client = Client(
        environment=dict(os.environ), srun_options=tuple(srun_options), salloc_options=tuple(salloc_options)
    )
    # Whoever calls the group may say how images are opened; alone, directories are.
    opener = click.get_current_context().obj or open_directory
    return Target(client=client, opener=opener, **numbers)


def _run(suite: Callable[[Progress], Results], json_file: Path | None) -> None:
    from benchmarks.progress import make_progress
    from benchmarks.report import render, to_json
    from benchmarks.runner import Stopped, stop_on_signals
    from benchmarks.shown import make_console, show_all

    if json_file is not None and not os.access(json_file.absolute().parent, os.W_OK):
        raise BenchError(f"{json_file} cannot be written: its directory is missing or not writable")
    code = 0
    try:
        with stop_on_signals() as stop:
            with make_progress(make_console(stderr=True)) as progress:
                results = suite(progress)
            code = 128 + stop.number if stop.number else FAILED if results.failures else 0
    except Stopped as stopped:
        click.echo(f"bareboat: {stopped} before anything was measured", err=True)
        raise SystemExit(128 + stopped.number) from None
    if json_file is not None:
        write_whole(json_file, to_json(results))
    show_all(render(results))
    raise SystemExit(code)


bench.add_command(run)
bench.add_command(compare)
bench.add_command(report)
bench.add_command(app)
