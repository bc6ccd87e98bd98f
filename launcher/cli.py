"""The command ``bareboat``.  The only module of the launcher, beside ``step``, that prints or exits."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from launcher.config import SiteConfig
    from mpi_abi.rootfs import RootView

# Command: (module, attribute, what its line in the help says).  Imported when it is asked for: each of these
# costs more than the whole of a help page.
_ELSEWHERE = {
    "abi": ("mpi_abi.cli", "abi", "Does this host's MPI fit an image, and why."),
    "bench": ("benchmarks.cli", "bench", "Measure container against bare metal."),
    "demo": ("launcher.demo", "demo", "Two Slurm nodes, an image and a measurement, on this machine."),
    "slurm": ("slurm.cli", "slurm", "Install the plugin into Slurm, and ask after it."),
    "testbed": ("slurm.cli", "testbed", "A throwaway Slurm of several nodes on this machine."),
}

# Commands of ours in such a group: what takes a launch is no part of a package that knows none.
_ADDED = {"abi": {"selftest": ("launcher.selftest", "selftest")}}


class ExtendedGroup(click.Group):
    """The group of a package with commands of ours, (module, attribute) by name, imported on use."""

    def __init__(self, group: click.Group, added: dict[str, tuple[str, str]]) -> None:
        super().__init__(group.name, commands=group.commands, help=group.help)
        self._added = added

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self._added])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._added:
            return super().get_command(ctx, cmd_name)
        module, attribute = self._added[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None


class LazyGroup(click.Group):
    """A group whose foreign commands are imported on use and listed without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = _ELSEWHERE[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        if isinstance(command, click.Group) and cmd_name in _ADDED:
            return ExtendedGroup(command, _ADDED[cmd_name])
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = {name: command.get_short_help_str() for name, command in self.commands.items()}
        foreign = {name: text for name, (_, _, text) in _ELSEWHERE.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted({**own, **foreign}.items()))


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        text = version("bareboat")
    except PackageNotFoundError:
        text = "(not installed)"
    click.echo(f"bareboat {text}")
    context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
@click.pass_context
def bareboat(context: click.Context) -> None:
    """Run MPI programs from container images at the speed of the bare machine.

    Under Slurm: srun --container=IMG app
    """
    context.obj = _open_image
    # click asks for a default when it needs one: only then is the configuration read.
    known = {"site": lambda: _configured().mpi_prefixes, "site_only": lambda: not _configured().mpi_search}
    context.default_map = {"abi": dict.fromkeys(("check", "host", "selftest", "why"), known)}


def _open_image(name: str) -> AbstractContextManager[RootView]:
    """Open images for the groups of packages that may not know the launcher."""
    from launcher.image.root import open_view

    return open_view(name, environment=os.environ, cwd=_cwd())


def _configured() -> SiteConfig:
    """What the site's configuration says, for the groups of packages that may not know the launcher."""
    from launcher.config import find_config, read_config

    path, asked = find_config(os.environ)
    return read_config(path, required=asked)


def _without_dashes(
    _context: click.Context, _parameter: click.Parameter, program: tuple[str, ...]
) -> tuple[str, ...]:
    """Drop the "--" between image and program, which click leaves since options end at the image."""
    return program[1:] if program[:1] == ("--",) else program


def _launch_options(command: Any) -> Any:
    """Add the flags that ``run`` and ``plan`` share."""
    options = (
        click.option(
            "--mount", "mounts", multiple=True, metavar="SRC[:DST[:ro]]", help="Show SRC of the host at DST."
        ),
        click.option(
            "--device",
            "devices",
            multiple=True,
            metavar="VENDOR/CLASS=NAME,...",
            help="Devices, by CDI names.",
        ),
        click.option("--mpi", metavar="MODE", help="Whose MPI: auto, host, image or force."),
        click.option(
            "--without", multiple=True, metavar="PART,...", help="Leave parts of the host's view out."
        ),
        click.option("--config", metavar="FILE", help="Site configuration instead of the installed one."),
        click.argument("image"),
        click.argument("program", nargs=-1, type=click.UNPROCESSED, callback=_without_dashes),
    )
    for option in reversed(options):
        command = option(command)
    return command


@bareboat.command(context_settings={"allow_interspersed_args": False})
@_launch_options
def run(
    image: str,
    program: tuple[str, ...],
    *,
    mounts: tuple[str, ...],
    devices: tuple[str, ...],
    mpi: str | None,
    without: tuple[str, ...],
    config: str | None,
) -> None:
    """Run PROGRAM from IMAGE, without Slurm: bareboat run IMG -- app ARG..."""
    if not program:
        raise click.UsageError("no program was named: bareboat run IMG -- app ARG...")
    from launcher.apply import run as enter
    from launcher.launch import Options, prepare

    options = Options(config=config, mounts=mounts, devices=devices, mpi=mpi, without=without)
    plan = prepare(image, program, environment=os.environ, cwd=_cwd(), options=options)
    for warning in plan.warnings:
        click.echo(f"bareboat: warning: {warning}", err=True)
    for text in plan.announcements:
        click.echo(f"bareboat: {text}", err=True)
    enter(plan.encode(), program)


@bareboat.command("plan", context_settings={"allow_interspersed_args": False})
@click.option("--json", "as_json", is_flag=True, help="Print JSON (with its schema's version).")
@_launch_options
def show_plan(
    image: str,
    program: tuple[str, ...],
    *,
    mounts: tuple[str, ...],
    devices: tuple[str, ...],
    mpi: str | None,
    without: tuple[str, ...],
    config: str | None,
    as_json: bool,
) -> None:
    """Print what a launch of IMAGE would do, doing nothing of it.

    Every mount, file and change to the environment, each with its reason: bareboat plan IMG [-- app]
    """
    from launcher.explain import to_json, to_text
    from launcher.launch import Options, prepare

    options = Options(config=config, mounts=mounts, devices=devices, mpi=mpi, without=without)
    plan = prepare(image, program, environment=os.environ, cwd=_cwd(), options=options, needs_program=False)
    text = to_json(plan) if as_json else to_text(plan)
    click.echo(text.encode())  # as UTF-8, whatever the locale


@bareboat.command()
@click.option("--config", metavar="FILE", help="Site configuration instead of the installed one.")
def doctor(config: str | None) -> None:
    """Try each prerequisite once, and say how to mend what fails."""
    from launcher.doctor import examine, failed, to_text

    results = examine(os.environ, config=config)
    click.echo(to_text(results))
    sys.exit(125 if failed(results) else 0)


def _cwd() -> str:
    from launcher.errors import BareboatError

    try:
        return str(Path.cwd())
    except OSError as error:
        raise BareboatError(
            f"cannot find the working directory: {error.strerror}",
            hint="it was removed; change to another one",
        ) from error


def main() -> None:
    """Run the command; every known error becomes a message and its exit code."""
    try:
        # Not standalone: click would take SystemExit's place and hide our codes.
        code = bareboat.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader went (bareboat plan | head): what is left has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        from launcher.messages import describe, exit_code, known_errors

        if not isinstance(error, known_errors()):
            raise
        sys.stderr.write(describe(error))
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
