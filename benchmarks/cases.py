"""What a suite is: programs that it wants made, and cases that the engine runs in turns.  Pure.

A suite never starts a process.  It says what is to be run, and how the output of one run is read; the engine
(`benchmarks.engine`) decides when, and keeps what came out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from benchmarks.errors import BenchError
from benchmarks.results import Failure
from benchmarks.runner import Output, Step
from benchmarks.stats import Better

BARE = "bare"
"""The side that all others of a case are compared with."""

CONTAINER = "container"


class Level(StrEnum):
    """How much is measured."""

    QUICK = "quick"
    """All suites in less than 10 minutes on two cores."""
    NORMAL = "normal"
    FULL = "full"
    """All programs, all sizes, larger classes: hours."""


class Language(StrEnum):
    """What the built-in programs are written in."""

    C = "c"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one run.

    key: which of the run's columns it is ("latency", "overlap"), the same in each run; message_bytes: the
    row it stands in, None where the program has no sizes.
    Raises BenchError for a value that is not finite and above 0, of which there is no ratio.
    """

    key: str
    value: float
    unit: str
    better: Better
    message_bytes: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value > 0):
            raise BenchError(f"{self.key} is {self.value}: only values above 0 can be compared")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run itself says that it used; "": it does not say, and the probe of its side and place holds.

    work: what it did, where that must be the same on all sides ("read 12 files, 3456 bytes").
    """

    library: str = ""
    digest: str = ""
    transport: str = ""
    work: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one run's output comes to."""

    figures: tuple[Figure, ...]
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """How a side runs a case.

    image None: bare; options: further ones of srun; variables: set beside the job's; directory: where it
    runs, "": where the measurement does.
    """

    argv: tuple[str, ...]
    image: str | None = None
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    directory: str = ""

    def step(self, nodes: int, ranks: int, limit: float, *, title: str = "") -> Step:
        """The step that runs it.  Pure."""
        return Step(
            nodes, ranks, self.image, self.argv, limit, self.options, self.variables, title, self.directory
        )


@dataclass(frozen=True, slots=True)
class Way:
    """How a side starts any program: its name in tables, and what it puts where in srun's command.

    image: of srun's --container, None: bare, or another engine's affair; before: stands in front of the
    program; options: srun's; variables: of the environment; peer: it is another container engine, of this
    version ("": it does not say).
    """

    name: str
    image: str | None = None
    before: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    peer: bool = False
    version: str = ""

    def command(self, *argv: str) -> Command:
        """What starts a program this way.  Pure."""
        return Command((*self.before, *argv), self.image, self.options, self.variables)

    def step(self, nodes: int, ranks: int, argv: tuple[str, ...], limit: float) -> Step:
        """The step that starts a program this way.  Pure."""
        title = f"{argv[0]} by {self.name}" if self.peer else ""
        return self.command(*argv).step(nodes, ranks, limit, title=title)


@dataclass(frozen=True, slots=True)
class Case:
    """One program with one set of arguments in one shape, to be run in turns on all of its sides.

    title: the program as its suite names it ("osu_latency", "cg.S"), which with nodes and ranks is unique in
    the suite; ranks: of the whole step; commands: by side, with `BARE` among them; parse: reads the output of
    one run (that ended with code 0) and raises BenchError for anything that is not a good result: a wrong
    verification, a missing size, garbage; mpi: it is an MPI program, whose library and transport matter;
    whole: its end belongs to what is measured, or its output does not show that it is all, so that a run that
    hangs has no result.
    """

    suite: str
    title: str
    nodes: int
    ranks: int
    commands: Mapping[str, Command]
    parse: Callable[[Output], Reading] = field(compare=False)
    mpi: bool = True
    whole: bool = False

    @property
    def key(self) -> str:
        """What it is called in records and messages."""
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        ranks = "1 rank" if self.ranks == 1 else f"{self.ranks} ranks"
        return f"{self.title}, {nodes}, {ranks}"


@dataclass(frozen=True, slots=True)
class AppMetric:
    """A figure that a user's program prints: the last match of the pattern's one group."""

    name: str
    pattern: str
    unit: str
    better: Better


@dataclass(frozen=True, slots=True)
class App:
    """A user's program, and where it is run; bare: the words of the bare side, () where they are the same."""

    argv: tuple[str, ...]
    directory: str
    metrics: tuple[AppMetric, ...] = ()
    bare: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked of the suites.

    osu and npb: directories of a site's own programs, bare and in the image ("" for the image: the bare
    side's are used there too), None: the built-in ones; forms: the same image in other forms, as (side,
    path), for launches and for what reads from the image; only: titles of cases, (): all of the level; app:
    the program of suite "app".  Of launches alone: label, what the image's side is called ("": the
    container); engines, other container engines by name, None: all that work here; cold, without kept plans
    as well.
    """

    level: Level = Level.NORMAL
    language: Language = Language.C
    ranks: tuple[int, ...] = ()
    osu: tuple[str, str] | None = None
    npb: tuple[str, str] | None = None
    forms: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    app: App | None = None
    label: str = ""
    engines: tuple[str, ...] | None = ()
    cold: bool = True


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the cases will run.

    image: its path; nodes: the numbers of nodes to measure on, ascending, for example (1, 2); cpus_per_node:
    processors; programs: (side, name as of `benchmarks.programs`) -> path on that side; options: srun's, for
    MPI programs; scratch: a directory of the host that all nodes and the container see under the same path;
    ways: those of the launches, bare first.
    """

    asked: Asked
    image: str
    nodes: tuple[int, ...]
    cpus_per_node: int
    programs: Mapping[tuple[str, str], str]
    options: tuple[str, ...] = ()
    scratch: str = ""
    ways: tuple[Way, ...] = ()

    @property
    def side(self) -> str:
        """What the image's side is called."""
        return self.asked.label or CONTAINER

    def commands(self, name: str, *arguments: str) -> dict[str, Command]:
        """The same program on both sides."""
        bare, inside = (self.programs[side, name] for side in (BARE, CONTAINER))
        return {
            BARE: Command((bare, *arguments), None, self.options),
            self.side: Command((inside, *arguments), self.image, self.options),
        }


@dataclass(frozen=True, slots=True)
class Offer:
    """A suite's cases, and what it had to leave out, with the reason."""

    cases: tuple[Case, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


class Suite(Protocol):
    """A module of ``benchmarks/suites`` with these two functions; `benchmarks.suites.SUITES` names them."""

    @staticmethod
    def wanted(asked: Asked) -> tuple[str, ...]:
        """Names of the programs (`benchmarks.programs.source_of`) that are to be compiled for it.  Pure."""

    @staticmethod
    def offer(ground: Ground) -> Offer:
        """The cases.  Reads at most the files of the programs.  Raises BenchError where there can be none."""
