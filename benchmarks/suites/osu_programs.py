"""The programs of the OSU suite as data: what each measures, how many ranks it takes, with what arguments.

The built-in programs (``benchmarks/src/osu``) and a site's own OSU micro-benchmarks have the same names,
options and output, so that one table drives both; only `OWN_ARGUMENTS` are the built-in ones' alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Level
from benchmarks.errors import BenchError
from benchmarks.stats import Better

OWN_ARGUMENTS = ("--digits", "4", "--facts")
"""More digits than OSU's two, which at 0.25 us are 4 %; and the library and traffic of each run.

OSU's own programs refuse them.
"""

PYTHON = "python/osu.py"
"""The variant by mpi4py, below `benchmarks.programs.SOURCES`: python3 FILE NAME ARGUMENTS, on either side."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of a program's table, by its heading.

    rest: what is compared, by this name, is what the column leaves of 100 %: an overlap is 0 often, of which
    there is no ratio.
    """

    column: str
    unit: str
    better: Better
    rest: str = ""


@dataclass(frozen=True, slots=True)
class OsuProgram:
    """One program.

    family: its directory in an installation of OSU's; metrics: what is compared; ranks: exactly so many,
    None: any number from ``least`` up; quick: arguments of a quick run, None: not part of one; full: those of
    a full one (none: the method's own sizes and iterations); python: it is in `PYTHON`, too; syncs: arguments
    of -s that a full measurement has beside the usual one.
    """

    name: str
    family: str
    metrics: tuple[Metric, ...]
    quick: tuple[str, ...] | None = None
    full: tuple[str, ...] = ()
    ranks: int | None = None
    least: int = 2
    python: bool = False
    syncs: tuple[str, ...] = ()

    def ranks_for(self, wanted: int) -> int:
        """How many ranks to start where ``wanted`` were asked for: the number that the program takes."""
        return self.ranks if self.ranks is not None else max(wanted, self.least)

    def variants(self, level: Level) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What is run of it at a level: titles, and arguments."""
        usual = self.quick or () if level is Level.QUICK else self.full
        syncs = self.syncs if level is Level.FULL else ()
        return (self.name, usual), *((f"{self.name} -s {sync}", (*usual, "-s", sync)) for sync in syncs)


_LATENCY = (Metric("Avg Latency(us)", "us", Better.LOWER),)
_ONE_SIDED = (Metric("Latency (us)", "us", Better.LOWER),)
_BANDWIDTH = (Metric("Bandwidth (MB/s)", "MB/s", Better.HIGHER),)
_RATE = (Metric("Messages/s", "1/s", Better.HIGHER), Metric("MB/s", "MB/s", Better.HIGHER))
_OVERALL = (
    Metric("Overall(us)", "us", Better.LOWER),
    Metric("Overlap(%)", "%", Better.LOWER, rest="not overlapped"),
)
_START = (Metric("avg (ms)", "ms", Better.LOWER),)

# Few iterations a run and many rounds: what differs from start to start is then in the interval.
_QUICK_LATENCY = ("-m", "8:1048576", "-i", "200", "-x", "20")
_QUICK_BANDWIDTH = ("-m", "8:1048576", "-i", "10", "-x", "2")
_QUICK_COLLECTIVE = ("-m", "8:1048576", "-i", "100", "-x", "10")

_COLLECTIVES = (
    *(
        "allgather",
        "allgatherv",
        "allreduce",
        "alltoall",
        "alltoallv",
        "alltoallw",
        "barrier",
        "bcast",
        "gather",
    ),
    *("gatherv", "reduce", "reduce_scatter", "reduce_scatter_block", "scatter", "scatterv"),
)


def _one_sided(
    name: str,
    metrics: tuple[Metric, ...],
    quick: tuple[str, ...] | None = None,
    syncs: tuple[str, ...] = ("lock", "fence", "pscw"),
) -> OsuProgram:
    """Without -s it is flush, which is therefore not among ``syncs``, but where a program has another."""
    return OsuProgram(f"osu_{name}", "one-sided", metrics, quick, ranks=2, syncs=syncs)


PROGRAMS: tuple[OsuProgram, ...] = (
    OsuProgram("osu_latency", "pt2pt", _LATENCY, _QUICK_LATENCY, ranks=2, python=True),
    OsuProgram("osu_bw", "pt2pt", _BANDWIDTH, _QUICK_BANDWIDTH, ranks=2, python=True),
    OsuProgram("osu_bibw", "pt2pt", _BANDWIDTH, ranks=2),
    OsuProgram("osu_mbw_mr", "pt2pt", _RATE),
    OsuProgram("osu_multi_lat", "pt2pt", _LATENCY),
    OsuProgram("osu_allreduce", "collective", _LATENCY, _QUICK_COLLECTIVE, python=True),
    *(
        OsuProgram(f"osu_{name}", "collective", _LATENCY, _QUICK_COLLECTIVE if name == "alltoall" else None)
        for name in _COLLECTIVES
        if name != "allreduce"
    ),
    *(OsuProgram(f"osu_i{name}", "collective", _OVERALL) for name in _COLLECTIVES),
    _one_sided("put_latency", _ONE_SIDED, _QUICK_LATENCY),
    _one_sided("put_bw", _BANDWIDTH),
    _one_sided("put_bibw", _BANDWIDTH, syncs=("fence",)),  # pscw; it takes no other
    _one_sided("get_latency", _ONE_SIDED),
    _one_sided("get_bw", _BANDWIDTH),
    _one_sided("acc_latency", _ONE_SIDED),
    _one_sided("get_acc_latency", _ONE_SIDED, syncs=("flush", "fence", "pscw")),  # lock
    _one_sided("fop_latency", _ONE_SIDED),
    _one_sided("cas_latency", _ONE_SIDED),
    OsuProgram("osu_init", "startup", _START, least=1),
)
"""All whose figures are compared; osu_hello has none."""

BY_NAME: Mapping[str, OsuProgram] = {program.name: program for program in PROGRAMS}


def find_osu(directory: Path) -> dict[str, Path]:
    """Find OSU's programs below a directory, by name: in DIR, or in any DIR/**/{pt2pt,collective,...}.

    Raises BenchError where there is none, or one of them twice (two builds below one directory).
    """
    folders = {program.family for program in PROGRAMS}
    found: dict[str, Path] = {}
    for path in sorted(directory.rglob("osu_*")):
        if path.name not in BY_NAME or not (path.parent == directory or path.parent.name in folders):
            continue
        if not path.is_file() or not os.access(path, os.X_OK):
            continue
        if path.name in found:
            raise BenchError(
                f"{directory} holds {path.name} twice: {found[path.name]} and {path}",
                hint="name the directory of one build, e.g. PREFIX/libexec/osu-micro-benchmarks/mpi",
            )
        found[path.name] = path
    if not found:
        raise BenchError(
            f"{directory} holds none of OSU's programs (osu_latency, osu_bw, ...)",
            hint="name the directory that OSU was installed in, e.g. PREFIX/libexec/osu-micro-benchmarks",
        )
    return found
