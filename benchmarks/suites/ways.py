"""The ways to start a program that the launch suite compares, and whether each of them works here."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.engines import Installed, Kind
from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.results import Failure, SideCommand
from benchmarks.runner import Allocation, Step, run_step
from benchmarks.suites.common import (
    MOUNT_NAMESPACE,
    Target,
    find_in_image,
    find_on_host,
    kind_of,
    open_image,
    read_namespaces,
    require_apart,
)
from mpi_abi.rootfs import Opener

_LABEL = re.compile(r"([^/=]+)=(.+)", re.DOTALL)
_TRACE = re.compile(r"trace: (planned and entered|entered by the cache) in ")


@dataclass(frozen=True, slots=True)
class Image:
    """An image as named on the host, and what it is called in tables ("": its kind)."""

    path: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """What is started: its path on the host, and its path or name in an image; ``title`` heads its rows.

    mpi: it prints what mpi_hello prints, which is read and held to the step's shape.
    """

    title: str
    bare: str
    inside: str
    mpi: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start a program: its name in tables, and what it puts where in srun's command.

    image: the path of the image, None: bare; flag: image is srun's --container; before: stands in front of
    the program; options: srun's; variables: of the environment.
    """

    name: str
    image: str | None = None
    flag: bool = False
    before: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    installed: Installed | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name

    def step(self, nodes: int, ranks: int, argv: tuple[str, ...], limit: float) -> Step:
        """The step that starts a command this way.  Pure."""
        return Step(
            nodes,
            ranks,
            self.image if self.flag else None,
            (*self.before, *argv),
            limit,
            self.options,
            self.variables,
            title="" if self.flag or self.image is None else f"{argv[0]} by {self.name}",
        )

    def command(self, program: str) -> SideCommand:
        """How it starts a program, for people.  Pure."""
        words = [*(f"{name}={value}" for name, value in self.variables), "srun", *self.options]
        words += [f"--container={self.image}"] if self.flag else []
        version = self.installed.version if self.installed else ""
        return SideCommand(self.name, " ".join((*words, *self.before, program)), version)


BARE = Way("bare")


@dataclass(frozen=True, slots=True)
class Tried:
    """The ways that work, bare first, each with the path of each program; and why the others do not."""

    paths: dict[Way, dict[Program, str]]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def parse_image(text: str) -> Image:
    """Read ``[LABEL=]PATH``; a relative path starts in the working directory."""
    match = _LABEL.fullmatch(text)
    label, path = (match[1], match[2]) if match else ("", text)
    return Image(os.path.abspath(path), label)  # noqa: PTH100 (an image is a name; links in it stay)


def make_ways(images: Sequence[Image], engines: Sequence[Installed], *, cold: bool) -> tuple[Way, ...]:
    """All ways, bare first: bareboat with each image, warm and, if asked for, cold; each engine with each.

    Raises BenchError for an image that does not exist, or two of one label.
    """
    labels = [image.label or str(kind_of(image.path)) for image in images]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise BenchError(
            f"two images would be called {min(twice)!r} in the table", hint="name them: --image LABEL=PATH"
        )
    ways = [BARE]
    for image, label in zip(images, labels, strict=True):
        ways.append(Way(f"bareboat {label}", image.path, flag=True))
        if cold:
            variables = (("BAREBOAT_REPLAN", "1"),)
            ways.append(Way(f"bareboat {label}, cold", image.path, flag=True, variables=variables))
    for installed in engines:
        engine = installed.engine
        for image, label in zip(images, labels, strict=True):
            if kind_of(image.path) not in engine.takes:
                continue
            arguments = tuple(word.replace("{image}", image.path) for word in engine.arguments)
            ways.append(
                Way(
                    f"{engine.name} {label}",
                    image.path,
                    before=(installed.program, *arguments) if installed.program else (),
                    options=(engine.srun_option.replace("{image}", image.path),)
                    if engine.srun_option
                    else (),
                    installed=installed,
                )
            )
    return tuple(ways)


def try_ways(
    ways: Sequence[Way],
    programs: Sequence[Program],
    target: Target,
    allocation: Allocation,
    *,
    nodes: int,
    required: bool,
    progress: Progress,
) -> Tried:
    """Try each way once on ``nodes`` nodes, and leave out those that do not work, with the reason.

    A trial proves that the way leads into a mount namespace of its own: without bareboat's plugin, for one,
    Slurm silently ignores --container.  required: an engine that does not work is a failure and no note.
    Raises BenchError when no way of bareboat works: its first error.
    """
    bare = find_on_host(target.client, "readlink")
    outside = read_namespaces(
        target.client, allocation, Step(nodes, nodes, None, (bare, MOUNT_NAMESPACE), target.limit)
    )
    paths = {BARE: {program: find_on_host(target.client, program.bare) for program in programs}}
    errors: dict[Way, BenchError] = {}
    notes: list[str] = []
    for way in ways:
        if way.image is None:
            continue
        try:
            readlink, *inside = paths_in(
                target.opener, way.image, ("readlink", *(program.inside for program in programs))
            )
            # First on one node: some engines make a directory at their first use, and two nodes that share a
            # file system would be in each other's way (ch-run 0.31, for a squashfs file).
            for count in sorted({1, nodes}):
                step = way.step(count, count, (readlink, MOUNT_NAMESPACE), target.limit)
                require_apart(outside, read_namespaces(target.client, allocation, step))
            paths[way] = dict(zip(programs, inside, strict=True))
        except BenchError as error:
            errors[way] = error
            progress.note(f"{way} is left out: {error}")
    if not any(way.flag for way in paths):
        raise next(error for way, error in errors.items() if way.flag)
    for way, found in paths.items():
        if way.flag:
            notes += [check_cache(way, path, target, allocation, nodes) for path in found.values()]
    failures = [
        Failure(f"{way} is left out", str(error), error.hint)
        for way, error in errors.items()
        if way.flag or required
    ]
    notes += [f"{way} is left out: {errors[way]}" for way in errors if not (way.flag or required)]
    return Tried(paths, tuple(failures), tuple(note for note in notes if note))


def paths_in(opener: Opener, image: str, names: Sequence[str]) -> tuple[str, ...]:
    """Find programs in an image; in a file that cannot be opened here they are called as they are named.

    An engine may know more formats than bareboat does; whether it finds them is seen at their start.
    """
    with ExitStack() as opened:
        try:
            view = opened.enter_context(open_image(opener, image))
        except BenchError:
            if kind_of(image) is Kind.DIRECTORY:
                raise
            return tuple(names)
        return tuple(find_in_image(view, image, name) for name in names)


def check_cache(way: Way, program: str, target: Target, allocation: Allocation, nodes: int) -> str:
    """Say what is wrong with a way's name: its launches are not warm, or not cold; "" if they are.

    A program that fails is left to the rounds.
    """
    step = way.step(nodes, nodes, (program,), target.limit)
    traced = Way(way.name, way.image, flag=True, variables=(*way.variables, ("BAREBOAT_TRACE", "1")))
    try:
        run_step(target.client, allocation, step)
        run_step(target.client, allocation, traced.step(nodes, nodes, (program,), target.limit))
        shown = run_step(
            target.client, allocation, traced.step(nodes, nodes, (program,), target.limit)
        ).stderr
    except BenchError:
        return ""
    said = _TRACE.findall(shown)
    wanted = "planned and entered" if way.variables else "entered by the cache"
    if len(said) == nodes and set(said) == {wanted}:
        return ""
    kept = sum(word == "entered by the cache" for word in said)
    return f"{way}: at the third start of {program}, {kept} of {nodes} nodes took a plan that they had kept"
