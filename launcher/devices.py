"""Probe of the devices that were asked for: their CDI specifications and their nodes.  Reads only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.cdi import LIMIT, NO_EDITS, SUFFIXES, DeviceNode, Edits, SpecFile, choose, parse_spec
from launcher.errors import BareboatError
from mpi_abi.guards import Recorder

_KINDS = {"c": stat.S_ISCHR, "u": stat.S_ISCHR, "b": stat.S_ISBLK, "p": stat.S_ISFIFO}
_GRANTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A device node of the host: its type as in `DeviceNode`, "" for anything else, and its numbers.

    ``refusal`` is the errno by which the kernel would refuse to open it, 0 where it would not.
    """

    kind: str
    number: tuple[int, int]
    refusal: int
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Devices:
    """What was asked for, what that changes, and what of it the host has.

    ``nodes`` holds the host's device nodes by path; ``present`` which of the sources and targets exist on the
    host; ``granted`` is what the environment says of the step's own GPUs, "" where it says nothing.
    """

    names: tuple[str, ...] = ()
    edits: Edits = NO_EDITS
    nodes: Mapping[str, NodeFacts] | None = None
    present: frozenset[str] = frozenset()
    granted: str = ""


NO_DEVICES = Devices()


def probe_devices(
    names: tuple[str, ...],
    directories: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    recorder: Recorder | None = None,
) -> Devices:
    """Read the specifications in ``directories`` (a later one goes first) and look for what they name.

    ``recorder`` gets guards of the directories, of the files, and of the kernel's leave to open the nodes.
    Raises BareboatError for a device that is not known, or known twice.
    """
    if not names:
        return NO_DEVICES
    recorder = recorder or Recorder()
    edits = choose(names, _read_files(directories, recorder), directories)
    places = [place for mount in edits.mounts for place in (mount.source, mount.target)]
    places += [node.path for node in edits.nodes if node.path != node.source]
    return Devices(
        names,
        edits,
        {node.source: facts for node in edits.nodes if (facts := _probe_node(node, recorder))},
        frozenset(place for place in places if recorder.exists(place)),
        ", ".join(f"{name}={environment[name]}" for name in _GRANTS if environment.get(name)),
    )


def _read_files(directories: Iterable[str], recorder: Recorder) -> Iterator[SpecFile]:
    for priority, directory in enumerate(directories):
        recorder.same(directory)
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            continue  # a host without devices has no such directory
        except OSError as error:
            yield SpecFile(directory, priority, problem=f"{directory} cannot be read: {error.strerror}")
            continue
        for name in names:
            if name.endswith(SUFFIXES):
                yield _read_file(f"{directory.rstrip('/')}/{name}", priority, recorder)


def _read_file(path: str, priority: int, recorder: Recorder) -> SpecFile:
    recorder.same(path)
    try:
        # A pipe would be waited for.
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return SpecFile(path, priority, problem=f"{path} cannot be read: it is no file")
        with Path(path).open("rb") as file:
            return SpecFile(path, priority, parse_spec(file.read(LIMIT + 1), path))
    except OSError as error:
        return SpecFile(path, priority, problem=f"{path} cannot be read: {error.strerror}")
    except BareboatError as error:
        return SpecFile(path, priority, problem=str(error))


def _probe_node(node: DeviceNode, recorder: Recorder) -> NodeFacts | None:
    """Look at a node without opening it: that alone would make some devices do something."""
    if not recorder.exists(node.source):
        return None
    status = os.stat(node.source)  # noqa: PTH116 - paths stay strings
    kind = next((letter for letter in "cbp" if _KINDS[letter](status.st_mode)), "")
    refusal = 0
    for letter in node.access:
        # access(2) asks the device cgroup as open(2) does (devcgroup_inode_permission in fs/namei.c).
        recorder.usable(node.source, write=letter == "w")
        refusal = refusal or _refusal(node.source, write=letter == "w")
    number = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return NodeFacts(kind, number, refusal, f"{stat.S_IMODE(status.st_mode):04o}, group {status.st_gid}")


def _refusal(path: str, *, write: bool) -> int:
    """The errno by which the kernel refuses to open a node, 0 where it does not."""
    if os.access(path, os.W_OK if write else os.R_OK):
        return 0
    try:
        # Only to hear why: what access(2) refuses, open(2) refuses before the driver is asked.
        os.close(os.open(path, (os.O_WRONLY if write else os.O_RDONLY) | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return error.errno or errno.EACCES
    return 0
