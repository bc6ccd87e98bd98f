"""What exists on this machine that a testbed, a container or a test may leave behind: seen, and compared.

Read only.  A snapshot is taken before and after; what only the second one has was left behind.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from slurm.testbed import state as records
from slurm.testbed.processes import is_alive, network_of, read_stat

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lib")
"""Directories in which whatever has one of ``PREFIXES`` in front of its name is of interest."""
PREFIXES = ("bareboat", "mpich", "ompi", "openmpi", "pmix", "ucx", "vader", "sm_segment", "slurm")
SETTLE = 5.0
"""Seconds that something on its way out gets: the kernel ends namespaces and loop devices a little later."""
_OWNED = re.compile(r"bareboat-(?:demo|test)-(\d+)-[\w-]+")
"""Directories that name the process that made them; another one's are its own business while it lives."""
_POLL = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sets of short descriptions, one for each kind; pinned network namespaces are among the mounts."""

    mounts: frozenset[str]
    links: frozenset[str]
    loop_devices: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]


def take() -> Snapshot:
    """See what is there now: the living descendants of this process, and the whole machine's of the rest.

    Other people's running testbeds are passed over.
    """
    descendants = _descendants()
    ours = {os.getpid(), *descendants}
    others = tuple(_others_testbeds(ours))
    return Snapshot(
        mounts=frozenset(_mounts(others)),
        links=frozenset(_links(others)),
        loop_devices=frozenset(_loop_devices(ours)),
        processes=frozenset(descendants.values()),
        files=frozenset(_files(others, ours)),
    )


def take_node(slurmd: int) -> frozenset[str]:
    """See what is on a testbed's node: its mounts, its /run, its processes, and what its slurmd has open.

    Args:
        slurmd: the number of the node's first process.
    """
    found = {f"on the node: {thing}" for thing in _mounts((), Path(f"/proc/{slurmd}/mountinfo"))}
    root = Path(f"/proc/{slurmd}/root")
    for directory, names, files in os.walk(root / "run"):
        place = Path(directory).relative_to(root)
        # What a user keeps below /run/bareboat/UID is kept on purpose.
        if place.parts[:2] != ("run", "bareboat") or len(place.parts) < 3:
            found |= {f"on the node: /{place / name}" for name in (*names, *files)}
    network = network_of(f"/proc/{slurmd}/ns/net")
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != slurmd and network_of(f"/proc/{entry}/ns/net") == network:
            stat = read_stat(int(entry))
            if stat is not None and stat.state not in "ZX":
                found.add(f"on the node: process {entry} ({stat.command}, {stat.state})")
    for descriptor in Path(f"/proc/{slurmd}/fd").iterdir():
        with suppress(OSError):
            # Sockets and pipes come and go with Slurm's messages.
            if not (target := str(descriptor.readlink())).startswith(("socket:", "pipe:")):
                found.add(f"on the node: open in slurmd: {target}")
    return frozenset(found)


def adopt_orphans() -> None:
    """Make every orphan among this process's descendants its child (PR_SET_CHILD_SUBREAPER, prctl(2)).

    Without it, a daemon that outlives its parent is nobody's and could not be told from other people's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def end_descendants() -> None:
    """SIGKILL every living descendant, for when all that is wanted has ended by itself.

    The children of a killed compiler or installer live on and may make again what is being removed.
    """
    while living := _descendants():
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL / 10)


def left_behind(before: Snapshot, *, settle: float = SETTLE, shared: bool = True) -> tuple[str, ...]:
    """Descriptions of what came after ``before`` and is still there ``settle`` seconds from now, sorted.

    Without ``shared``, only this process's descendants count: all the rest may be other people's.
    """
    deadline = time.monotonic() + settle
    while True:
        after = take()
        new = [
            thing
            for field in fields(Snapshot)
            if shared or field.name == "processes"
            for thing in getattr(after, field.name) - getattr(before, field.name)
        ]
        if not new or time.monotonic() > deadline:
            return tuple(sorted(new))
        time.sleep(_POLL)


def _others_testbeds(ours: set[int]) -> Iterator[records.State]:
    for name in records.names():
        state = records.try_load(name)
        if state is None:
            continue
        living = [process for process in (state.owner, *state.processes) if is_alive(process)]
        if any(process.pid not in ours for process in living):
            yield state


def _mounts(others: tuple[records.State, ...], table: Path = Path("/proc/self/mountinfo")) -> Iterator[str]:
    theirs = tuple(f"{records.directory_of(state.name)}/" for state in others)
    # proc(5), mountinfo: field 1 is the mount's identity, 5 its mount point, the first after " - " its type.
    for line in table.read_text(errors="replace").splitlines():
        head, _, tail = line.partition(" - ")
        names = head.split()
        if not names[4].startswith(theirs):
            yield f"mount {names[0]} of {tail.split()[0]} on {names[4]}"


def _links(others: tuple[records.State, ...]) -> Iterator[str]:
    bridges = {state.bridge for state in others}
    for _index, name in socket.if_nameindex():
        # A node's link has the bridge's name, "n" and the node's number.
        if name.partition("n")[0] not in bridges:
            yield f"network link {name}"


def _loop_devices(ours: set[int]) -> Iterator[str]:
    for device in Path("/sys/block").glob("loop*"):
        try:
            backing = (device / "loop" / "backing_file").read_text().strip()
        except OSError:
            continue  # not in use
        if not any(_is_others(name, ours) for name in Path(backing).parts):
            yield f"loop device {device.name} of {backing}"


def _is_others(name: str, ours: set[int]) -> bool:
    """Whether a directory's name is that of one which a living process has made that is none of ours."""
    owner = _OWNED.fullmatch(name)
    return owner is not None and int(owner[1]) not in ours and Path(f"/proc/{owner[1]}").exists()


def _descendants() -> dict[int, str]:
    """Descriptions of the living descendants of this process, by their numbers."""
    running = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := read_stat(int(entry))) is not None:
            running[int(entry)] = stat
    ours = {os.getpid()}
    # A parent may have a higher number than its child, so once over the table is not enough.
    while found := {pid for pid, stat in running.items() if stat.parent in ours} - ours:
        ours |= found
    return {
        pid: f"process {pid} ({running[pid].command}, started at {running[pid].start_time})"
        for pid in ours - {os.getpid()}
        # A zombie is gone but for the asking; some can be reaped by process 1 only.
        if running[pid].state not in "ZX"
    }


def _files(others: tuple[records.State, ...], ours: set[int]) -> Iterator[str]:
    for directory in TEMPORARY:
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            path = f"{directory}/{name}"
            interesting = name.lstrip(".").startswith(PREFIXES) and path != str(records.BASE)
            if interesting and not _is_others(name, ours):
                yield path
    theirs = {state.name for state in others}
    yield from (str(records.directory_of(name)) for name in records.names() if name not in theirs)
