"""Small input and output: what loaders, interpreters and logs do to a file system, as cases.

Writing and metadata go to directories outside of the image, on both sides to the same one.  Reading a tree
and importing Python's modules go to the image: bare, to its directory as it lies there, in the container, to
what is mounted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.cases import (
    BARE,
    CONTAINER,
    Asked,
    Case,
    Command,
    Facts,
    Figure,
    Ground,
    Level,
    Offer,
    Reading,
)
from benchmarks.errors import BenchError
from benchmarks.image_python import ImagePython, find_python
from benchmarks.runner import Output
from benchmarks.stats import Better

NAME = "io"
_MOST = 10
"""Up to so many nodes, and ranks on each, a full measurement has every number."""

_PROGRAM = "bareboat_io"
_INSIDE = (("BAREBOAT_MPI", "image"),)
"""Nothing here is an MPI program, but a launch judges all that it may load: a python3 whose mpi4py the host's
MPI does not fit would be refused."""

_DONE = re.compile(r"^(?:\d+: )?(write|meta|tree|import): (\d+) times, (\d+) bytes, (\d+\.\d+) s$")
_IMPORT = (
    "import sys, time; start = time.perf_counter(); "
    "import asyncio, ctypes, decimal, email, http.client, json, logging, unittest, xml.dom.minidom; "
    "took = time.perf_counter() - start; "
    "import os; "
    'found = [getattr(module, "__file__", None) for module in sys.modules.values()]; '
    "size = sum(os.stat(path).st_size for path in found if path); "
    'print(f"import: {len(found)} times, {size} bytes, {took:.9f} s")'
)
_READ = {"tree": "files", "import": "modules"}
"""What counts of the works that read from the image; all sides must have read the same."""


@dataclass(frozen=True, slots=True)
class Work:
    """What the ranks do in a directory; count: how often each rank does it, by level."""

    verb: str
    title: str
    count: Mapping[Level, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that both sides see under the same path; "": the scratch directory of the measurement."""

    title: str
    path: str


WORKS = (
    # 512 bytes a write, as dd does it, is what Shifter's authors showed (D. M. Jacobsen, R. S. Canon: Contain
    # This, Unleashing Docker for HPC, Cray User Group 2015).
    Work("write", "writes of 512 B", {Level.QUICK: 20_000, Level.NORMAL: 100_000, Level.FULL: 1_000_000}),
    Work(
        "meta", "make, look at, rename, remove", {Level.QUICK: 1_000, Level.NORMAL: 5_000, Level.FULL: 50_000}
    ),
)
PLACES = (Place("shared directory", ""), Place("tmpfs", "/dev/shm"))


def wanted(_asked: Asked) -> tuple[str, ...]:
    """What writes, and what reads a tree."""
    return (_PROGRAM,)


def offer(ground: Ground) -> Offer:
    """Every work in every place; the image's tree and its Python, if it is there as a directory."""
    if (BARE, _PROGRAM) not in ground.programs:
        raise BenchError(
            f"{_PROGRAM} could not be compiled on this host",
            hint="install a C compiler with a static C library, e.g. Debian's gcc and libc6-dev",
        )
    cases = []
    for nodes in _nodes(ground):
        for ranks in _ranks(ground, nodes):
            for work in WORKS:
                for place in PLACES:
                    arguments = (work.verb, place.path or ground.scratch, str(work.count[ground.asked.level]))
                    title = f"{work.title}, {place.title}"
                    commands = _both(ground, *arguments)
                    cases.append(
                        Case(NAME, title, nodes, ranks, commands, make_reader(work.verb, ranks), mpi=False)
                    )
    forms = (ground.image, *(path for _, path in ground.asked.forms))
    python = next((found for path in forms if (found := find_python(path))), None)
    if python is None:
        why = "none of the image's forms is a directory with a Python in it (--form directory=DIR)"
        return Offer(tuple(cases), notes=(f"no reading of a tree and no imports were measured: {why}",))
    for nodes in _nodes(ground):
        for ranks in _ranks(ground, nodes):
            for verb, title, sides in _of_image(ground, python):
                cases.append(Case(NAME, title, nodes, ranks, sides, make_reader(verb, ranks), mpi=False))
    return Offer(tuple(cases))


def make_reader(verb: str, ranks: int) -> Callable[[Output], Reading]:
    """What reads a step's output: a line from each rank, of which the slowest counts.  Pure."""

    def read(output: Output) -> Reading:
        found = [match for line in output.stdout.splitlines() if (match := _DONE.match(line))]
        if len(found) != ranks or any(match[1] != verb for match in found):
            raise BenchError(
                f"{len(found)} of {ranks} ranks said what they did: {output.stdout.strip()[:200]!r}",
                hint="run the program by hand: it prints a line on each rank",
            )
        slowest = max(float(match[4]) for match in found)
        if slowest <= 0:
            raise BenchError("the work took no time that the clock shows", hint="measure with --full")
        times, size = (sum(int(match[group]) for match in found) for group in (2, 3))
        facts = Facts(work=f"read {times} {_READ[verb]}, {size} bytes") if verb in _READ else Facts()
        if verb == "import":
            return Reading((Figure("time", slowest * 1e3, "ms", Better.LOWER),), facts)
        if verb == "meta":
            return Reading((Figure("rate", times / slowest, "files/s", Better.HIGHER),))
        return Reading((Figure("rate", size / slowest / 1e6, "MB/s", Better.HIGHER),), facts)

    return read


def _both(ground: Ground, *arguments: str) -> dict[str, Command]:
    """Plain programs need no option of srun."""
    return {
        BARE: Command((ground.programs[BARE, _PROGRAM], *arguments)),
        CONTAINER: Command(
            (ground.programs[CONTAINER, _PROGRAM], *arguments), ground.image, variables=_INSIDE
        ),
    }


def _of_image(ground: Ground, python: ImagePython) -> Iterator[tuple[str, str, dict[str, Command]]]:
    forms = ((CONTAINER, ground.image), *ground.asked.forms)
    program = ground.programs[BARE, _PROGRAM]
    tree = {BARE: Command((program, "tree", python.library_outside))}
    tree |= {
        side: Command((program, "tree", python.library), image, variables=_INSIDE) for side, image in forms
    }
    yield "tree", "read Python's library", tree
    argv = ("-S", "-B", "-c", _IMPORT)
    imports = {BARE: Command((*python.outside, *argv), variables=python.variables)}
    imports |= {side: Command((python.program, *argv), image, variables=_INSIDE) for side, image in forms}
    yield "import", "Python imports", imports


def _nodes(ground: Ground) -> tuple[int, ...]:
    """One node and all; in a full measurement those between as well."""
    between = range(1, min(_MOST, max(ground.nodes)) + 1) if ground.asked.level is Level.FULL else ()
    return tuple(sorted({*ground.nodes, *between}))


def _ranks(ground: Ground, nodes: int) -> tuple[int, ...]:
    """Of the whole step."""
    if ground.asked.ranks:
        return tuple(sorted({max(nodes, count) for count in ground.asked.ranks}))
    if ground.asked.level is Level.FULL:
        return tuple(nodes * number for number in range(1, _MOST + 1))
    return (nodes * ground.cpus_per_node,)
