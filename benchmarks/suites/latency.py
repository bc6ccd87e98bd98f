"""Latency and bandwidth between two ranks, inside a node and between two: host's program, image's program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.errors import BenchError
from benchmarks.osu import Table, describe_transport, parse_cma, parse_table
from benchmarks.progress import Progress
from benchmarks.results import Results, Row, SideFacts
from benchmarks.rounds import Measured, measure
from benchmarks.runner import Allocation, Step, run_step
from benchmarks.schedule import Side, make_schedule
from benchmarks.stats import Better, Outcome, Verdict, compare, judge
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

DEFAULT_IMAGE_BIN = "/opt/bareboat-tests/bin"
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Test:
    """A mode of mpi_latency and the sizes (bytes, powers of two) whose rows are reported.

    Few iterations a run and many rounds: what differs from start to start (placement, buffers, other work)
    is then in the interval.
    """

    mode: str
    title: str
    unit: str
    better: Better
    message_bytes: tuple[int, ...]
    iterations: int
    warmup: int


LATENCY = Test("latency", "latency", "us", Better.LOWER, (8, 1024, 65536), 1000, 100)
BANDWIDTH = Test("bw", "bandwidth", "MB/s", Better.HIGHER, (65536, 1048576), 10, 2)


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """image: its path; bare_bin: the programs' host directory for the bare side.

    image_bin: the image's, a path inside; mpi: srun's --mpi on both sides, None: the cluster's default.
    """

    target: Target
    image: str
    bare_bin: str
    image_bin: str = DEFAULT_IMAGE_BIN
    mpi: str | None = None
    tests: tuple[Test, ...] = (LATENCY, BANDWIDTH)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ranks on 1 or 2 nodes, and what they do."""

    nodes: int
    test: Test

    @property
    def place(self) -> str:
        return "inside a node" if self.nodes == 1 else "between nodes"

    def __str__(self) -> str:
        return f"{self.test.title} {self.place}"


def run_latency(options: LatencyOptions, progress: Progress) -> Results:
    """Measure in the present allocation, or in one of its own.

    Run it inside `benchmarks.runner.stop_on_signals` to keep what is measured when the user stops it.
    Raises BenchError when nothing can be measured, Stopped when stopped before the first run.
    """
    target = options.target
    programs: dict[Side, dict[str, str]] = {Side.BARE: {}, Side.CONTAINER: {}}
    with open_image(target.opener, options.image) as view:
        for name in ("mpi_latency", "mpi_hello"):
            bare = os.path.join(options.bare_bin, name)  # noqa: PTH118
            programs[Side.BARE][name] = find_on_host(target.client, bare)
            programs[Side.CONTAINER][name] = find_in_image(view, options.image, f"{options.image_bin}/{name}")
    mpi = () if options.mpi is None else (f"--mpi={options.mpi}",)
    with allocate_for(target, progress) as allocation:
        counts = choose_nodes((1,) if target.nodes == 1 else (1, 2), allocation)
        require_inside(target, allocation, options.image, max(counts))
        pairs = [Pair(count, test) for count in counts for test in options.tests]
        turns = make_schedule(
            pairs, tuple(Side), rounds=target.rounds, warmup=target.warmup, seed=target.seed
        )
        progress.begin("latency and bandwidth", len(turns))

        def start(side: Side, nodes: int, name: str, arguments: Sequence[str]) -> str:
            argv = (programs[side][name], *arguments)
            step = Step(nodes, 2, image_of(side, options.image), argv, target.limit, mpi)
            return run_step(target.client, allocation, step).stdout

        def run(pair: Pair, side: Side) -> Table:
            return read_table(start(side, pair.nodes, "mpi_latency", arguments_of(pair.test)), pair)

        attach = {side: parse_cma(start(side, 1, "mpi_hello", ("--cma",))) for side in Side}
        measured = measure(turns, run, Side.BARE, progress)
        return analyse_latency(measured, attach, options, allocation)


def arguments_of(test: Test) -> tuple[str, ...]:
    """mpi_latency's arguments: a range that has all wanted sizes.  Pure."""
    sizes = f"{min(test.message_bytes)}:{max(test.message_bytes)}"
    return (test.mode, "-m", sizes, "-i", str(test.iterations), "-x", str(test.warmup), "-p", str(_DIGITS))


