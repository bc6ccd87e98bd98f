"""Entry of the plugin's helper with BAREBOAT_CHECK=1: looks at the ranks of a node, from outside.

``python -I -m launcher.check ROOT-DEVICE ROOT-INODE USERNS-INODE STEPD-DEVICE STEPD-INODE RANKS`` runs as
the user.  Descriptor 3 holds the container's program; standard input gets a line ``RANK PID`` for each rank
that has joined.  A line on standard output says that this is ready.  On standard error, where the first
rank's leads, each rank gets its line once it runs its own program and was looked at, or has ended.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from launcher import inside, ranks
from launcher.checklines import UNKNOWN, Report, left_out_line, rank_line, unseen_line, warnings_of
from launcher.errors import BareboatError
from launcher.program import decode

PROGRAM_FD = 3
_EXECUTES = 10.0
"""Longest time from a rank's join to its program, in seconds."""
_LOADS = 5.0
"""Longest time in which a program is to load the MPI that was planned for it, in seconds."""
_SETTLED = 0.3
"""A program that has mapped no new file for so long, in seconds, has loaded what it needs to start."""
_HURRY, _PACE = 0.003, 0.05
"""How often to look, in seconds: in the first second of a program, and later."""


@dataclass(slots=True)
class Rank:
    """A rank on its way from joining to its line.  Times are those of time.monotonic."""

    number: int
    pid: int
    pidfd: int
    joined: float
    executed: float = 0.0
    address: int = 0
    paths: tuple[str, ...] = ()
    changed: float = 0.0
    report: Report = field(default_factory=Report)
    done: bool = False


class Check:
    """Looks at the ranks of one node."""

    def __init__(
        self, container: ranks.Container, *, node: str, tasks: int, local: int, say: Callable[[str], None]
    ) -> None:
        self._container, self._node, self._tasks, self._local = container, node, tasks, local
        self._say = say
        self._caches = ranks.Caches()
        self._ranks: list[Rank] = []
        self._outside: bool | None = None
        self._warned: set[str] = set()

    def add(self, number: int, pid: int) -> None:
        """Take a rank in that has joined."""
        try:
            self._ranks.append(Rank(number, pid, os.pidfd_open(pid), time.monotonic()))
        except OSError:
            self._say(unseen_line(self._node, number, self._tasks, "ended"))
            # It counts among those that were told of.
            self._ranks.append(Rank(number, pid, -1, 0.0, done=True))

    @property
    def finished(self) -> bool:
        """Whether every rank that was added has its line."""
        return all(rank.done for rank in self._ranks)

    @property
    def pause(self) -> float:
        """How long may pass until the next look, in seconds."""
        if self.finished:
            return 1.0  # others may be held up by their prologs for long
        newest = max(rank.executed or rank.joined for rank in self._waiting())
        return _HURRY if time.monotonic() < newest + 1 else _PACE

    @property
    def seen(self) -> int:
        """How many ranks were added."""
        return len(self._ranks)

    def step(self) -> None:
        """Look at each rank that waits for it; what is quick first: a program may end at any moment."""
        for rank in self._waiting():
            if not rank.executed:
                self._first_look(rank)
        for rank in self._waiting():
            if rank.executed:
                self._find_mpi(rank)
        for rank in self._waiting():
            if rank.executed:
                self._try(rank)
        for rank in self._waiting():
            self._tell_if_complete(rank)

    def _waiting(self) -> Iterator[Rank]:
        return (rank for rank in self._ranks if not rank.done)

    def _first_look(self, rank: Rank) -> None:
        container = self._container
        with contextlib.suppress(OSError):
            if not ranks.has_executed(rank.pid, container.stepd):
                return
            rank.executed = rank.changed = time.monotonic()
            self._note(
                rank,
                root=lambda: ranks.read_root(rank.pid, container),
                userns=lambda: ranks.read_users(rank.pid, container),
                netns=lambda: ranks.read_network(rank.pid),
                shm=lambda: ranks.read_shm(rank.pid),
                plan=lambda: container.plan,
                program=lambda: ranks.read_program(rank.pid, self._caches),
            )

    def _note(self, rank: Rank, **readings: Callable[[], str]) -> None:
        for key, read in readings.items():
            with contextlib.suppress(OSError):
                rank.report = replace(rank.report, **{key: read()})

    def _find_mpi(self, rank: Rank) -> None:
        if rank.report.mpi != UNKNOWN:
            return
        with contextlib.suppress(OSError):
            address, paths = ranks.read_mappings(rank.pid)
            if not paths:
                return
            if paths != rank.paths:
                rank.address, rank.paths, rank.changed = address, paths, time.monotonic()
                # A wrapper such as env(1) may have executed another program meanwhile.
                self._note(rank, program=lambda: ranks.read_program(rank.pid, self._caches))
                if found := ranks.find_mpi(rank.pid, paths, self._container, self._caches):
                    rank.report = replace(rank.report, mpi=found)

    def _try(self, rank: Rank) -> None:
        """Act as the rank would: in a child, so that nothing of the rank's is touched."""
        report = rank.report
        if "," not in report.shm and report.shm not in {"missing", UNKNOWN}:
            with contextlib.suppress(OSError):
                wrote = inside.try_shm(rank.pid)
                rank.report = replace(
                    report, shm=f"{report.shm},{errno.errorcode[wrote] if wrote else 'writable'}"
                )
        if rank.report.cma == UNKNOWN:
            self._try_cma(rank)

    def _try_cma(self, rank: Rank) -> None:
        if self._local == 1:
            rank.report = replace(rank.report, cma="alone")
            return
        at = self._ranks.index(rank)
        for other in (*self._ranks[at + 1 :], *self._ranks[:at]):
            if not other.executed or not other.address or ranks.has_ended(other.pidfd):
                continue
            with contextlib.suppress(OSError):
                failed = inside.try_read(rank.pid, other.pid, other.address)
                # It has ended, or executed something else, which says nothing of what is allowed.
                if failed in {errno.ESRCH, errno.EFAULT} or ranks.has_ended(other.pidfd):
                    continue
                scope = ranks.yama() if failed == errno.EPERM else ""
                text = f"{errno.errorcode[failed]}{f',yama={scope}' if scope else ''}" if failed else "works"
                rank.report = replace(rank.report, cma=text)
                return

    def _tell_if_complete(self, rank: Rank) -> None:
        now = time.monotonic()
        ended = ranks.has_ended(rank.pidfd)
        if not rank.executed:
            if ended or now > rank.joined + _EXECUTES:
                self._say(unseen_line(self._node, rank.number, self._tasks, "ended" if ended else "denied"))
                rank.done = True
            return
        loads = rank.executed + _LOADS
        settled = now > (loads if self._container.plans_mpi else min(loads, rank.changed + _SETTLED))
        complete = rank.report.cma != UNKNOWN or now > rank.executed + _EXECUTES or self._is_last(rank)
        if not ended and not (complete and (rank.report.mpi != UNKNOWN or settled)):
            return
        report = rank.report
        if report.mpi == UNKNOWN and rank.paths:
            report = replace(report, mpi="none")
        self._say(rank_line(self._node, rank.number, self._tasks, report))
        self._warn(rank.number, report)
        rank.done = True

    def _is_last(self, rank: Rank) -> bool:
        """Whether all others have ended."""
        others = [other for other in self._ranks if other is not rank]
        return len(self._ranks) == self._local and all(
            other.pidfd < 0 or ranks.has_ended(other.pidfd) for other in others
        )

    def _warn(self, number: int, report: Report) -> None:
        """Tell what is lost, once a node: what one rank lacks, the others mostly lack too."""
        texts = warnings_of(
            number, report, planned=self._container.plans_mpi, cma_outside=self._reads_outside(report)
        )
        for text in texts:
            kind = text.partition(f"rank {number}: ")[2]
            if kind not in self._warned:
                self._warned.add(kind)
                self._say(f"bareboat: {self._node}: warning: {text}\n")

    def _reads_outside(self, report: Report) -> bool:
        if report.cma in {"works", "alone", UNKNOWN}:
            return False
        if self._outside is None:
            try:
                self._outside = inside.try_read_outside() == 0
            except OSError:
                self._outside = False
        return self._outside


