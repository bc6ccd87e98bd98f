"""Where a testbed lives and what is recorded of it, so that any later process can take it down.

Everything is written down *before* it is made: whoever finds the record after a crash knows what may exist.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from slurm.errors import SlurmError

BASE = Path("/var/lib/bareboat-testbed")
"""Below it, one directory a testbed.  Readable by all: users need slurm.conf and munge's socket."""

MAX_TESTBEDS = 256
"""One /24 each out of 198.18.0.0/16, which RFC 2544 sets aside for tests and no site routes."""

NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,19}")
"""Short, since munge's socket path must fit into a sockaddr_un (unix(7): 108 bytes)."""


class Phase(StrEnum):
    """How far a testbed got."""

    STARTING = "starting"
    UP = "up"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    ``start_time`` is field 22 of /proc/PID/stat (proc(5)), in clock ticks since boot.
    """

    role: str
    pid: int
    start_time: int


@dataclass(frozen=True, slots=True)
class State:
    """The record of one testbed."""

    name: str
    index: int
    phase: Phase
    boot_id: str
    owner: ProcessId
    port: int
    nodes: tuple[str, ...]
    mpi: str
    plugin: str | None
    processes: tuple[ProcessId, ...] = ()

    @property
    def subnet(self) -> str:
        """The testbed's network in CIDR notation."""
        return f"198.18.{self.index}.0/24"

    @property
    def bridge(self) -> str:
        """The bridge's interface name on the host."""
        return f"bb{self.index}"

    @property
    def address(self) -> str:
        """The host's address on the bridge, by which the nodes reach slurmctld and srun."""
        return f"198.18.{self.index}.254"

    def node_address(self, node: str) -> str:
        """The address of a node."""
        return f"198.18.{self.index}.{self.nodes.index(node) + 1}"

    def node_link(self, node: str) -> str:
        """The host's end of a node's veth pair."""
        return f"{self.bridge}n{self.nodes.index(node) + 1}"


def check_name(name: str) -> str:
    """Return the name if a testbed may be called that.

    Raises:
        SlurmError: for anything but a letter followed by at most 19 letters, digits and dashes.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise SlurmError(
            f"a testbed cannot be called {name!r}",
            hint="use a small letter, then at most 19 small letters, digits or dashes",
        )
    return name


def directory_of(name: str, base: Path = BASE) -> Path:
    """The state directory of the testbed of that name, whether it exists or not."""
    return base / check_name(name)


def identity_of(directory: Path) -> str:
    """What tells a state directory from one of the same path in another root (a container, a chroot).

    Raises:
        SlurmError: if it does not exist.
    """
    try:
        found = directory.stat()
    except OSError as error:
        raise SlurmError(f"the testbed's directory {directory} is not there: {error.strerror}") from error
    return f"{directory} {found.st_dev}:{found.st_ino}"


def encode(state: State) -> str:
    """The record as JSON text."""
    return json.dumps(asdict(state), indent=1) + "\n"


def decode(text: str) -> State:
    """Read a record.

    Raises:
        SlurmError: if the text is no record of a testbed.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        return State(
            name=check_name(str(data["name"])),
            index=int(data["index"]),
            phase=Phase(data["phase"]),
            boot_id=str(data["boot_id"]),
            owner=_process(data["owner"]),
            port=int(data["port"]),
            nodes=tuple(str(node) for node in data["nodes"]),
            mpi=str(data["mpi"]),
            plugin=None if data["plugin"] is None else str(data["plugin"]),
            processes=tuple(_process(entry) for entry in data["processes"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise SlurmError(f"the testbed's record cannot be read: {type(error).__name__}: {error}") from error


def _process(entry: dict[str, Any]) -> ProcessId:
    return ProcessId(role=str(entry["role"]), pid=int(entry["pid"]), start_time=int(entry["start_time"]))


def save(state: State, base: Path = BASE) -> None:
    """Write the record, whole or not at all."""
    directory = directory_of(state.name, base)
    beside = directory / "state.json.new"
    beside.write_text(encode(state))
    beside.chmod(0o644)
    beside.rename(directory / "state.json")


def load(name: str, base: Path = BASE) -> State:
    """Read the record of a testbed.

    Raises:
        SlurmError: if there is no testbed of that name, or its record is damaged.
    """
    path = directory_of(name, base) / "state.json"
    try:
        return decode(path.read_text())
    except FileNotFoundError:
        known = ", ".join(names(base)) or "none"
        raise SlurmError(
            f"there is no testbed called {name!r} (there: {known})",
            hint=f"start one: bareboat testbed up --nodes 2 --name {name}",
        ) from None


def try_load(name: str, base: Path = BASE) -> State | None:
    """The record of a testbed, or None if it has none that can be read."""
    try:
        return load(name, base)
    except SlurmError:
        return None


def names(base: Path = BASE) -> tuple[str, ...]:
    """The names of everything that has a state directory, half-made ones included."""
    if not base.is_dir():
        return ()
    return tuple(
        sorted(
            entry.name for entry in base.iterdir() if NAME_PATTERN.fullmatch(entry.name) and entry.is_dir()
        )
    )


def boot_id() -> str:
    """This boot's identity (random(4)): process numbers recorded under another one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextmanager
def lock(base: Path = BASE) -> Iterator[None]:
    """Hold the one lock under which names and addresses are given out.

    It is taken on the directory itself, so that nothing stays behind; a holder may have removed the
    directory meanwhile, then the next one makes it anew.
    """
    while True:
        base.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink == 0:
                continue
            base.chmod(0o755)
            yield
            return
        finally:
            os.close(descriptor)
