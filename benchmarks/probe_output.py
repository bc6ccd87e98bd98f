"""Reads what mpi_hello and mpi_latency print, with which sides are probed, and which way bytes went.  Pure.

Tables of programs that are measured are read by `benchmarks.osu_output`.  The comment lines "# net bytes" are
mpi_latency's and those of the built-in OSU programs.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from benchmarks.ending import find_ending
from benchmarks.errors import BenchError
from benchmarks.excerpts import clip, last_lines

_HELLO = re.compile(r"^(?:\d+: )?rank (\d+) of (\d+) on (\S+) library (.+)$")
_CMA = re.compile(r"^(?:\d+: )?cma (ok|none|failed) ?(.*)$")
_NET = re.compile(
    r"^# net bytes rank (\d+) on (\S+): sent (\d+) received (\d+) loopback (\d+)"
    r" fabric-sent (\d+) fabric-received (\d+) payload (\d+)$"
)
_ROW = re.compile(r"^(\d+)\s+(\S+)")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one rank's node counted during a run, in bytes, beside the payload that the rank sent itself."""

    rank: int
    host: str
    sent: int
    received: int
    loopback: int
    fabric_sent: int
    fabric_received: int
    payload: int


@dataclass(frozen=True, slots=True)
class Table:
    """One run of mpi_latency.

    values: (message size in bytes, value in the test's unit), by ascending size; library: first line of
    MPI_Get_library_version, "" if not printed; digest: of its whole text; traffic: by rank, may be empty;
    finalized: False where a rank says that MPI_Finalize did not return after all was measured.
    """

    values: tuple[tuple[int, float], ...]
    library: str = ""
    digest: str = ""
    traffic: tuple[Traffic, ...] = ()
    finalized: bool = True


@dataclass(frozen=True, slots=True)
class Hello:
    """One rank's line of mpi_hello."""

    rank: int
    size: int
    host: str
    library: str


def parse_table(text: str) -> Table:
    """Read mpi_latency's table and the comment lines behind it.

    Raises BenchError when there is no row, a value is no number above 0, or sizes do not ascend.
    """
    rows: list[tuple[int, float]] = []
    traffic: list[Traffic] = []
    library = digest = ""
    for line in text.split("\n"):
        if line.startswith("# library: "):
            library = _squeeze(line.removeprefix("# library: "))
        elif line.startswith("# library digest: "):
            digest = line.removeprefix("# library digest: ").strip()
        elif match := _NET.match(line):
            rank, host, *counts = match.groups()
            traffic.append(Traffic(int(rank), host, *(int(count) for count in counts)))
        elif line.strip() and not line.startswith("#"):
            rows.append(_parse_row(line))
    if not rows:
        raise BenchError("the output holds no row of a size and a value", hint=last_lines(text))
    if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(rows)):
        raise BenchError("the sizes in the output do not ascend: output of several runs, or damaged")
    return Table(
        values=tuple(rows),
        library=library,
        digest=digest,
        traffic=tuple(sorted(traffic, key=lambda item: item.rank)),
        finalized=not find_ending(text),
    )


def find_traffic(text: str, nodes: int) -> str:
    """Name the way of the payload from the lines "# net bytes" of a step on so many nodes.

    "" where there are none, or they do not say it.
    """
    traffic = [
        Traffic(int(match[1]), match[2], *(int(count) for count in match.groups()[2:]))
        for line in text.split("\n")
        if (match := _NET.match(line))
    ]
    way = describe_transport(tuple(traffic), nodes=nodes)
    return "" if way.startswith("unknown") else way


def parse_hello(text: str) -> tuple[Hello, ...]:
    """Read mpi_hello's lines (srun's --label is understood), by rank.

    Raises BenchError when ranks are missing or double, or the ranks do not agree how many they are.
    """
    found = [
        Hello(int(match[1]), int(match[2]), match[3], _squeeze(match[4]))
        for line in text.split("\n")
        if (match := _HELLO.match(line))
    ]
    if not found:
        raise BenchError("no line 'rank R of N on HOST library ...' in the output", hint=last_lines(text))
    size = found[0].size
    if len(found) > 1 and all(item.size == 1 for item in found):
        raise BenchError(
            f"{len(found)} ranks did not find each other: each says that it is rank 0 of 1",
            hint="srun's --mpi does not fit the MPI library; try pmi2 (MPICH) or pmix (Open MPI)",
        )
    ranks = sorted(item.rank for item in found)
    if any(item.size != size for item in found) or ranks != list(range(size)):
        raise BenchError(
            f"the ranks that answered are not 0 to {size - 1} of one MPI_COMM_WORLD: {_shorten(ranks)}"
        )
    return tuple(sorted(found, key=lambda item: item.rank))


def parse_cma(text: str) -> str:
    """Say what ``mpi_hello --cma`` found: "ok", "none" (no neighbours) or "failed ..." with the reason."""
    found = [(match[1], match[2]) for line in text.split("\n") if (match := _CMA.match(line))]
    if not found:
        raise BenchError("no line 'cma ...' in the output of mpi_hello --cma", hint=last_lines(text))
    for outcome, detail in found:
        if outcome == "failed":
            return f"failed {detail}".strip()
    return "ok" if any(outcome == "ok" for outcome, _ in found) else "none"


def describe_transport(traffic: tuple[Traffic, ...], *, nodes: int = 0) -> str:
    """Name the way that the payload took, from the counters of both ranks' nodes.

    A way is named when its counter moved by at least half the payload: other traffic is small beside it,
    and a header only adds.  Compression does not occur in the known transports.  nodes: those of the step,
    where not every rank has a line, as one that only receives; 0: there is one of each.
    """
    if not traffic:
        return "unknown: the program prints no counters"
    payload = max(item.payload for item in traffic)
    hosts = {item.host for item in traffic}
    if payload == 0:
        return "unknown: nothing was sent"
    if all(max(item.fabric_sent, item.fabric_received) * 2 >= payload for item in traffic):
        return "fabric (RDMA ports)"
    if (nodes or len(hosts)) == 1:
        if all(item.loopback * 2 >= payload for item in traffic):
            return "loopback TCP"
        return "shared memory"
    if all(max(item.sent, item.received) * 2 >= payload for item in traffic):
        return "network interfaces (TCP)"
    return "unknown: no counter moved with the bytes"


def _parse_row(line: str) -> tuple[int, float]:
    match = _ROW.match(line)
    if match is None:
        raise BenchError(f"not a row of a size and a value: {clip(line)!r}")
    try:
        value = float(match[2])
    except ValueError as error:
        raise BenchError(f"not a number in the row of {match[1]} bytes: {clip(match[2])!r}") from error
    if not math.isfinite(value) or value <= 0:
        raise BenchError(
            f"the row of {match[1]} bytes says {clip(match[2])}: only values above 0 can be measured"
        )
    return int(match[1]), value


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _shorten(ranks: list[int]) -> str:
    return ", ".join(str(rank) for rank in ranks[:8]) + (", ..." if len(ranks) > 8 else "")
