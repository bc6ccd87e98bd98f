"""Start and end of a step, bare and in the container, as cases."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import (
    BARE,
    CONTAINER,
    Asked,
    Case,
    Command,
    Facts,
    Figure,
    Ground,
    Offer,
    Reading,
)
from benchmarks.errors import BenchError
from benchmarks.osu import parse_hello
from benchmarks.runner import Output
from benchmarks.stats import Better

NAME = "launch"
COLD = "container, cold"
_REPLAN = (("BAREBOAT_REPLAN", "1"),)
_HELLO = "mpi_hello"


def wanted(_asked: Asked) -> tuple[str, ...]:
    """What starts and ends MPI, and does nothing else."""
    return (_HELLO,)


def offer(ground: Ground) -> Offer:
    """A program that does nothing, and MPI's start and end, over ranks and nodes; the container also cold."""
    cases = []
    for nodes in ground.nodes:
        for ranks in _ranks(ground, nodes):
            bare = Command(("true",))
            sides = {BARE: bare, CONTAINER: Command(("true",), ground.image)}
            sides |= {side: Command(("true",), path) for side, path in ground.asked.forms}
            sides[COLD] = Command(("true",), ground.image, variables=_REPLAN)
            cases.append(Case(NAME, "true", nodes, ranks, sides, read_launch, mpi=False, whole=True))
        if (BARE, _HELLO) in ground.programs:
            ranks = _ranks(ground, nodes)[-1]
            commands = ground.commands(_HELLO)
            cases.append(
                Case(NAME, "MPI start and end", nodes, ranks, commands, make_reader(ranks), whole=True)
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
