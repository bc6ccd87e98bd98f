"""The NAS Parallel Benchmarks, ours or a site's own, as cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.cases import BARE, CONTAINER, Asked, Case, Command, Facts, Ground, Offer, Reading
from benchmarks.ending import find_ending
from benchmarks.npb import parse_npb
from benchmarks.runner import Output
from benchmarks.suites.npb_programs import (
    NpbProgram,
    built_in,
    choose,
    find_npb,
    program_name,
    speed_of,
)

NAME = "npb"


def wanted(asked: Asked) -> tuple[str, ...]:
    """The built-in kernels, unless the site has its own."""
    if asked.npb:
        return ()
    return tuple(dict.fromkeys(program_name(program.kernel) for program in built_in(asked.level)))


def offer(ground: Ground) -> Offer:
    """Every kernel and class of the level, in one node and on all."""
    commands: dict[NpbProgram, dict[str, Command]]
    if ground.asked.npb:
        commands = _of_site(ground, *ground.asked.npb)
    else:
        commands = {
            program: ground.commands(program_name(program.kernel), *program.arguments)
            for program in built_in(ground.asked.level)
        }
    cases = tuple(
        Case(NAME, program.title, nodes, ranks, sides, make_reader(program, ranks))
        for program, sides in commands.items()
        for nodes in ground.nodes
        for ranks in _ranks(program, ground, nodes)
    )
    return Offer(cases)


def make_reader(program: NpbProgram, ranks: int) -> Callable[[Output], Reading]:
    """What reads a run of a program: nothing but a verified result of what was asked for.  Pure."""

    def read(output: Output) -> Reading:
        found = parse_npb(
            output.stdout,
            kernel=program.kernel.name,
            problem_class=program.problem_class,
            processes=ranks,
        )
        facts = Facts(found.library, found.digest)
        return Reading((speed_of(found),), facts, find_ending(output.stdout))

    return read


def _ranks(program: NpbProgram, ground: Ground, nodes: int) -> tuple[int, ...]:
    """Of the whole step, at least one on each node; none where the program does not take so many."""
    counts = ground.asked.ranks or (max(2, ground.cpus_per_node * nodes),)
    fitting = (program.ranks_for(max(count, nodes)) for count in counts)
    return tuple(dict.fromkeys(count for count in fitting if count >= nodes))


def _of_site(ground: Ground, bare: str, inside: str) -> dict[NpbProgram, dict[str, Command]]:
    found = find_npb(Path(bare))
    commands = {}
    for program in choose(ground.asked.level, found):
        path = found[program]
        there = f"{inside.rstrip('/')}/{path.relative_to(bare)}" if inside else str(path)
        commands[program] = {
            BARE: Command((str(path), *program.arguments), None, ground.options),
            CONTAINER: Command((there, *program.arguments), ground.image, ground.options),
        }
    return commands
