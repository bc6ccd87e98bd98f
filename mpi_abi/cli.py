"""``bareboat abi``: what MPI is in an image, what this host has, and whether they fit.

How images are opened may be given as the context's object (an `Opener`); without it, directories are.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from .errors import AbiError
    from .rootfs import Opener


@click.group()
def abi() -> None:
    """Judge whether this host's MPI fits an image."""


@abi.command(context_settings={"ignore_unknown_options": True})
@click.argument("image", type=click.Path())
@click.argument("app", nargs=-1, type=click.UNPROCESSED)
@click.option("--app", "apps", multiple=True, help="One more program or library of the image to judge.")
@click.option("--prefix", "--host", "prefixes", multiple=True, help="A host MPI to look at first.")
@click.option("--site-prefix", "site", multiple=True, hidden=True)
@click.option("--programs/--no-programs", default=True, help="Without APP: look for all MPI programs.")
@click.option(
    "--cache/--no-cache", "kept", default=True, help="Without APP: keep the answer, use a kept one."
)
@click.option("--site-only", is_flag=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print the facts and the verdict as JSON.")
@click.pass_obj
def check(
    opener: Opener | None,
    image: str,
    app: tuple[str, ...],
    *,
    apps: tuple[str, ...],
    prefixes: tuple[str, ...],
    site: tuple[str, ...],
    programs: bool,
    kept: bool,
    site_only: bool,
    as_json: bool,
) -> None:
    """Say whether the MPI of IMAGE, as APP uses it, can be replaced by this host's.

    APP is a path in the image, or a name to look up in the usual directories; without it the image is
    judged as such, with all MPI programs in it.  Of several, each is judged, and the worst verdict counts.
    Exit code: 0 native, 3 translated, 4 impossible, 5 no MPI; 125 if it could not be judged.
    """
    from .asking import answer_check
    from .errors import AbiError

    names = (*app[:1], *apps)
    order = (*_absolute(prefixes), *site)
    try:
        answer = answer_check(opener, image, names, order, search=not site_only, programs=programs, kept=kept)
    except AbiError as error:
        _fail(error)
    if as_json:
        _print_json(answer.value)
    else:
        click.echo(answer.text)
    sys.exit(answer.code)


@abi.command()
@click.argument("image", type=click.Path())
@click.argument("app")
@click.option("--prefix", "--host", "prefixes", multiple=True, help="A host MPI to look at first.")
@click.option("--site-prefix", "site", multiple=True, hidden=True)
@click.option("--site-only", is_flag=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print every step as JSON.")
@click.pass_obj
def why(
    opener: Opener | None,
    image: str,
    app: str,
    *,
    prefixes: tuple[str, ...],
    site: tuple[str, ...],
    site_only: bool,
    as_json: bool,
) -> None:
    """Show where the loader looks for what APP of IMAGE needs, and what it finds, before and after the swap.

    That is: as the image is, and with this host's MPI in the place of the image's.
    APP is a program or a library: a path in the image, or a name to look up in the usual directories.
    """
    from .asking import find_program
    from .errors import AbiError
    from .judging import Judge
    from .rootfs import open_directory
    from .why import explain
    from .whyreport import why_json, why_lines

    try:
        with (opener or open_directory)(image) as view:
            judge = Judge((*_absolute(prefixes), *site), search=not site_only)
            judgement = judge.judge(view, find_program(view, app))
            explained = explain(view, judgement.image, judgement.swap, judgement.environment)
    except AbiError as error:
        _fail(error)
    if as_json:
        _print_json(why_json(judgement, explained))
    else:
        click.echo("\n".join(why_lines(judgement, explained)))


@abi.command()
@click.option(
    "--prefix", "--host", "prefixes", multiple=True, help="Another directory of an MPI, e.g. of a wheel."
)
@click.option("--site-prefix", "site", multiple=True, hidden=True)
@click.option("--site-only", is_flag=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def host(prefixes: tuple[str, ...], site: tuple[str, ...], *, site_only: bool, as_json: bool) -> None:
    """List the MPIs of this host, best first within a family, and which one BAREBOAT_MPI=auto takes.

    Each is asked for its version in a process of its own.
    """
    from .errors import AbiError
    from .hostreport import inventory_json, inventory_lines
    from .inventory import take_stock

    try:
        inventory = take_stock(
            prefixes=_absolute(prefixes), site=site, search=not site_only, environment=os.environ
        )
    except AbiError as error:
        _fail(error)
    if as_json:
        _print_json(inventory_json(inventory))
    else:
        click.echo("\n".join(inventory_lines(inventory)))


@abi.command()
@click.argument("before", type=click.Path())
@click.argument("after", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with all names.")
@click.pass_obj
def diff(opener: Opener | None, before: str, after: str, *, as_json: bool) -> None:
    """Say what programs lose that were built for the MPI of BEFORE and meet that of AFTER.

    Each is a library, the directory of an installation, or an image.
    Exit code: 0 nothing is lost, 1 something is, 125 it could not be told.
    """
    from .diff import compare, pair
    from .diffreport import diff_json, diff_lines
    from .errors import AbiError
    from .rootfs import open_directory
    from .sides import read_sides

    try:
        sides = pair(*(read_sides(name, opener or open_directory) for name in (before, after)))
    except AbiError as error:
        _fail(error)
    found = compare(*sides)
    if as_json:
        _print_json(diff_json(found))
    else:
        click.echo("\n".join(diff_lines(found)))
    sys.exit(1 if found.loses else 0)


def _absolute(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.path.abspath(path) for path in paths)  # noqa: PTH100 - links stay as they are named


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2))


def _fail(error: AbiError) -> NoReturn:
    from .shown import printable

    click.echo(f"bareboat: error: {printable(str(error))}", err=True)
    if error.hint:
        click.echo(f"bareboat: hint: {printable(error.hint)}", err=True)
    sys.exit(125)
