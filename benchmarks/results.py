"""What a suite found: frozen, printable, comparable; report.py shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.stats import Better, Comparison, Estimate, Verdict
from benchmarks.typed import require_types

ADDED_TIMES = frozenset({"launch"})
"""Suites whose rows are read by what a side adds to bare, more than by the ratio."""

_ONLY = "container"
"""The side of rows in files that do not name it."""

_LAST = 1e11
"""Seconds since 1970 that still have a date."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one side: its samples, and what they come to beside bare's.

    ``bare[i]`` and ``container[i]`` are of the same round.  comparison is None where the two must not be
    compared; the verdict then says why.  side: whose samples ``container`` holds.  suite, case
    ("osu_latency", "cg.S") and figure (which of the program's columns) say what was run; rows that differ in
    nothing but message_bytes are one curve.
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
    side: str = _ONLY
    suite: str = ""
    case: str = ""
    figure: str = ""


@dataclass(frozen=True, slots=True)
class Derived:
    """A figure that follows from several rows of a side, for example the added time per node."""

    name: str
    unit: str
    estimate: Estimate
    side: str = _ONLY


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What a side really used at a place ("inside a node", "between nodes"): MPI library and transport."""

    side: str
    place: str
    library: str
    library_digest: str
    transport: str


@dataclass(frozen=True, slots=True)
class SideCommand:
    """How a side starts a program: what stands behind srun and its shape, and the engine's version.

    apart: it is another engine, or starts without kept plans, and says nothing of the container as it is
    used.
    """

    side: str
    command: str
    version: str = ""
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be measured (or not to the end), and the error."""

    metric: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The state of a node when the measurement began; "": it does not say.

    governor: of the frequency of its first processor; megahertz: that processor's lowest and highest, as
    "800-3500"; load: of the last minute, before anything was measured; processors: those
    that a step may use there, shared evenly among nodes that are one machine, 0: unknown; binding: by side,
    the processors that a rank may use, as ("bare", "0-1").
    """

    host: str
    model: str = ""
    kernel: str = ""
    memory_mib: int = 0
    governor: str = ""
    megahertz: str = ""
    load: str = ""
    processors: int = 0
    binding: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how it was measured.

    image: the first, where there are further forms of it; job_id: of several jobs, all, with commas between
    them; command: the words that repeat it; started: seconds since 1970; versions: of bareboat, Slurm, and
    the compilers, as (name, version).
    """

    image: str
    job_id: str
    nodes: tuple[str, ...]
    cpus_per_node: int
    rounds: int
    warmup: int
    seed: int
    command: tuple[str, ...] = ()
    started: float = 0.0
    machine: tuple[NodeFacts, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """Everything of one suite.

    commands: how each side of the launches starts a program; notes: what a reader should
    know beside the figures; stopped: why it ended early ("" if it did not).
    """

    suite: str
    setting: Setting
    rows: tuple[Row, ...]
    derived: tuple[Derived, ...] = ()
    sides: tuple[SideFacts, ...] = ()
    commands: tuple[SideCommand, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: str = ""

    @property
    def judged(self) -> tuple[Row, ...]:
        """Rows that say something of the container as it is used: not those of sides that stand apart."""
        apart = {one.side for one in self.commands if one.apart}
        return tuple(row for row in self.rows if row.side not in apart)


def setting_from(data: Mapping[str, Any]) -> Setting:
    """Make it from what JSON keeps of it.  Raises what the constructors do."""
    changed = {
        "nodes": tuple(data["nodes"]),
        "command": tuple(data.get("command", ())),
        "machine": tuple(
            NodeFacts(**{**node, "binding": _pairs(node["binding"])}) for node in data.get("machine", ())
        ),
        "versions": _pairs(data.get("versions", ())),
    }
    setting = Setting(**{**data, **changed})
    require_types(setting, Setting, "setting")
    if not 0 <= setting.started < _LAST:
        raise ValueError(f"started is {setting.started}")
    return setting


def _pairs(data: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in data)
