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
    from .rootfs import Opener, RootView

_PRIVATE_DIR = "/run/bareboat/mpi"


@click.group()
def abi() -> None:
    """Judge whether this host's MPI fits an image."""


@abi.command(context_settings={"ignore_unknown_options": True})
@click.argument("image", type=click.Path())
@click.argument("app", nargs=-1, type=click.UNPROCESSED)
@click.option("--prefix", "--host", "prefixes", multiple=True, help="A host MPI to look at first.")
@click.option("--site-prefix", "site", multiple=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print the facts and the verdict as JSON.")
@click.pass_obj
def check(
    opener: Opener | None,
    image: str,
    app: tuple[str, ...],
    prefixes: tuple[str, ...],
    site: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Say whether the MPI of IMAGE, as APP uses it, can be replaced by this host's.

    APP is a path in the image, or a name to look up in the usual directories; without it the image is
    judged as such.
    Exit code: 0 native, 3 translated, 4 impossible, 5 no MPI; 125 if it could not be judged.
    """
    from . import report
    from .closure import find_closure
    from .errors import AbiError
    from .host import choose_host, probe_host
    from .image import probe_image
    from .pmi import PmiAdvice, ask_srun, spoken_by
    from .rootfs import open_directory
    from .swap import make_swap
    from .verdict import VerdictKind, judge

    try:
        with (opener or open_directory)(image) as view:
            facts = probe_image(view, program=_find_program(view, app[0]) if app else None, environment={})
        order = (*_absolute(prefixes), *site)
        hosts = probe_host(prefixes=order)
        values = facts.mpi[0].values if facts.mpi else ""
        host = choose_host(hosts, facts.family, order=order, values=values) or next(iter(hosts), None)
        closure = find_closure(host) if host and host.family == facts.family else None
        verdict = judge(facts, host, closure)
        swap, pmi = None, None
        if host and closure and verdict.kind is VerdictKind.NATIVE:
            swap = make_swap(facts, host, closure, private_dir=_PRIVATE_DIR)
            pmi = PmiAdvice(host.title, spoken_by(host, closure), ask_srun())
    except AbiError as error:
        _fail(error)
    if as_json:
        _print_json(report.verdict_json(facts, verdict, swap, pmi))
    else:
        click.echo("\n".join(report.verdict_lines(facts, verdict, swap, pmi)))
    sys.exit(report.EXIT_CODES[verdict.kind])


@abi.command()
@click.option(
    "--prefix", "--host", "prefixes", multiple=True, help="Another directory of an MPI, e.g. of a wheel."
)
@click.option("--site-prefix", "site", multiple=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def host(prefixes: tuple[str, ...], site: tuple[str, ...], *, as_json: bool) -> None:
    """List the MPIs of this host, best first within a family, and which one BAREBOAT_MPI=auto takes.

    Each is asked for its version in a process of its own.
    """
    from .errors import AbiError
    from .hostreport import inventory_json, inventory_lines
    from .inventory import take_stock

    try:
        inventory = take_stock(prefixes=_absolute(prefixes), site=site, environment=os.environ)
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


def _find_program(view: RootView, name: str) -> str:
    if "/" in name:
        return name
    folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return next((f"{folder}/{name}" for folder in folders if view.is_file(f"{folder}/{name}")), name)


def _print_json(value: object) -> None:
    import json

    click.echo(json.dumps(value, indent=2))


def _fail(error: AbiError) -> NoReturn:
    click.echo(f"bareboat: error: {error}", err=True)
    if error.hint:
        click.echo(f"bareboat: hint: {error.hint}", err=True)
    sys.exit(125)
