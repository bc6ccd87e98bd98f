"""What exists on this machine that a testbed, a container or a test may leave behind: seen, and compared.

Read only.  A snapshot is taken before and after; what only the second one has was left behind.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from slurm.testbed.processes import read_stat

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run")
"""Directories in which whatever has one of ``PREFIXES`` in front of its name is of interest."""
PREFIXES = ("bareboat", "mpich", "ompi", "openmpi", "pmix", "ucx", "vader", "sm_segment", "slurm")
STATE = "/var/lib/bareboat-testbed"
SETTLE = 5.0
"""Seconds that something on its way out gets: the kernel ends namespaces and loop devices a little later."""
_POLL = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sets of short descriptions, one for each kind of thing; named network namespaces are among the mounts."""

    mounts: frozenset[str]
    links: frozenset[str]
    loop_devices: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]


def take() -> Snapshot:
    """See what is there now: of processes the living descendants of this one, of the rest the whole machine."""
    return Snapshot(
        mounts=frozenset(_mounts()),
        links=frozenset(f"network link {name}" for _index, name in socket.if_nameindex()),
        loop_devices=frozenset(_loop_devices()),
        processes=frozenset(_descendants()),
        files=frozenset(_files()),
    )


def adopt_orphans() -> None:
    """Make every orphan among this process's descendants its child (PR_SET_CHILD_SUBREAPER, prctl(2)).

    Without it, a daemon that outlives its parent is nobody's and could not be told from other people's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def left_behind(before: Snapshot, *, settle: float = SETTLE) -> tuple[str, ...]:
    """Descriptions of what has come since ``before`` and is still there ``settle`` seconds from now, sorted."""
    deadline = time.monotonic() + settle
    while True:
        after = take()
        new = [
            thing
            for field in fields(Snapshot)
            for thing in getattr(after, field.name) - getattr(before, field.name)
        ]
        if not new or time.monotonic() > deadline:
            return tuple(sorted(new))
        time.sleep(_POLL)


def _mounts() -> Iterator[str]:
    # proc(5), mountinfo: field 1 is the mount's identity, field 5 its mount point, the first after " - " its type.
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        head, _, tail = line.partition(" - ")
        names = head.split()
        yield f"mount {names[0]} of {tail.split()[0]} on {names[4]}"


def _loop_devices() -> Iterator[str]:
    for device in Path("/sys/block").glob("loop*"):
        try:
            backing = (device / "loop" / "backing_file").read_text().strip()
        except OSError:
            continue  # not in use
        yield f"loop device {device.name} of {backing}"


def _descendants() -> Iterator[str]:
    running = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := read_stat(int(entry))) is not None:
            running[int(entry)] = stat
    ours = {os.getpid()}
    # A parent may have a higher number than its child, so once over the table is not enough.
    while found := {pid for pid, stat in running.items() if stat.parent in ours} - ours:
        ours |= found
    for pid in ours - {os.getpid()}:
        stat = running[pid]
        # A zombie is gone but for the asking; some can be reaped by process 1 only.
        if stat.state not in "ZX":
            yield f"process {pid} ({stat.command}, started at {stat.start_time})"


def _files() -> Iterator[str]:
    for directory in TEMPORARY:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            if name.lstrip(".").startswith(PREFIXES):
                yield f"{directory}/{name}"
    for entry in Path(STATE).glob("*"):
        yield str(entry)
