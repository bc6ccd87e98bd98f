"""Probe of a running rank: what /proc says of it (proc(5)).  Reads only.

Everything here raises OSError where the process has ended or does not let itself be looked at.
"""

from __future__ import annotations

import hashlib
import os
import re
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.program import Operation, Verb
from mpi_abi.elfcache import ElfCache
from mpi_abi.errors import AbiError
from mpi_abi.families import C_ROLE
from mpi_abi.mpilib import identify, looks_like_mpi

Identity = tuple[int, int]
"""A file: its device and inode."""

DIGITS = 12
"""How much of a digest is told: enough to tell differences, and short enough for a line."""

_MAPPED = re.compile(r"([0-9a-f]+)-[0-9a-f]+ r\S+ \S+ \S+ \d+ *(/.*)?", re.ASCII)
_LIMIT = 10.0
"""Longest time to read a program, in seconds."""


@dataclass(frozen=True, slots=True)
class Container:
    """What the ranks of a node were to be in, and what the plan put there.

    ``users`` is the inode of the user namespace; ``stepd`` the program that a rank is before it executes its
    own.
    """

    root: Identity
    users: int
    stepd: Identity
    binds: tuple[tuple[str, str], ...]
    plan: str

    @property
    def plans_mpi(self) -> bool:
        """Whether the plan puts the host's MPI into the container."""
        return any(looks_like_mpi(target) for _, target in self.binds)


@dataclass(slots=True)
class Caches:
    """What several ranks share, read once."""

    digests: dict[tuple[int, ...], str] = field(default_factory=dict)
    libraries: dict[Identity, bool] = field(default_factory=dict)
    """Whether a file has MPI's C interface."""


def binds_of(operations: Sequence[Operation]) -> tuple[tuple[str, str], ...]:
    """Source and target of each mount of the host in a plan.  Pure."""
    return tuple((one.args[0], one.args[1]) for one in operations if one.verb is Verb.BIND)


def identity(path: str) -> Identity:
    """Say which file a path leads to."""
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def has_ended(pidfd: int) -> bool:
    """Whether the process of a pidfd has ended (pidfd_open(2))."""
    return bool(select.select([pidfd], [], [], 0)[0])


def has_executed(pid: int, stepd: Identity) -> bool:
    """Whether a rank has become its own program."""
    return identity(f"/proc/{pid}/exe") != stepd


def read_root(pid: int, container: Container) -> str:
    """Say whose the root is."""
    return "container" if identity(f"/proc/{pid}/root/") == container.root else "other"


def read_users(pid: int, container: Container) -> str:
    """Say whether the user namespace is the one of all ranks."""
    return "shared" if Path(f"/proc/{pid}/ns/user").stat().st_ino == container.users else "own"


def read_network(pid: int) -> str:
    """Say whether the network namespace is the job's, in which this process is."""
    same = Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
    return "job" if same else "other"


def read_shm(pid: int) -> str:
    """Say whose /dev/shm is."""
    Path(f"/proc/{pid}/root/").stat()  # one that has ended is no process without /dev/shm
    try:
        found = identity(f"/proc/{pid}/root/dev/shm")
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    return "host" if found == identity("/dev/shm") else "other"


def read_program(pid: int, caches: Caches) -> str:
    """Path and digest of the executable, as ``PATH:DIGEST``."""
    path = str(Path(f"/proc/{pid}/exe").readlink())
    deadline = time.monotonic() + _LIMIT
    with Path(f"/proc/{pid}/exe").open("rb") as file:
        status = os.fstat(file.fileno())
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key not in caches.digests:
            digest = hashlib.sha256()
            while data := file.read(1 << 20):
                digest.update(data)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"reading {path} took longer than {_LIMIT:.0f} s")
            caches.digests[key] = digest.hexdigest()[:DIGITS]
    return f"{path}:{caches.digests[key]}"


def read_mappings(pid: int) -> tuple[int, tuple[str, ...]]:
    """Read an address that can be read, and the paths of the files that are mapped, as the rank sees them."""
    text = Path(f"/proc/{pid}/maps").read_bytes().decode("utf-8", "surrogateescape")
    address, paths = 0, []
    for line in text.split("\n"):
        found = _MAPPED.fullmatch(line)
        if found and found[2]:
            address = address or int(found[1], 16)
            paths.append(found[2].replace("\\012", "\n"))
    return address, tuple(dict.fromkeys(paths))


def find_mpi(pid: int, paths: Sequence[str], container: Container, caches: Caches) -> str:
    """Say which library of those that are mapped has MPI's C interface, and whose it is; "" for none."""
    for path in paths:
        if not looks_like_mpi(path):
            continue
        seen = f"/proc/{pid}/root{path}"
        here = identity(seen)
        if here not in caches.libraries:
            try:
                library = identify(ElfCache(), path, path, seen)
            except AbiError:
                library = None
            caches.libraries[here] = library is not None and library.role == C_ROLE
        if caches.libraries[here]:
            return f"{_owner(path, here, container.binds)}:{path}"
    return ""


def _owner(path: str, here: Identity, binds: Sequence[tuple[str, str]]) -> str:
    """Whose file: what the plan took from the host as its MPI, one of another mount, or the image's."""
    for source, target in binds:
        if looks_like_mpi(target) and _leads_to(source, here):
            return "host"
    return "mount" if any(path == top or path.startswith(f"{top}/") for _, top in binds) else "image"


def _leads_to(source: str, here: Identity) -> bool:
    try:
        return identity(source) == here
    except OSError:
        return False


def yama(proc: str = "/proc") -> str:
    """Say which scope the security module Yama allows ptrace(2) in, "" where there is none."""
    try:
        return Path(proc, "sys/kernel/yama/ptrace_scope").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def node_name(environment: Mapping[str, str]) -> str:
    """What Slurm calls this node."""
    return environment.get("SLURMD_NODENAME") or os.uname().nodename
