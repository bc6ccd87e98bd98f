"""Start and end of a step, bare, in the container and by other engines, as cases."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import BARE, Asked, Case, Facts, Figure, Ground, Offer, Reading
from benchmarks.errors import BenchError
from benchmarks.probe_output import parse_hello
from benchmarks.runner import Output
from benchmarks.stats import Better

NAME = "launch"
NOTHING = "true"
_MPI = "MPI start and end"
_HELLO = "mpi_hello"


def wanted(asked: Asked) -> tuple[str, ...]:
    """What starts and ends MPI, and does nothing else."""
    return (_HELLO,) if not asked.only or _MPI in asked.only else ()


def offer(ground: Ground) -> Offer:
    """A program that does nothing, by every way, over ranks and nodes; and MPI's start and end."""
    commands = {way.name: way.command(NOTHING) for way in ground.ways}
    cases: list[Case] = []
    for nodes in ground.nodes:
        ranks = _ranks(ground, nodes)
        # Bare alone is no comparison; the other suites go on.
        for count in ranks if len(commands) > 1 else ():
            cases.append(Case(NAME, NOTHING, nodes, count, commands, read_launch, mpi=False, whole=True))
        if (BARE, _HELLO) in ground.programs:
            most = ranks[-1]
            cases.append(
                Case(NAME, _MPI, nodes, most, ground.commands(_HELLO), make_reader(most), whole=True)
            )
    return Offer(tuple(cases))


def read_launch(output: Output) -> Reading:
    """The wall time of srun.  Pure."""
    return Reading((Figure("wall time", output.seconds * 1e3, "ms", Better.LOWER),))


def make_reader(ranks: int) -> Callable[[Output], Reading]:
    """The same of a step of mpi_hello, whose ranks must have found each other.  Pure."""

    def read(output: Output) -> Reading:
        found = parse_hello(output.stdout)
        if len(found) != ranks:
            raise BenchError(f"MPI_COMM_WORLD had {len(found)} ranks, not {ranks}")
        library = " | ".join(sorted({rank.library for rank in found}))
        return Reading(read_launch(output).figures, Facts(library=library))

    return read


def _ranks(ground: Ground, nodes: int) -> tuple[int, ...]:
    counts = ground.asked.ranks or (1, ground.cpus_per_node * nodes)
    return tuple(sorted({max(nodes, count) for count in counts}))
