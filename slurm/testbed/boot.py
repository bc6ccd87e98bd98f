"""The first process of a node: it makes the node's namespaces, then becomes slurmd.

Run by its file name as ``python -I boot.py SPEC`` (a JSON file), hence with the standard library only.
It makes the network namespace, pins it, says so on standard output, and waits for a line on standard
input: by then the parent has laid the node's cable.  If the parent dies first, this ends with it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 1 << 12, 1 << 14, 1 << 19
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x40000000
NS_GET_MNTNS_ID = 0x8008B705
CGROUPS = "/sys/fs/cgroup"


def _call(name: str, *arguments: object, path: str) -> None:
    """Call a function of the C library that returns 0 or sets errno; Python 3.11 has none of these."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", path)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
        path=target,
    )


def detach(target: str) -> None:
    """umount2(2) with MNT_DETACH: gone for all who look, whoever still uses it."""
    _call("umount2", target.encode(), MNT_DETACH, path=target)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _call("unshare", flags, path="namespaces")


def _pin_network(pin: str) -> None:
    """Keep the network namespace findable by a file: its inode cannot be given to another one meanwhile."""
    unshare(CLONE_NEWNET)
    with Path(pin).open("w"):
        pass
    mount("/proc/self/ns/net", pin, "", MS_BIND)


def _unshare_mounts_early() -> None:
    """Make the mount namespace such that every later one counts as newer.

    job_container/tmpfs bind mounts a job's mount namespace, which the kernel allows only for a namespace
    newer than one's own (else: EINVAL, against loops).  Linux 6.18 hands out the numbers by which it tells
    in blocks, one a processor: so the namespace must be made on the processor with the lowest block.  A
    real site is not concerned: its slurmd lives in the first namespace of all.
    """
    allowed = os.sched_getaffinity(0)
    numbers = {}
    for processor in sorted(allowed):
        os.sched_setaffinity(0, {processor})
        unshare(CLONE_NEWNS)
        with Path("/proc/self/ns/mnt").open("rb") as namespace:
            try:
                answer = fcntl.ioctl(namespace, NS_GET_MNTNS_ID, bytes(8))
            except OSError:  # before Linux 6.11; there, the numbers only grow
                break
        numbers[processor] = struct.unpack("Q", answer)[0]
    if numbers:
        os.sched_setaffinity(0, {min(numbers, key=lambda processor: numbers[processor])})
        unshare(CLONE_NEWNS)
    os.sched_setaffinity(0, allowed)


def _private_directories(spool: str, spool_target: str, hosts: str) -> None:
    """Give the node what no two machines share: with a common /dev/shm or /tmp, MPI takes nodes for one."""
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    lock = Path("/run/lock")
    lock.mkdir()
    lock.chmod(0o1777)
    mount(spool, spool_target, "", MS_BIND)
    mount(hosts, "/etc/hosts", "", MS_BIND)


def _fresh_sys() -> None:
    """Mount a /sys that shows the node's own interfaces (UCX lists /sys/class/net), keeping the cgroups.

    sysfs shows the network namespace of whoever mounted it; a new one hides what was mounted below the old.
    """
    keep = Path("/run/.cgroup")
    has_cgroups = os.path.ismount(CGROUPS)
    if has_cgroups:
        keep.mkdir()
        mount(CGROUPS, str(keep), "", MS_BIND | MS_REC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV)
    if has_cgroups:
        mount(str(keep), CGROUPS, "", MS_BIND | MS_REC)
        detach(str(keep))
        keep.rmdir()


def main(arguments: Sequence[str]) -> None:
    """Become a node: the one argument is the JSON file that describes it."""
    spec = json.loads(Path(arguments[0]).read_text())
    _pin_network(spec["pin"])
    os.write(1, b"pinned\n")
    if sys.stdin.readline() != "go\n":
        raise SystemExit("the testbed's parent has gone before the network was there")
    unshare(CLONE_NEWUTS | CLONE_NEWIPC)
    _unshare_mounts_early()
    # Slave: what the host mounts later (an image) appears here, nothing of here appears on the host.
    mount("none", "/", "", MS_REC | MS_SLAVE)
    socket.sethostname(spec["name"])
    _private_directories(spec["spool"], spec["spool_target"], spec["hosts"])
    _fresh_sys()
    with Path(spec["log"]).open("ab", buffering=0) as log, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir("/")
    os.execv(spec["argv"][0], spec["argv"])


if __name__ == "__main__":
    main(sys.argv[1:])
