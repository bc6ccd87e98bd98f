"""``bareboat bench launch`` and ``bench latency``: short forms of `bench run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from benchmarks import options
from benchmarks.run_cli import measure
from benchmarks.suites.common import kind_of
from benchmarks.ways import parse_image


@click.command()
@click.option(
    "--image",
    "images",
    required=True,
    multiple=True,
    metavar="[LABEL=]PATH",
    help="An image, and what to call it in the table; further ones are other forms of it.",
)
@click.option(
    "--ranks",
    default="1,4,16",
    show_default=True,
    callback=options.numbers,
    metavar="N,...",
    help="Ranks of the steps.",
)
@click.option("--cold", is_flag=True, help="Measure bareboat without its kept plans, too.")
@options.engines
@options.only
@options.host_mpi
@options.local
@options.common
@click.pass_context
def launch(ctx: click.Context, /, *, images: tuple[str, ...], **given: Any) -> None:
    """How long srun takes to start and end a program, bare, in containers, and by other engines.

    Short for `bench run --suite launch`: `bench run --resume DIR` goes on with it.
    """
    (label, path), *further = map(parse_image, images)
    measure(ctx, {**given, "suites": ("launch",), "image": path, "label": label, "forms": _name(further)})


def _name(images: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Forms; one without a label is called what it is."""
    return options.check_forms((label or str(kind_of(path)), path) for label, path in images)


@click.command()
@click.option("--image", required=True, metavar="PATH", help="The image.")
@options.host_mpi
@options.local
@options.common
@click.pass_context
def latency(ctx: click.Context, /, **given: Any) -> None:
    """Latency and bandwidth of MPI inside a node and between two.

    Short for `bench run --suite osu --only osu_latency,osu_bw --quick`: `bench run --resume DIR` goes on
    with it.
    """
    measure(ctx, {**given, "suites": ("osu",), "only": ("osu_latency", "osu_bw"), "level": "quick"})
