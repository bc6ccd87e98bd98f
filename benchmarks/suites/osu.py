"""OSU's micro-benchmarks, ours or a site's own, as cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.cases import (
    BARE,
    CONTAINER,
    Asked,
    Case,
    Command,
    Facts,
    Figure,
    Ground,
    Language,
    Level,
    Offer,
    Reading,
)
from benchmarks.ending import find_ending
from benchmarks.osu_output import OsuGarbled, OsuTable, parse_osu
from benchmarks.probe_output import find_traffic
from benchmarks.runner import Output
from benchmarks.suites.osu_programs import OWN_ARGUMENTS, PROGRAMS, PYTHON, Metric, OsuProgram, find_osu

NAME = "osu"
BUILT_IN = "osu"
"""One program with many names, as `benchmarks.programs` knows it."""

_NORMAL = frozenset(
    {"osu_latency", "osu_bw", "osu_bibw", "osu_allreduce", "osu_alltoall", "osu_bcast", "osu_barrier"}
    | {"osu_iallreduce", "osu_put_latency", "osu_get_latency", "osu_put_bw", "osu_init"}
)
"""What a measurement has that is neither quick nor full."""


def wanted(asked: Asked) -> tuple[str, ...]:
    """The built-in programs, which are one, unless the site has its own."""
    return () if asked.osu or asked.language is Language.PYTHON else (BUILT_IN,)


def offer(ground: Ground) -> Offer:
    """Every program of the level, in one node and on all."""
    chosen = _chosen(ground.asked)
    notes: tuple[str, ...] = ()
    # A table that a hang cut off is one, too; only the facts behind ours show that it came to its end.
    own = ground.asked.osu is None
    site = {} if ground.asked.osu is None else _of_site(*ground.asked.osu)
    if ground.asked.osu:
        missing = [program.name for program in chosen if program.name not in site]
        notes = (f"{ground.asked.osu[0]} does not hold {', '.join(missing)}",) if missing else ()
        chosen = tuple(program for program in chosen if program.name in site)
    cases = tuple(
        Case(
            *(NAME, title, nodes, ranks, _commands(ground, program, arguments, site)),
            make_reader(program, nodes, facts=own),
            whole=not own,
        )
        for program in chosen
        for title, arguments in program.variants(ground.asked.level)
        for nodes in _nodes(program, ground)
        for ranks in _ranks(program, ground, nodes)
    )
    return Offer(cases, notes=notes)


def make_reader(program: OsuProgram, nodes: int, *, facts: bool = False) -> Callable[[Output], Reading]:
    """What reads a run of a program: its figures, and what it says of library and transport.  Pure.

    facts: the program was asked for them, and prints them when its table is whole.
    """

    def read(output: Output) -> Reading:
        found = parse_osu(output.stdout, output.stderr)
        if facts and "library" not in found.facts:
            raise OsuGarbled(
                f"the output of {program.name} ends before the facts behind its table: it was cut off"
            )
        figures = tuple(figure for metric in program.metrics for figure in _figures(metric, found.tables[0]))
        library, digest = (found.facts.get(name, "") for name in ("library", "library digest"))
        # Some MPICHs align their version with spaces.
        used = Facts(" ".join(library.split()), digest, find_traffic(output.stdout, nodes))
        return Reading(figures, used, find_ending(output.stdout))

    return read


def _figures(metric: Metric, table: OsuTable) -> Iterator[Figure]:
    """Those of one column; where it is the rest that counts, without the sizes that leave none."""
    if not metric.rest:
        for size, value in table.column(metric.column).items():
            yield Figure(metric.column, value, metric.unit, metric.better, size)
        return
    for size, value in table.share(metric.column).items():
        if value < 100:
            yield Figure(metric.rest, 100 - value, metric.unit, metric.better, size)


def _commands(
    ground: Ground, program: OsuProgram, arguments: tuple[str, ...], site: Mapping[str, tuple[str, str]]
) -> dict[str, Command]:
    """How both sides start a program: the site's own, or ours in C or Python."""
    if program.name in site:
        words = [(path, *arguments) for path in site[program.name]]
    elif ground.asked.language is Language.PYTHON:
        # Each side's own Python, as its PATH finds it, with its own mpi4py.
        script = str(Path(ground.scratch) / "programs" / "src" / PYTHON)
        words = 2 * [("python3", script, program.name, *arguments, *OWN_ARGUMENTS)]
    else:
        return ground.commands(program.name, *arguments, *OWN_ARGUMENTS)
    return {
        BARE: Command(words[0], None, ground.options),
        CONTAINER: Command(words[1], ground.image, ground.options),
    }


def _chosen(asked: Asked) -> tuple[OsuProgram, ...]:
    level = asked.level
    if asked.language is Language.PYTHON:
        return tuple(program for program in PROGRAMS if program.python)
    if level is Level.QUICK:
        return tuple(program for program in PROGRAMS if program.quick is not None)
    return tuple(program for program in PROGRAMS if level is Level.FULL or program.name in _NORMAL)


def _nodes(program: OsuProgram, ground: Ground) -> tuple[int, ...]:
    """A pair of ranks is measured between two nodes of many."""
    return tuple(dict.fromkeys(min(nodes, program.ranks or nodes) for nodes in ground.nodes))


def _ranks(program: OsuProgram, ground: Ground, nodes: int) -> tuple[int, ...]:
    """Of the whole step."""
    wanted = ground.asked.ranks or (ground.cpus_per_node * nodes,)
    return tuple(dict.fromkeys(program.ranks_for(max(count, nodes)) for count in wanted))


def _of_site(bare: str, inside: str) -> dict[str, tuple[str, str]]:
    """Paths of a site's own programs, bare and in the image.  Raises BenchError where there are none."""
    return {
        name: (str(path), f"{inside.rstrip('/')}/{path.relative_to(bare)}" if inside else str(path))
        for name, path in find_osu(Path(bare)).items()
    }
