"""The groups ``bareboat slurm`` and ``bareboat testbed``.  Only this file of the package prints or exits."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from slurm.errors import SlurmError

FAILED = 125
"""Exit code when something does not fit."""


@click.group()
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
    "--store",
    "stores",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    metavar="DIR",
    help="Have the kernel mount the squashfs images of this directory of root's.",
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
    stores: tuple[Path, ...],
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
        stores=[store.absolute() for store in stores],
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


@click.group()
def slurm() -> None:
    """Bareboat's side of Slurm: install the plugin, see whether it fits."""


_prefix = click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it is (default: where this command is installed, else /opt/bareboat).",
)


@slurm.command()
@_prefix
@click.option(
    "--plugstack",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Gets the plugin's line (default: beside slurm.conf, found by SLURM_CONF or in /etc/slurm).",
)
@click.option(
    "--store",
    "stores",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    metavar="DIR",
    help="Have the kernel mount the squashfs images of this directory of root's "
    "(default: those that the line names already, else /var/lib/bareboat/store).",
)
@click.option(
    "--slurm-include",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Holds slurm/spank.h (default: /usr/include, /usr/local/include).",
)
@click.option(
    "--python",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PROGRAM",
    help="The Python to stand on: root's, readable by all (default: the one under this command).",
)
def install(
    *,
    prefix: Path | None,
    plugstack: Path | None,
    stores: tuple[Path, ...],
    slurm_include: Path | None,
    python: Path | None,
) -> None:
    """Install bareboat and its Slurm plugin, built for the Slurm of this site.

    Nothing is fetched: what runs here is copied.  An older installation in the same place is replaced.
    """
    import os

    from slurm import install as work

    record = work.install(
        work.default_prefix() if prefix is None else prefix.absolute(),
        environment=os.environ,
        plugstack_file=None if plugstack is None else plugstack.absolute(),
        stores=[store.absolute() for store in stores],
        slurm_include=None if slurm_include is None else slurm_include.absolute(),
        python=None if python is None else python.absolute(),
        progress=lambda text: click.echo(f"install: {text}", err=True),
    )
    click.echo(
        f"bareboat {record.version} is installed in {record.prefix}, for Slurm {record.slurm_version}."
    )
    click.echo(work.describe_rest(record))


@slurm.command()
@_prefix
def uninstall(*, prefix: Path | None) -> None:
    """Take an installation away, with its line in plugstack.conf, and leave no trace."""
    from slurm import install as work

    record = work.uninstall(work.default_prefix() if prefix is None else prefix.absolute())
    click.echo(f"bareboat {record.version} is gone from {record.prefix} and from {record.plugstack}.")


@slurm.command()
@_prefix
@click.option("--nodes", is_flag=True, help="Ask every node, by a step that runs there.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def status(*, prefix: Path | None, nodes: bool, as_json: bool) -> None:
    """Is bareboat installed, and does it fit the Slurm that runs?  Exit code 125 if something does not."""
    import os

    from slurm import status as look
    from slurm.install import default_prefix

    place = default_prefix() if prefix is None else prefix.absolute()
    here = look.examine(place, os.environ)
    if as_json:
        click.echo(look.to_json(here))
        raise SystemExit(0 if here.is_good else FAILED)
    for finding in here.findings:
        click.echo(f"{'ok ' if finding.good else 'BAD'}  {finding.text}")
        if not finding.good and finding.hint:
            click.echo(f"     to do: {finding.hint}")
    answers = look.ask_nodes(place, here, os.environ) if nodes else ()
    if answers:
        click.echo("")
        click.echo(look.to_table(answers))
    good = here.is_good and not any(answer.problem for answer in answers)
    raise SystemExit(0 if good else FAILED)
