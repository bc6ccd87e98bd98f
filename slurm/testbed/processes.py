"""Find and end the processes of one testbed, and no others.

A process belongs to a testbed if it is recorded (number and start time), if it is in one of its network
namespaces (whose inodes are held by pins, so that they cannot have been given to others), or if its
environment says so: every daemon gets ``MARK``, and a client such as srun has ``SLURM_CONF``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed.state import ProcessId

MARK = "BAREBOAT_TESTBED_STATE"
"""Set in the environment of every daemon to the state directory."""

_CLIENTS = frozenset(
    {"srun", "salloc", "sbatch", "sattach", "sbcast", "scancel", "squeue", "sinfo", "scontrol"}
)
_END_LIMIT = 10.0
"""Seconds until a process that survives SIGKILL is an error."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says and a testbed needs: state letter, parent, start time in clock ticks."""

    command: str
    state: str
    parent: int
    start_time: int


@dataclass(frozen=True, slots=True)
class Marks:
    """By what the processes of a testbed are known."""

    directory: Path
    recorded: frozenset[tuple[int, int]]
    networks: frozenset[tuple[int, int]]


def parse_stat(text: str) -> Stat:
    """Read the text of /proc/PID/stat (proc(5)); the command may hold blanks and parentheses.

    Raises:
        SlurmError: if it is none.
    """
    head, parenthesis, tail = text.rpartition(")")
    fields = tail.split()
    try:
        if not parenthesis or "(" not in head:
            raise ValueError("no command in parentheses")
        return Stat(head.split("(", 1)[1], fields[0], int(fields[1]), int(fields[19]))
    except (IndexError, ValueError) as error:
        raise SlurmError(f"not the text of /proc/PID/stat: {error}") from error


def read_stat(pid: int) -> Stat | None:
    """The process's stat, or None if there is no such process (any more)."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except (OSError, SlurmError):
        return None


def identify(role: str, pid: int) -> ProcessId:
    """The lasting identity of a running process.

    Raises:
        SlurmError: if it has ended.
    """
    stat = read_stat(pid)
    if stat is None:
        raise SlurmError(f"{role} (process {pid}) has ended at once")
    return ProcessId(role, pid, stat.start_time)


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs; a zombie does not."""
    stat = read_stat(process.pid)
    return stat is not None and stat.start_time == process.start_time and stat.state not in "ZX"


def network_of(path: str) -> tuple[int, int] | None:
    """Device and inode of a network namespace by a file of /proc/PID/ns or a pin; None if there is none."""
    try:
        found = Path(path).stat()
        # A pin that is not mounted (after a reboot) is an ordinary file on the disk.
        if found.st_dev != Path("/proc/self/ns/net").stat().st_dev:
            return None
        return found.st_dev, found.st_ino
    except OSError:
        return None


def find(marks: Marks) -> tuple[ProcessId, ...]:
    """All running processes of the testbed, this one and its ancestors excepted."""
    spared = frozenset(_ancestors())
    place = _place(str(marks.directory))
    return tuple(
        ProcessId(stat.command, pid, stat.start_time)
        for pid, stat in _running()
        if pid not in spared and _belongs(pid, stat, marks, place)
    )


def _running() -> Iterator[tuple[int, Stat]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read_stat(int(entry))
            if stat is not None and stat.state not in "ZX":
                yield int(entry), stat


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        stat = read_stat(pid)
        pid = 0 if stat is None else stat.parent


def _place(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _belongs(pid: int, stat: Stat, marks: Marks, place: tuple[int, int] | None) -> bool:
    if (pid, stat.start_time) in marks.recorded:
        return True
    if marks.networks and network_of(f"/proc/{pid}/ns/net") in marks.networks:
        return True
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    marked = f"{MARK}={marks.directory}".encode() in environment
    client = f"SLURM_CONF={marks.directory}/slurm.conf".encode() in environment and stat.command in _CLIENTS
    # The same path in another root (a container, a chroot) is another testbed's.
    return (marked or client) and _place(f"/proc/{pid}/root{marks.directory}") == place


def kill_all(marks: Marks) -> int:
    """SIGKILL the testbed's processes until none is left, and return how many there were.

    Raises:
        SlurmError: if one still runs after ten seconds.
    """
    deadline = time.monotonic() + _END_LIMIT
    seen: set[ProcessId] = set()
    pause = 0.002
    while left := find(marks):
        seen.update(left)
        if time.monotonic() > deadline:
            names = ", ".join(f"{process.role} ({process.pid})" for process in left)
            raise SlurmError(
                f"these processes of the testbed survive SIGKILL: {names}",
                hint="they hang in the kernel (state D in ps): end what they wait for, then run down again",
            )
        for process in left:
            kill(process)
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return len(seen)


def kill(process: ProcessId, number: int = signal.SIGKILL) -> None:
    """Signal that very process: the pidfd is compared before it is used, so no later one is hit."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def recorded(processes: Collection[ProcessId]) -> frozenset[tuple[int, int]]:
    """The form in which ``Marks`` wants recorded processes."""
    return frozenset((process.pid, process.start_time) for process in processes)
