"""Other container engines: which there are, which of them this machine has, and how each starts a program."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.errors import BenchError
from benchmarks.runner import Client, run_command


class Kind(StrEnum):
    """What an image is on disk."""

    DIRECTORY = "directory"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Engine:
    """How an engine starts a program in an image; ``{image}`` stands for the image's path.

    programs: names of its program, of which the first that is in PATH is used; arguments: what stands
    between that and the program to start; srun_option: for one that is part of srun; takes: the kinds of
    image that it can start.
    """

    name: str
    takes: tuple[Kind, ...]
    programs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    srun_option: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """An engine of this machine: its program ("" for a part of srun) and what it says of its version."""

    engine: Engine
    program: str = ""
    version: str = ""


ENGINES = (
    Engine("ch-run", (Kind.DIRECTORY, Kind.FILE), ("ch-run",), ("{image}", "--")),
    Engine("apptainer", (Kind.DIRECTORY, Kind.FILE), ("apptainer", "singularity"), ("exec", "{image}")),
    # Without a network of its own, as the others; ":O" makes mount points in an image that is not ours.
    Engine(
        "podman",
        (Kind.DIRECTORY,),
        ("podman",),
        ("run", "--rm", "--network=host", "--rootfs", "{image}:O"),
    ),
    Engine("pyxis", (Kind.FILE,), srun_option="--container-image={image}"),
)
"""crun and runc are not here: they start bundles, which hold a command, and not a command in an image."""


def find_engines(client: Client, asked: Sequence[str] | None) -> tuple[Installed, ...]:
    """Find engines on this host; whether they work on the nodes is for a trial to say.

    asked: their names, None for whatever there is.  Raises BenchError for one that was asked for and is not
    known, or not here.
    """
    known = {engine.name: engine for engine in ENGINES}
    for name in asked or ():
        if name not in known:
            raise BenchError(f"there is no engine {name!r} to measure", hint=f"known: {', '.join(known)}")
    found = []
    for name, engine in known.items():
        if asked is not None and name not in asked:
            continue
        installed = _find(client, engine)
        if installed is not None:
            found.append(installed)
        elif asked is not None:
            what = (
                f"srun has no {engine.srun_option.partition('=')[0]}" if engine.srun_option else "not in PATH"
            )
            raise BenchError(f"{name} is not on this host: {what}", hint="leave it out of --engines")
    return tuple(found)


def _find(client: Client, engine: Engine) -> Installed | None:
    if engine.srun_option:
        if shutil.which("srun", path=client.environment.get("PATH")) is None:
            return None
        _, shown, _ = run_command(client, ("srun", "--help"), limit=60.0)
        return Installed(engine) if engine.srun_option.partition("=")[0] in shown else None
    for name in engine.programs:
        program = shutil.which(name, path=client.environment.get("PATH"))
        if program is not None:
            return Installed(engine, program, _version(client, program))
    return None


def _version(client: Client, program: str) -> str:
    code, stdout, stderr = run_command(client, (program, "--version"), limit=60.0)
    found = re.search(r"\d+(\.\d+)+\S*", stdout + stderr)
    return found[0] if code == 0 and found else ""
