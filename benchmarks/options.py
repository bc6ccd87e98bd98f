"""Options of the measuring commands: what several have in common stands here once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.cases import BARE, CONTAINER
from benchmarks.ways import parse_image

_Command = TypeVar("_Command", bound=Callable[..., Any])

_LONGEST = 366 * 24 * 3600.0
"""Seconds that anybody waits, so that clocks and Slurm can count them."""


class Duration(click.FloatRange):
    """A number of at least ``least``; inf, nan and what is longer than a year are none."""

    def __init__(self, least: float, *, seconds: float = 1.0) -> None:
        super().__init__(min=least)
        self._most = _LONGEST / seconds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse it by name."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number) or number > self._most:
            self.fail(f"{value} is no number up to {self._most:g} (a year).", param, ctx)
        return number


def words(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """NAME,..."""
    return tuple(dict.fromkeys(word for word in value.split(",") if word))


def numbers(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """N,..."""
    found = value.split(",") if value else []
    if not all(word.isdecimal() and int(word) > 0 for word in found):
        raise click.BadParameter(f"{value!r} is not a list of numbers above 0, like 2,16")
    return tuple(int(word) for word in found)


def _engines(_ctx: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...] | None:
    """None: whatever works."""
    return None if value == "auto" else () if value == "none" else words(_ctx, _parameter, value)


def _forms(
    _ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    for text in value:
        if not parse_image(text)[0]:
            raise click.BadParameter(f"{text!r} is not LABEL=PATH, like squashfs=/images/a.sqfs")
    return check_forms(parse_image(text) for text in value)


def check_forms(forms: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The same, as (label, path).  Raises BadParameter for a label that is taken, or a path of nothing."""
    found: dict[str, str] = {}
    for label, path in forms:
        if label in found or label in {BARE, CONTAINER}:
            raise click.BadParameter(f"the label {label!r} is taken: give each form one of its own")
        if not os.path.exists(path):  # noqa: PTH110 (an image is a name)
            raise click.BadParameter(f"the image {path} does not exist")
        found[label] = path
    return tuple(found.items())


def site(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, str] | None:
    """DIR[:DIR_IN_IMAGE]."""
    if value is None:
        return None
    bare, _, inside = value.partition(":")
    if not Path(bare).is_dir():
        raise click.BadParameter(f"{bare} is no directory")
    return os.path.abspath(bare), inside  # noqa: PTH100 (all nodes see it by this name)


only = click.option(
    "--only",
    default="",
    callback=words,
    metavar="NAME,...",
    help="Of the programs only these, by the names in the table.",
)
engines = click.option(
    "--engines",
    default="auto",
    show_default=True,
    callback=_engines,
    metavar="auto|none|NAME,...",
    help="Other container engines, for launches: ch-run, apptainer, podman, pyxis.",
)
forms = click.option(
    "--form",
    "forms",
    multiple=True,
    callback=_forms,
    metavar="LABEL=PATH",
    help="The same image in another form, for launches and for what reads from the image.",
)
ranks = click.option(
    "--ranks",
    callback=numbers,
    metavar="N,...",
    help="Ranks of the programs that take any number (default: one a processor).",
)
host_mpi = click.option(
    "--host-mpi", metavar="PREFIX", help="The host's MPI (default: the one that a launch takes)."
)
local = click.option(
    "--local", is_flag=True, help="On this machine alone, without Slurm (as where there is none)."
)

_COMMON = (
    click.option("--nodes", type=click.IntRange(min=1), help="Nodes (default: all of the allocation, or 2)."),
    click.option(
        "--out",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Where the results go; all nodes see it (default: bareboat-bench-DATE).",
    ),
    click.option(
        "--mpi",
        metavar="TYPE",
        help="srun's --mpi (default: what the host's MPI speaks; of a program of your own, the cluster's).",
    ),
    click.option("--rounds", type=click.IntRange(min=1), help="Counted rounds (15; of --full 30)."),
    click.option(
        "--warmup",
        default=1,
        show_default=True,
        type=click.IntRange(min=0),
        help="Rounds before, dropped.",
    ),
    click.option(
        "--budget",
        type=Duration(0.1, seconds=60.0),
        metavar="MINUTES",
        help="Begin no round that would end later (of --quick 7).",
    ),
    click.option(
        "--seed",
        default=20260,
        show_default=True,
        type=click.IntRange(0, (1 << 63) - 1),
        help="Of the random order and the intervals.",
    ),
    click.option("--limit", type=Duration(1), help="Seconds for one run (300; quick 30, full 3600)."),
    click.option(
        "--wait",
        default=600.0,
        show_default=True,
        type=Duration(1),
        help="Seconds to wait for nodes.",
    ),
    click.option(
        "--minutes",
        type=click.IntRange(min=1),
        help="Time limit of the allocation (120; quick 30, full 720).",
    ),
    click.option(
        "--srun-option", "srun_options", multiple=True, metavar="OPTION", help="Further option of srun."
    ),
    click.option(
        "--salloc-option", "salloc_options", multiple=True, metavar="OPTION", help="Further option of salloc."
    ),
)


def common(command: _Command) -> _Command:
    """Give a command the options that every measurement has."""
    for option in reversed(_COMMON):
        command = option(command)
    return command