class Feed:
    """Standard input: the ranks as they join."""

    def __init__(self, fd: int) -> None:
        self._fd, self._rest, self.ended = fd, b"", False

    def read(self, seconds: float) -> list[tuple[int, int]]:
        """Wait at most so long; return the numbers and pids of ranks that are new."""
        if self.ended:
            time.sleep(seconds)
            return []
        if not select.select([self._fd], [], [], seconds)[0]:
            return []
        data = os.read(self._fd, 1 << 16)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        words = (line.split() for line in lines)
        return [(int(one[0]), int(one[1])) for one in words]


def main(arguments: Sequence[str]) -> int:
    """Run the entry; returns its exit code, which nobody asks for."""
    numbers = [int(argument) for argument in arguments]
    say = _say
    node = ranks.node_name(os.environ)
    try:
        container = _read_container(numbers)
    except (OSError, BareboatError) as error:
        say(f"bareboat: {node}: warning: check: the ranks cannot be looked at: {error}\n")
        return 1
    local = numbers[5]
    tasks = max(int(os.environ.get("SLURM_STEP_NUM_TASKS", "0") or 0), local)
    check = Check(container, node=node, tasks=tasks, local=local, say=say)
    os.write(1, b"\n")
    feed = Feed(0)
    while not (feed.ended and check.finished):
        for number, pid in feed.read(check.pause):
            check.add(number, pid)
        check.step()
    if check.seen < local:
        say(left_out_line(node, local - check.seen))
    return 0


def _read_container(numbers: Sequence[int]) -> ranks.Container:
    data = os.pread(PROGRAM_FD, os.fstat(PROGRAM_FD).st_size, 0)
    return ranks.Container(
        root=(numbers[0], numbers[1]),
        users=numbers[2],
        stepd=(numbers[3], numbers[4]),
        binds=ranks.binds_of(decode(data)),
        plan=hashlib.sha256(data).hexdigest()[: ranks.DIGITS],
    )


def _say(text: str) -> None:
    # One write a line, so that the lines of several processes do not mix (pipe(7)).
    os.write(2, text.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
