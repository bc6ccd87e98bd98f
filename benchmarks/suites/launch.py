"""How long a launch takes, over nodes and ranks: bare, in containers, and by other engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.engines import find_engines
from benchmarks.errors import BenchError
from benchmarks.osu import parse_hello
from benchmarks.progress import Progress
from benchmarks.results import Derived, Results, Row, SideFacts
from benchmarks.rounds import Measured, measure
from benchmarks.runner import Allocation, run_step
from benchmarks.schedule import Side, make_schedule
from benchmarks.stats import MIN_ROUNDS, Better, Outcome, Point, Verdict, compare, fit_added, judge
from benchmarks.suites.common import Target, allocate_for, choose_nodes, find_on_host, kind_of, make_setting
from benchmarks.suites.ways import BARE, Image, Program, Tried, Way, make_ways, try_ways

DEFAULT_IMAGE_BIN = "/opt/bareboat-tests/bin"


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """ranks: of the whole step; program: a path or name, found on each side by itself.

    engines: other engines, None: all that work here; cold: bareboat without its kept plans, too; bare_bin:
    the host's directory of mpi_hello, None: MPI is not measured; image_bin: the image's; mpi: srun's --mpi,
    None: the cluster's default.
    """

    target: Target
    images: tuple[Image, ...]
    ranks: tuple[int, ...] = (1, 4, 16)
    program: str = "true"
    engines: tuple[str, ...] | None = ()
    cold: bool = False
    bare_bin: str | None = None
    image_bin: str = DEFAULT_IMAGE_BIN
    mpi: str | None = None

    @property
    def programs(self) -> tuple[Program, ...]:
        """What is started."""
        nothing = Program("launch", self.program, self.program)
        if self.bare_bin is None:
            return (nothing,)
        hello = (f"{self.bare_bin}/mpi_hello", f"{self.image_bin}/mpi_hello")
        return nothing, Program("MPI start and end", *hello, mpi=True)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a step: nodes, and ranks of the whole step; what it starts."""

    nodes: int
    ranks: int
    title: str = "launch"

    def __str__(self) -> str:
        return f"{self.title}, {_nodes(self.nodes)}, {self.ranks} {'rank' if self.ranks == 1 else 'ranks'}"


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: milliseconds of wall time, and the MPI library that answered ("": none was asked)."""

    ms: float
    library: str = ""


def run_launch(options: LaunchOptions, progress: Progress) -> Results:
    """Measure launch times in the present allocation, or in one of its own.

    Run it inside `benchmarks.runner.stop_on_signals` to keep what is measured when the user stops it.
    Raises BenchError when nothing can be measured, Stopped when stopped before the first run.
    """
    target = options.target
    if options.mpi is not None:
        srun_options = (*target.client.srun_options, f"--mpi={options.mpi}")
        target = replace(target, client=replace(target.client, srun_options=srun_options))
    for image in options.images:
        kind_of(image.path)  # before anything is started
    engines = find_engines(target.client, options.engines)
    ways = make_ways(options.images, engines, cold=options.cold)
    programs = {program.title: program for program in options.programs}
    for program in programs.values():
        find_on_host(target.client, program.bare)
    with allocate_for(target, progress) as allocation:
        counts = choose_nodes((1, target.nodes or len(allocation.nodes)), allocation)
        shapes = make_shapes(counts, options.ranks, tuple(programs))
        tried = try_ways(
            ways,
            tuple(programs.values()),
            target,
            allocation,
            nodes=max(counts),
            required=options.engines is not None,
            progress=progress,
        )
        turns = make_schedule(
            shapes, tuple(tried.paths), rounds=target.rounds, warmup=target.warmup, seed=target.seed
        )
        progress.begin("launch", len(turns))

        def run(shape: Shape, way: Way) -> Launch:
            program = programs[shape.title]
            step = way.step(shape.nodes, shape.ranks, (tried.paths[way][program],), target.limit)
            output = run_step(target.client, allocation, step)
            library = read_library(output.stdout, shape) if program.mpi else ""
            return Launch(output.seconds * 1e3, library)

        measured = measure(turns, run, BARE, progress)
        return analyse_launch(measured, tried, options, allocation)


def make_shapes(
    nodes: Sequence[int], ranks: Sequence[int], titles: Sequence[str] = ("launch",)
) -> tuple[Shape, ...]:
    """Combine nodes and ranks; a step has at least a rank on each of its nodes.  Pure.

    Raises BenchError for a number below 1, or none.
    """
    if not ranks or min(ranks) < 1 or not nodes or min(nodes) < 1:
        raise BenchError(
            f"{_join(ranks)} ranks on {_join(nodes)} nodes cannot be run", hint="give numbers from 1 up"
        )
    pairs = sorted({(count, max(count, rank)) for count in nodes for rank in ranks})
    return tuple(Shape(*pair, title) for title in titles for pair in pairs)


def read_library(text: str, shape: Shape) -> str:
    """Read mpi_hello's output: the library that all ranks used.  Pure.

    Raises BenchError when the ranks were not one MPI_COMM_WORLD of the step's size.
    """
    ranks = parse_hello(text)
    if len(ranks) != shape.ranks:
        raise BenchError(f"{shape}: MPI_COMM_WORLD had {len(ranks)} ranks, not {shape.ranks}")
    return " | ".join(sorted({rank.library for rank in ranks}))


def analyse_launch(
    measured: Measured[Shape, Way, Launch], tried: Tried, options: LaunchOptions, allocation: Allocation
) -> Results:
    """Say what the times come to.  Pure."""
    seed = options.target.seed
    ways = [way for way in tried.paths if way != BARE]
    names = _sides(ways)
    found = {key: pairs for key, pairs in measured.pairs.items() if pairs}
    shapes = list(dict.fromkeys(shape for shape, _ in measured.pairs))
    order = sorted(
        shapes,
        key=lambda shape: ([p.title for p in options.programs].index(shape.title), shape.nodes, shape.ranks),
    )
    rows = [
        _make_row(shape, names[way], found[shape, way], seed)
        for shape in order
        for way in ways
        if (shape, way) in found
    ]
    groups = dict.fromkeys((shape.title, shape.nodes) for shape in order)
    derived = [
        figure
        for title, nodes in groups
        for way in ways
        for figure in _derive(
            {
                shape: pairs
                for (shape, other), pairs in found.items()
                if (shape.title, shape.nodes, other) == (title, nodes, way) and not _difference(pairs, "")
            },
            names[way],
            seed,
        )
    ]
    first = options.programs[0]
    return Results(
        suite="launch",
        setting=make_setting(options.target, ", ".join(image.path for image in options.images), allocation),
        rows=tuple(rows),
        derived=tuple(derived),
        sides=_libraries(found, names),
        commands=tuple(way.command(paths[first]) for way, paths in tried.paths.items())
        if len(ways) > 1
        else (),
        failures=(*tried.failures, *measured.failures),
        notes=tried.notes,
        stopped=measured.stopped,
    )


def _sides(ways: Sequence[Way]) -> dict[Way, str]:
    """What ways are called in results: a single one is simply the container."""
    return {way: way.name if len(ways) > 1 else Side.CONTAINER for way in ways}


def _make_row(shape: Shape, side: str, pairs: Sequence[tuple[Launch, Launch]], seed: int) -> Row:
    bare, container = tuple(pair[0].ms for pair in pairs), tuple(pair[1].ms for pair in pairs)
    difference = _difference(pairs, side)
    comparison = None if difference else compare(bare, container, seed=seed)
    return Row(
        metric=str(shape),
        unit="ms",
        better=Better.LOWER,
        nodes=shape.nodes,
        ranks=shape.ranks,
        message_bytes=None,
        bare=bare,
        container=container,
        comparison=comparison,
        verdict=judge(comparison, Better.LOWER)
        if comparison
        else Verdict(Outcome.NOT_COMPARED, reason=difference),
        side=side,
    )


def _difference(pairs: Sequence[tuple[Launch, Launch]], side: str) -> str:
    """Say why a side must not be compared: it started another MPI library than bare; "" if it did not."""
    bare, other = (" | ".join(sorted({pair[at].library for pair in pairs})) for at in range(2))
    return f"bare used {bare}, {side} {other}" if bare != other else ""


def _libraries(
    found: Mapping[tuple[Shape, Way], Sequence[tuple[Launch, Launch]]], names: Mapping[Way, str]
) -> tuple[SideFacts, ...]:
    """Which MPI library each side started, where one was."""
    used: dict[tuple[str, str], set[str]] = {}
    for (shape, way), pairs in found.items():
        for bare, other in pairs:
            used.setdefault((shape.title, Side.BARE), set()).add(bare.library)
            used.setdefault((shape.title, names[way]), set()).add(other.library)
    return tuple(
        SideFacts(side, title, " | ".join(sorted(libraries)), "unknown", "its transport is not measured here")
        for (title, side), libraries in used.items()
        if libraries != {""}
    )


def _derive(
    cells: Mapping[Shape, Sequence[tuple[Launch, Launch]]], side: str, seed: int
) -> tuple[Derived, ...]:
    """Added time = once a node + for each rank on it (of one node, as nodes enter side by side)."""
    # A cell that ended early lacks the last rounds; the first ones are of the same rounds everywhere.
    rounds = min((len(pairs) for pairs in cells.values()), default=0)
    if len(cells) < 2 or rounds < MIN_ROUNDS:
        return ()
    points = [
        Point(
            x=shape.ranks / shape.nodes,
            bare=tuple(pair[0].ms for pair in pairs[:rounds]),
            container=tuple(pair[1].ms for pair in pairs[:rounds]),
        )
        for shape, pairs in cells.items()
    ]
    line = fit_added(points, seed=seed)
    shape = next(iter(cells))
    of = "" if shape.title == "launch" else f"{shape.title}: "
    return (
        Derived(f"{of}added time a node ({_nodes(shape.nodes)})", "ms", line.start, side),
        Derived(f"{of}added time a rank of a node ({_nodes(shape.nodes)})", "ms", line.slope, side),
    )


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers) or "no"
