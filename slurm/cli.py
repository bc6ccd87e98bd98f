"""The groups ``bareboat slurm`` and ``bareboat testbed``.  Only this file of the package prints or exits."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from slurm.errors import SlurmError

FAILED = 125
"""Exit code when bareboat, not the user's program, failed."""


class Group(click.Group):
    """A group that turns a SlurmError into a message and exit code 125."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SlurmError as error:
            click.echo(f"bareboat: {error}", err=True)
            if error.hint:
                click.echo(f"  hint: {error.hint}", err=True)
            ctx.exit(FAILED)


@click.group(cls=Group)
def testbed() -> None:
    """A throwaway Slurm of several nodes on this machine."""


def _extra(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for key, equals, _ in pairs:
        if not equals or not key:
            raise click.BadParameter(f"{key!r} is not of the form KEY=VALUE")
    return {key: value for key, _, value in pairs}


@testbed.command()
@click.option("--nodes", default=2, show_default=True, type=click.IntRange(1, 250), help="How many nodes.")
@click.option("--name", help="What to call it (default: tb1, tb2, ...).")
@click.option(
    "--mpi",
    type=click.Choice(["pmi2", "pmix", "none"]),
    default="pmi2",
    show_default=True,
    help="What srun uses when it is not told --mpi.",
)
@click.option("--cpus", default=16, show_default=True, help="Processors that each node pretends to have.")
@click.option("--job-container", is_flag=True, help="Run jobs under job_container/tmpfs.")
@click.option(
    "--plugin",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="PREFIX",
    help="Load bareboat's plugin from this installed prefix.",
)
@click.option(
    "--set", "extra", multiple=True, metavar="KEY=VALUE", callback=_extra, help="A line of slurm.conf."
)
def up(
    *,
    nodes: int,
    name: str | None,
    mpi: str,
    cpus: int,
    job_container: bool,
    plugin: Path | None,
    extra: dict[str, str],
) -> None:
    """Start a testbed; returns when every node is idle."""
    from slurm.testbed import Testbed

    bed = Testbed(
        nodes=nodes,
        name=name,
        mpi=mpi,
        cpus=cpus,
        job_container=job_container,
        plugin=None if plugin is None else plugin.absolute(),
        extra=extra,
        progress=lambda text: click.echo(f"testbed: {text}", err=True),
    )
    bed.up()
    click.echo(f"The testbed {bed.name} is up: {len(bed.node_names)} nodes, {', '.join(bed.node_names)}.")
    click.echo(f'Use it:       eval "$(bareboat testbed env --name {bed.name})"')
    click.echo(f"Take it down: bareboat testbed down --name {bed.name}")


def _chosen(name: str | None) -> str:
    from slurm.testbed import names

    if name is not None:
        return name
    there = names()
    if len(there) == 1:
        return there[0]
    if not there:
        raise SlurmError("there is no testbed", hint="start one: bareboat testbed up --nodes 2")
    raise SlurmError(f"there are several testbeds: {', '.join(there)}", hint="say which with --name")


@testbed.command()
@click.option("--name", help="Which one; not needed when there is only one.")
def env(*, name: str | None) -> None:
    """Print shell lines to eval, after which srun and the others use the testbed."""
    from slurm.testbed import environment_of, load

    for key, value in environment_of(load(_chosen(name))).items():
        click.echo(f"export {key}={shlex.quote(value)}")


@testbed.command()
@click.option("--name", help="Which one; not needed when there is only one.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
def down(*, name: str | None, everything: bool) -> None:
    """Take a testbed down, whatever is left of it.  Taking down what is not there is no error."""
    from slurm.testbed import down as take_down
    from slurm.testbed import names

    if name is None and not everything and len(names()) != 0:
        name = _chosen(None)
    for one in names() if name is None else (name,):
        if take_down(one):
            click.echo(f"The testbed {one} is gone.")


@testbed.command("list")
def list_testbeds() -> None:
    """List the testbeds of this machine."""
    from slurm.testbed import load, names

    for name in names():
        try:
            state = load(name)
        except SlurmError as error:
            click.echo(f"{name}: broken ({error}); take it down")
            continue
        click.echo(
            f"{name}: {state.phase}, nodes {','.join(state.nodes)}, network {state.subnet}, mpi {state.mpi}"
        )


@click.group(cls=Group)
def slurm() -> None:
    """Bareboat's side of Slurm: install the plugin, see whether it fits."""
