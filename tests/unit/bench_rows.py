"""Rows as a measurement might give them, for tests of what shows them."""

from __future__ import annotations

from benchmarks.cases import BARE, CONTAINER
from benchmarks.results import Failure, NodeFacts, Results, Row, Setting, SideFacts
from benchmarks.stats import Better, Comparison, Estimate, Verdict, judge

ROUNDS = 8


def bench_row(
    suite: str,
    case: str,
    value: float,
    *,
    figure: str = "latency",
    nodes: int = 1,
    ranks: int = 2,
    size: int | None = None,
    side: str = CONTAINER,
    ratio: float = 1.02,
    refused: Verdict | None = None,
) -> Row:
    """A row whose samples stand around ``value``, and in the container around ``ratio`` times that."""
    bare = tuple(value * (1 + 0.01 * (number - 3)) for number in range(ROUNDS))
    container = tuple(one * ratio for one in bare)
    comparison = None
    if refused is None:
        estimate = Estimate(ratio, ratio - 0.01, ratio + 0.01)
        added = Estimate(value * (ratio - 1), value * (ratio - 1.01), value * (ratio - 0.99))
        comparison = Comparison(value, value * ratio, estimate, added, ROUNDS)
    verdict = refused or judge(comparison, Better.LOWER)  # type: ignore[arg-type]
    metric = ", ".join(filter(None, (case, figure, f"{nodes} nodes, {ranks} ranks", str(size or ""))))
    return Row(
        metric,
        "us",
        Better.LOWER,
        nodes,
        ranks,
        size,
        bare,
        container,
        comparison,
        verdict,
        side,
        suite,
        case,
        figure,
    )


SETTING = Setting(
    "/images/a",
    "7",
    ("n1", "n2"),
    4,
    rounds=ROUNDS,
    warmup=1,
    seed=3,
    command=("bareboat", "bench", "run", "--image", "/images/a b"),
    started=1_800_000_000.0,
    machine=(NodeFacts("n1", "a processor", "6.1.0", 2048, binding=(("bare", "0-1"),)),),
    versions=(("bareboat", "0.1.0"),),
)


def bench_results() -> Results:
    """Something of each kind: curves over sizes and over ranks, several sides, bars."""
    rows = [
        bench_row("launch", "true", 50.0 + ranks, figure="time", ranks=ranks, nodes=nodes, side=side)
        for nodes in (1, 2)
        for ranks in (1, 4, 16)
        for side in ("directory", "squashfs")
    ]
    rows += [bench_row("osu", "osu_latency", 1 + 2**k / 1e4, size=2**k) for k in range(23)]
    rows += [bench_row("osu", "osu_barrier", 3.0)]
    rows += [bench_row("npb", f"{kernel}.S", 9.0, figure="rate") for kernel in ("ep", "is", "cg", "mg", "ft")]
    return Results(
        "run",
        SETTING,
        tuple(rows),
        sides=(SideFacts(BARE, "inside a node", "MPICH 4", "abcdef", "shared memory"),),
        failures=(Failure("io", "the disk was full", "make room"),),
        notes=("the load was high",),
        stopped="stopped by SIGINT",
    )
