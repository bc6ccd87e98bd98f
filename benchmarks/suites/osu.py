"""OSU's micro-benchmarks, ours or a site's own, as cases."""

from __future__ import annotations

from collections.abc import Callable
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
from benchmarks.osu import find_ending, find_traffic
from benchmarks.osu_output import OsuGarbled, parse_osu
from benchmarks.runner import Output
from benchmarks.suites.osu_programs import OWN_ARGUMENTS, PROGRAMS, PYTHON, OsuProgram, find_osu

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
    commands: dict[str, dict[str, Command]]
    notes: tuple[str, ...] = ()
    # A table that a hang cut off is one, too; only the facts behind ours show that it came to its end.
    own = ground.asked.osu is None
    if ground.asked.osu:
        commands = _of_site(ground, *ground.asked.osu)
        missing = [program.name for program in chosen if program.name not in commands]
        notes = (f"{ground.asked.osu[0]} does not hold {', '.join(missing)}",) if missing else ()
    elif ground.asked.language is Language.PYTHON:
        commands = {program.name: _by_python(ground, program) for program in chosen}
    else:
        commands = {
            program.name: ground.commands(
                program.name, *_arguments(program, ground.asked.level), *OWN_ARGUMENTS
            )
            for program in chosen
        }
    cases = tuple(
        Case(
            *(NAME, program.name, nodes, ranks, commands[program.name]),
            make_reader(program, nodes, facts=own),
            whole=not own,
        )
        for program in chosen
        if program.name in commands
        for nodes in _nodes(program, ground)
        for ranks in _ranks(program, ground, nodes)
    )
    return Offer(cases, notes=notes)


def make_reader(program: OsuProgram, nodes: int, *, facts: bool = False) -> Callable[[Output], Reading]:
    """What reads a run of a program: its main column, and what it says of library and transport.  Pure.

    facts: the program was asked for them, and prints them when its table is whole.
    """

    def read(output: Output) -> Reading:
        found = parse_osu(output.stdout, output.stderr)
        if facts and "library" not in found.facts:
            raise OsuGarbled(
                f"the output of {program.name} ends before the facts behind its table: it was cut off"
            )
        metric = program.metric
        figures = tuple(
            Figure(metric.column, value, metric.unit, metric.better, size)
            for size, value in found.tables[0].column(metric.column).items()
        )
        library, digest = (found.facts.get(name, "") for name in ("library", "library digest"))
        # Some MPICHs align their version with spaces.
        used = Facts(" ".join(library.split()), digest, find_traffic(output.stdout, nodes))
        return Reading(figures, used, find_ending(output.stdout))

    return read


def _by_python(ground: Ground, program: OsuProgram) -> dict[str, Command]:
    """Each side's own Python, as its PATH finds it, with its own mpi4py."""
    script = str(Path(ground.scratch) / "programs" / "src" / PYTHON)
    arguments = (*_arguments(program, ground.asked.level), *OWN_ARGUMENTS)
    words = ("python3", script, program.name, *arguments)
    return {
        BARE: Command(words, None, ground.options),
        CONTAINER: Command(words, ground.image, ground.options),
    }


def _chosen(asked: Asked) -> tuple[OsuProgram, ...]:
    level = asked.level
    if asked.language is Language.PYTHON:
        return tuple(program for program in PROGRAMS if program.python)
    if level is Level.QUICK:
        return tuple(program for program in PROGRAMS if program.quick is not None)
    return tuple(program for program in PROGRAMS if level is Level.FULL or program.name in _NORMAL)


def _arguments(program: OsuProgram, level: Level) -> tuple[str, ...]:
    return program.quick or () if level is Level.QUICK else program.full


def _nodes(program: OsuProgram, ground: Ground) -> tuple[int, ...]:
    """A pair of ranks is measured between two nodes of many."""
    return tuple(dict.fromkeys(min(nodes, program.ranks or nodes) for nodes in ground.nodes))


def _ranks(program: OsuProgram, ground: Ground, nodes: int) -> tuple[int, ...]:
    """Of the whole step."""
    wanted = ground.asked.ranks or (ground.cpus_per_node * nodes,)
    return tuple(dict.fromkeys(program.ranks_for(max(count, nodes)) for count in wanted))


def _of_site(ground: Ground, bare: str, inside: str) -> dict[str, dict[str, Command]]:
    """Commands of a site's own programs.  Raises BenchError where there are none."""
    found: dict[str, dict[str, Command]] = {}
    for name, path in find_osu(Path(bare)).items():
        program = next(program for program in PROGRAMS if program.name == name)
        arguments = _arguments(program, ground.asked.level)
        there = f"{inside.rstrip('/')}/{path.relative_to(bare)}" if inside else str(path)
        found[name] = {
            BARE: Command((str(path), *arguments), None, ground.options),
            CONTAINER: Command((there, *arguments), ground.image, ground.options),
        }
    return found
