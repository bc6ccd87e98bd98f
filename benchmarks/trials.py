"""Tries the ways to start a program: which of them work here, and are what they are called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.cases import BARE, Way
from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.results import Failure, SideCommand
from benchmarks.runner import Allocation, Client, local_command, run_step
from benchmarks.suites.common import (
    MOUNT_NAMESPACE,
    Target,
    find_on_host,
    read_namespaces,
    require_apart,
)

_LIMIT = 60.0
"""Seconds for one trial, where a run may take longer."""

_TRACE = re.compile(r"trace: (planned and entered|entered by the cache) in ")


@dataclass(frozen=True, slots=True)
class Tried:
    """The ways that are measured, bare first, and why others are not.

    refused: those that do not work although they are part of the measurement, by name.
    """

    ways: tuple[Way, ...] = ()
    refused: Mapping[str, BenchError] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def try_ways(
    ways: Sequence[Way],
    program: str,
    target: Target,
    allocation: Allocation,
    *,
    nodes: int,
    required: bool,
    begun: Collection[str] = (),
    progress: Progress,
) -> Tried:
    """Try each way once on ``nodes`` nodes, and leave out engines that do not work, with the reason.

    A trial proves that the way leads into a mount namespace of its own: without bareboat's plugin, for one,
    Slurm silently ignores --container.  program: what is to be measured; required: an engine that does not
    work is a failure and no note; begun: the sides of a measurement that goes on, which keeps them.
    """
    if not ways:
        return Tried()
    target = replace(target, limit=min(target.limit, _LIMIT))
    bare = find_on_host(target.client, "readlink")
    step = Way(BARE).step(nodes, nodes, (bare, MOUNT_NAMESPACE), target.limit)
    outside = read_namespaces(target.client, allocation, step)
    measured, failures, notes = [], [], []
    refused: dict[str, BenchError] = {}
    for way in ways:
        try:
            # First on one node: some engines make a directory at their first use, and two nodes that share a
            # file system would be in each other's way (ch-run 0.31, for a squashfs file).
            for count in () if way.name == BARE else sorted({1, nodes}):
                step = way.step(count, count, ("readlink", MOUNT_NAMESPACE), target.limit)
                require_apart(outside, read_namespaces(target.client, allocation, step))
        except BenchError as error:
            progress.note(f"{way.name} does not work: {error}")
            if not way.peer or way.name in begun:
                refused[way.name] = error
                measured.append(way)
            elif required:
                failures.append(Failure(f"{way.name} is left out", str(error), error.hint))
            else:
                notes.append(f"{way.name} is left out: {error}")
            continue
        measured.append(way)
        if way.image is not None and allocation.launcher is None:
            notes += check_cache(way, program, target, allocation, nodes)
    return Tried(tuple(measured), refused, tuple(failures), tuple(notes))


def check_cache(
    way: Way, program: str, target: Target, allocation: Allocation, nodes: int
) -> tuple[str, ...]:
    """Say what is wrong with a way's name: its launches are not warm, or not cold; nothing if they are.

    A program that fails is left to the rounds.
    """
    traced = replace(way, variables=(*way.variables, ("BAREBOAT_TRACE", "1")))
    step = traced.step(nodes, nodes, (program,), target.limit)
    try:
        for _ in range(2):
            run_step(target.client, allocation, step)
        shown = run_step(target.client, allocation, step).stderr
    except BenchError:
        return ()
    said = _TRACE.findall(shown)
    wanted = "planned and entered" if way.variables else "entered by the cache"
    if len(said) == nodes and set(said) == {wanted}:
        return ()
    kept = sum(word == "entered by the cache" for word in said)
    place = f"{kept} of {nodes} nodes"
    return (f"{way.name}: at the third start of {program}, {place} took a plan that they had kept",)


def describe_way(way: Way, program: str, client: Client, allocation: Allocation) -> SideCommand:
    """How a way starts a program, for people.  Pure."""
    if allocation.launcher is None:
        flag = (f"--container={way.image}",) if way.image is not None else ()
        words: tuple[str, ...] = ("srun", *way.options, *flag, *way.before, program)
    else:
        words = local_command(client, replace(allocation, launcher=()), way.step(1, 1, (program,), 1.0))
    variables = (f"{name}={value}" for name, value in way.variables)
    # The only variable of a way is the one that has its launches planned anew.
    apart = way.peer or bool(way.variables)
    return SideCommand(way.name, " ".join((*variables, *words)), way.version, apart)
