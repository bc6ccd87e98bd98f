"""``bareboat abi selftest``: a known program in real steps, and what they say about MPI in an image."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.errors import BareboatError
from launcher.messages import describe
from launcher.selffindings import Evidence, Finding, Outcome, find
from launcher.selfplace import working_directory

if TYPE_CHECKING:
    from benchmarks.probe_output import Table
    from benchmarks.runner import Allocation, Client
    from mpi_abi import HostMpi
    from mpi_abi.mpilib import MpiLibrary
    from mpi_abi.rootfs import Opener

PROGRAMS = ("mpi_hello", "mpi_latency")
FAILED = 1
"""Exit code where something does not work as it should."""
_MOST_STEPS, _TO_END, _BESIDE = 3, 15, 60
"""Steps in all, seconds that one may take to end after its limit, and seconds for the rest."""
_LATENCY = ("latency", "-m", "65536:65536", "-i", "100", "-x", "10")


@dataclass(frozen=True, slots=True)
class _Way:
    """The host's MPI that the steps are to get, in the place of which ``library`` of the image.

    ``mpi`` is the type for ``srun --mpi`` (None: the cluster's default).
    """

    host: HostMpi
    library: MpiLibrary
    mpi: str | None


@dataclass(frozen=True, slots=True)
class _Steps:
    client: Client
    allocation: Allocation
    image: str
    programs: Path
    mpi: str | None
    limit: float

    def run(self, nodes: int, ranks: int, *argv: str, **variables: str) -> tuple[str, str]:
        """Run a program of ours in the image; standard output and error."""
        from benchmarks.runner import Step, run_step

        step = Step(
            nodes,
            ranks,
            self.image,
            (str(self.programs / argv[0]), *argv[1:]),
            self.limit,
            options=(f"--mpi={self.mpi}",) if self.mpi else (),
            variables=tuple(variables.items()),
        )
        done = run_step(self.client, self.allocation, step)
        return done.stdout, done.stderr


@click.command()
@click.argument("image", type=click.Path())
@click.option(
    "--nodes", type=click.IntRange(min=1), help="Nodes to use (default: all of the allocation, or 2)."
)
@click.option("--ranks", type=click.IntRange(min=2), help="Ranks of the first step (default: 2 a node).")
@click.option("--mpi", metavar="TYPE", help="srun's --mpi (default: what the host's MPI speaks).")
@click.option("--prefix", "--host", "prefixes", multiple=True, help="A host MPI to look at first.")
@click.option("--site-prefix", "site", multiple=True, hidden=True)
@click.option("--site-only", is_flag=True, hidden=True)
@click.option(
    "--dir", "place", metavar="DIR", help="Where the program is put; all nodes see it (default: home)."
)
@click.option(
    "--limit", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Seconds a step."
)
@click.option("--srun-option", "srun_options", multiple=True, help="A further option for srun; repeatable.")
@click.option("--salloc-option", "salloc_options", multiple=True, help="The same for salloc.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def selftest(
    opener: Opener | None,
    image: str,
    *,
    nodes: int | None,
    ranks: int | None,
    mpi: str | None,
    prefixes: tuple[str, ...],
    site: tuple[str, ...],
    site_only: bool,
    place: str | None,
    limit: float,
    srun_options: tuple[str, ...],
    salloc_options: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a known MPI program in IMAGE through Slurm, and say what it met there.

    It is compiled with this host's own MPI compiler, and tells the library that answers, whether
    MPI_COMM_WORLD is the step, which way messages take inside a node and between nodes (by counters), and
    whether the ranks can share memory.

    Exit code: 0 all as it should be, 1 something is not; 3, 4, 5 as of abi check where the image does not
    take this host's MPI; 125 if it could not be tried.
    """
    from benchmarks.errors import BenchError
    from benchmarks.runner import Client, Stopped, stop_on_signals
    from mpi_abi import AbiError
    from mpi_abi.ask import ask_version

    image = os.path.abspath(image)  # noqa: PTH100 (an image is a name; links in it stay)
    client = Client(os.environ, srun_options=srun_options, salloc_options=salloc_options)
    try:
        hosts = (*map(os.path.abspath, prefixes), *site)
        way = _choose(opener, image, hosts, mpi, search=not site_only)
        with stop_on_signals(), _programs(opener, image, way, place) as programs:
            evidence = _gather(client, image, programs, way.mpi, nodes=nodes, ranks=ranks, limit=limit)
        evidence = replace(evidence, answer=ask_version(way.host.c_library.host_path).line)
    except (AbiError, BenchError, BareboatError) as error:
        click.echo(describe(error), err=True, nl=False)
        sys.exit(125)
    except Stopped as stopped:
        sys.exit(128 + stopped.number)
    findings = find(evidence, host=way.host.title)
    _print(image, way, findings, as_json=as_json)
    sys.exit(FAILED if any(one.outcome is Outcome.FAILS for one in findings) else 0)


def _choose(
    opener: Opener | None, image: str, order: tuple[str, ...], mpi: str | None, *, search: bool
) -> _Way:
    """Judge the image; ends the command with the verdict's code where the host's MPI does not fit."""
    from mpi_abi import Judge, VerdictKind
    from mpi_abi.pmi import PmiAdvice, spoken_by
    from mpi_abi.report import EXIT_CODES
    from mpi_abi.rootfs import open_directory
    from mpi_abi.srun import ask_srun

    with (opener or open_directory)(image) as view:
        judged = Judge(order, search=search).judge(view, None)
    verdict, host, closure, library = judged.verdict, judged.host, judged.closure, judged.image.library()
    if verdict.kind is not VerdictKind.NATIVE or host is None or closure is None or library is None:
        reasons = "; ".join(reason.text for reason in verdict.reasons)
        click.echo(f"bareboat: error: {image} does not take this host's MPI: {reasons}", err=True)
        click.echo(f"bareboat: hint: bareboat abi check {image}", err=True)
        sys.exit(EXIT_CODES[verdict.kind])
    use = mpi or PmiAdvice(host.title, spoken_by(host, closure), ask_srun()).use or None
    return _Way(host, library, use)


@contextmanager
def _programs(opener: Opener | None, image: str, way: _Way, place: str | None) -> Iterator[Path]:
    """Compile the programs where all nodes find them; they are gone afterwards.

    They name the image's library, as its own programs do: that may have another name than the host's, or lie
    where the loader does not look.
    """
    from benchmarks.programs import compile_programs, link_with
    from mpi_abi.rootfs import open_directory

    try:
        # The steps may run in another directory.
        top = Path(place or Path.home()).absolute()
    except RuntimeError as error:
        raise BareboatError(
            "cannot tell where to put the program: you have no home directory",
            hint="name a directory, which all nodes see, with --dir",
        ) from error
    with ExitStack() as made:
        try:
            directory = made.enter_context(working_directory(top))
        except OSError as error:
            raise BareboatError(
                f"cannot make a directory for the program in {top}: {error.strerror}",
                hint="name another one, which all nodes see, with --dir",
            ) from error
        copy = directory / way.library.path.rpartition("/")[2]
        try:
            with (opener or open_directory)(image) as view:
                shutil.copyfile(view.resolve(way.library.path) or "", copy)
        except OSError as error:
            raise BareboatError(
                f"cannot copy the image's {way.library.path} to {top}: {error.strerror}"
            ) from error
        link = link_with(copy, way.library.path.rpartition("/")[0] or "/")
        compile_programs(way.host, PROGRAMS, directory, link=link)
        copy.unlink()
        yield directory


def _gather(
    client: Client,
    image: str,
    programs: Path,
    mpi: str | None,
    *,
    nodes: int | None,
    ranks: int | None,
    limit: float,
) -> Evidence:
    from benchmarks.probe_output import parse_hello
    from benchmarks.progress import Silent
    from benchmarks.runner import allocate
    from launcher.checklines import read_values

    with allocate(client, nodes=nodes, minutes=needed_minutes(limit), progress=Silent()) as allocation:
        steps = _Steps(client, allocation, image, programs, mpi, limit)
        count = nodes or len(allocation.nodes)
        asked = ranks or 2 * count
        stdout, stderr = steps.run(count, asked, "mpi_hello", BAREBOAT_CHECK="1")
        lines = [read for line in stderr.splitlines() if (read := read_values(line))]
        return Evidence(
            ranks=asked,
            nodes=count,
            hello=parse_hello(stdout),
            checked={rank: values for _, rank, values in lines},
            warnings=tuple(line for line in stderr.splitlines() if ": warning: " in line),
            inside=_exchange(steps, 1),
            between=_exchange(steps, 2) if count > 1 else None,
        )


def needed_minutes(limit: float) -> int:
    """Minutes that all steps may take, each ``limit`` seconds: if we are killed, Slurm ends them then."""
    return -(-int(_MOST_STEPS * (limit + _TO_END) + _BESIDE) // 60)


def _exchange(steps: _Steps, nodes: int) -> Table:
    from benchmarks.probe_output import parse_table

    return parse_table(steps.run(nodes, 2, "mpi_latency", *_LATENCY)[0])


def _print(image: str, way: _Way, findings: tuple[Finding, ...], *, as_json: bool) -> None:
    if as_json:
        document: Mapping[str, object] = {
            "schema": 1,
            "image": image,
            "host": {"title": way.host.title, "library": way.host.c_library.path},
            "mpi": way.mpi,
            "findings": [
                {"what": one.what, "outcome": one.outcome.value, "text": one.text, "hint": one.hint}
                for one in findings
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"image    {image}")
    click.echo(f"host     {way.host.title} ({way.host.c_library.path}), srun --mpi={way.mpi or 'default'}")
    for one in findings:
        click.echo(f"{one.outcome.value:8} {one.what}: {one.text}")
        if one.hint:
            click.echo(f"         hint: {one.hint}")
