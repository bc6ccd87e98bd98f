"""How long a launch takes: ``srun true`` bare and in the container, over nodes and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.results import Derived, Results, Row
from benchmarks.runner import Allocation, Measured, Step, measure, run_step
from benchmarks.schedule import Side, make_schedule
from benchmarks.stats import MIN_ROUNDS, Better, Point, compare, fit_added, judge
from benchmarks.suites.common import (
    Target,
    allocate_for,
    choose_nodes,
    find_in_image,
    find_on_host,
    image_of,
    make_setting,
    open_image,
    require_inside,
)


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """ranks: of the whole step; program: a path or name, found on each side by itself."""

    target: Target
    ranks: tuple[int, ...] = (1, 4, 16)
    program: str = "true"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a step: nodes, and ranks of the whole step."""

    nodes: int
    ranks: int

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        return f"launch, {nodes}, {self.ranks} {'rank' if self.ranks == 1 else 'ranks'}"


def run_launch(options: LaunchOptions, progress: Progress) -> Results:
    """Measure launch times in the present allocation, or in one of its own.

    Run it inside `benchmarks.runner.stop_on_signals` to keep what is measured when the user stops it.
    Raises BenchError when nothing can be measured, Stopped when stopped before the first run.
    """
    view = open_image(options.target.image)
    target = options.target
    programs = {
        Side.BARE: find_on_host(target.client, options.program),
        Side.CONTAINER: find_in_image(view, target.image, options.program),
    }
    with allocate_for(target, progress) as allocation:
        shapes = make_shapes(
            choose_nodes((1, target.nodes or len(allocation.nodes)), allocation), options.ranks
        )
        require_inside(target, allocation, view, max(shape.nodes for shape in shapes))
        turns = make_schedule(shapes, rounds=target.rounds, warmup=target.warmup, seed=target.seed)
        progress.begin("launch", len(turns))

        def run(shape: Shape, side: Side) -> float:
            step = Step(shape.nodes, shape.ranks, image_of(side, target), (programs[side],), target.limit)
            return run_step(target.client, allocation, step).seconds * 1e3

        measured = measure(turns, run, str, progress)
        return analyse_launch(measured, options, allocation)


def make_shapes(nodes: Sequence[int], ranks: Sequence[int]) -> tuple[Shape, ...]:
    """Combine nodes and ranks; a step has at least a rank on each of its nodes.  Pure.

    Raises BenchError for a number below 1, or none.
    """
    if not ranks or min(ranks) < 1 or not nodes or min(nodes) < 1:
        raise BenchError(
            f"{_join(ranks)} ranks on {_join(nodes)} nodes cannot be run", hint="give numbers from 1 up"
        )
    shapes = {Shape(count, max(count, rank)) for count in nodes for rank in ranks}
    return tuple(sorted(shapes, key=lambda shape: (shape.nodes, shape.ranks)))


def analyse_launch(
    measured: Measured[Shape, float], options: LaunchOptions, allocation: Allocation
) -> Results:
    """Say what the times come to.  Pure."""
    seed = options.target.seed
    rows = tuple(_make_row(shape, pairs, seed) for shape, pairs in measured.pairs.items() if pairs)
    counts = sorted({shape.nodes for shape in measured.pairs})
    return Results(
        suite="launch",
        setting=make_setting(options.target, allocation),
        rows=tuple(sorted(rows, key=lambda row: (row.nodes, row.ranks))),
        derived=tuple(found for count in counts for found in _derive(measured.pairs, count, seed)),
        failures=tuple(failure for _, failure in measured.failures),
        stopped=measured.stopped,
    )


def _make_row(shape: Shape, pairs: Sequence[tuple[float, float]], seed: int) -> Row:
    bare, container = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    comparison = compare(bare, container, seed=seed)
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
        verdict=judge(comparison, Better.LOWER),
    )


def _derive(
    pairs: Mapping[Shape, Sequence[tuple[float, float]]], nodes: int, seed: int
) -> tuple[Derived, ...]:
    """Added time = once a node + for each rank on it (of one node, as nodes enter side by side)."""
    cells = {shape: found for shape, found in pairs.items() if shape.nodes == nodes and found}
    # A cell that ended early lacks the last rounds; the first ones are of the same rounds everywhere.
    rounds = min((len(found) for found in cells.values()), default=0)
    if len(cells) < 2 or rounds < MIN_ROUNDS:
        return ()
    points = [
        Point(
            x=shape.ranks / shape.nodes,
            bare=tuple(pair[0] for pair in found[:rounds]),
            container=tuple(pair[1] for pair in found[:rounds]),
        )
        for shape, found in cells.items()
    ]
    line = fit_added(points, seed=seed)
    where = "1 node" if nodes == 1 else f"{nodes} nodes"
    return (
        Derived(f"added time a node ({where})", "ms", line.start),
        Derived(f"added time a rank of a node ({where})", "ms", line.slope),
    )


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers) or "no"
