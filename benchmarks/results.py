"""What a suite found: frozen, printable, comparable; report.py shows it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.schedule import Side
from benchmarks.stats import Better, Comparison, Estimate, Verdict


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its samples, and what they come to.

    ``bare[i]`` and ``container[i]`` are of the same round.  comparison is None where the two sides must not
    be compared; the verdict then says why.
    """

    metric: str
    unit: str
    better: Better
    nodes: int
    ranks: int
    message_bytes: int | None
    bare: tuple[float, ...]
    container: tuple[float, ...]
    comparison: Comparison | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Derived:
    """A figure that follows from several rows, for example the added time per node."""

    name: str
    unit: str
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What a side really used at a place ("inside a node", "between nodes"): MPI library and transport."""

    side: Side
    place: str
    library: str
    library_digest: str
    transport: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be measured (or not to the end), and the error."""

    metric: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how it was measured."""

    image: str
    job_id: str
    nodes: tuple[str, ...]
    cpus_per_node: int
    rounds: int
    warmup: int
    seed: int


@dataclass(frozen=True, slots=True)
class Results:
    """Everything of one suite.

    notes: what a reader should know beside the figures; stopped: why it ended early ("" if it did not).
    """

    suite: str
    setting: Setting
    rows: tuple[Row, ...]
    derived: tuple[Derived, ...] = ()
    sides: tuple[SideFacts, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: str = ""