def read_table(text: str, pair: Pair) -> Table:
    """Read a run's output and hold it to what was asked for.  Pure.

    Raises BenchError when it is not readable, a size is missing, or the ranks were not where they should
    have been.
    """
    table = parse_table(text)
    sizes = {size for size, _ in table.values}
    missing = [size for size in pair.test.message_bytes if size not in sizes]
    if missing:
        raise BenchError(f"{pair}: the output has no row of {missing[0]} bytes")
    hosts = sorted({item.host for item in table.traffic})
    if hosts and len(hosts) != pair.nodes:
        raise BenchError(f"{pair}: the two ranks were on {' and '.join(hosts)}, not on {pair.nodes} node(s)")
    return table


def analyse_latency(
    measured: Measured[Pair, Side, Table],
    attach: Mapping[Side, str],
    options: LatencyOptions,
    allocation: Allocation,
) -> Results:
    """Say what the tables come to.  attach: what ``mpi_hello --cma`` said of each side.  Pure."""
    rows: list[Row] = []
    sides: list[SideFacts] = []
    for nodes in sorted({pair.nodes for pair, _ in measured.pairs}):
        found = {
            pair: tables for (pair, _), tables in measured.pairs.items() if pair.nodes == nodes and tables
        }
        for pair in sorted(found, key=lambda pair: options.tests.index(pair.test)):
            tables = found[pair]
            bare = gather_facts(Side.BARE, pair, [both[0] for both in tables], attach)
            container = gather_facts(Side.CONTAINER, pair, [both[1] for both in tables], attach)
            sides += [facts for facts in (bare, container) if facts not in sides]
            difference = find_difference(bare, container)
            rows += [
                _make_row(pair, size, tables, difference, options.target.seed)
                for size in pair.test.message_bytes
            ]
    return Results(
        suite="latency",
        setting=make_setting(options.target, options.image, allocation),
        rows=tuple(rows),
        sides=tuple(sides),
        failures=measured.failures,
        notes=count_unfinished(measured.pairs.values()),
        stopped=measured.stopped,
    )


def count_unfinished(pairs: Iterable[Sequence[tuple[Table, Table]]]) -> tuple[str, ...]:
    """Say on which side how many runs were measured to the end and then hung in MPI_Finalize.  Pure."""
    both = [tables for cell in pairs for tables in cell]
    counts = [sum(not tables[index].finalized for tables in both) for index in range(2)]
    if not any(counts):
        return ()
    bare, container = (f"{count} of {len(both)}" for count in counts)
    return (
        f"MPI_Finalize did not return in {bare} bare and {container} container runs, after all was measured",
    )


def gather_facts(side: Side, pair: Pair, tables: Sequence[Table], attach: Mapping[Side, str]) -> SideFacts:
    """Sum up what a side used over all its runs; what varies is named as such.  Pure."""
    transport = _one_of([describe_transport(table.traffic) for table in tables])
    if transport == "shared memory":
        transport += f"; cross-memory attach {attach[side]}"
    return SideFacts(
        side=side,
        place=pair.place,
        library=_one_of([table.library or "unknown" for table in tables]),
        library_digest=_one_of([table.digest or "unknown" for table in tables]),
        transport=transport,
    )


def find_difference(bare: SideFacts, container: SideFacts) -> str:
    """Say why two sides must not be compared, or "".  Pure."""
    if bare.library != container.library:
        return f"bare used {bare.library}, the container {container.library}"
    if bare.library_digest != container.library_digest:
        return f"two builds of {bare.library}"
    if bare.transport != container.transport:
        return f"bare went by {bare.transport}, the container by {container.transport}"
    return ""


def _make_row(
    pair: Pair, size: int, tables: Sequence[tuple[Table, Table]], difference: str, seed: int
) -> Row:
    bare = tuple(dict(both[0].values)[size] for both in tables)
    container = tuple(dict(both[1].values)[size] for both in tables)
    comparison = None if difference else compare(bare, container, seed=seed)
    verdict = (
        Verdict(Outcome.NOT_COMPARED, reason=difference)
        if comparison is None
        else judge(comparison, pair.test.better)
    )
    return Row(
        metric=f"{pair}, {_format_bytes(size)}",
        unit=pair.test.unit,
        better=pair.test.better,
        nodes=pair.nodes,
        ranks=2,
        message_bytes=size,
        bare=bare,
        container=container,
        comparison=comparison,
        verdict=verdict,
    )


def _one_of(values: Sequence[str]) -> str:
    distinct = sorted(set(values))
    return distinct[0] if len(distinct) == 1 else "varies: " + " | ".join(distinct)


def _format_bytes(size: int) -> str:
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"
