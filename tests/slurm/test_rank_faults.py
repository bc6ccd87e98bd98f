"""System calls that fail once in slurmstepd, in the ranks and in the helper of a real step.

The ranks are held in their prolog until strace is attached to them, or to the helper alone: strace counts the
calls of each process from then on, so that the one that fails is known.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from stages import NODE, on_node
from steps import Srun, good, refused, wait_until
from tracing import stopped, stopping, traced

from slurm.testbed import Testbed, leftovers
from slurm.testbed.cluster import node_states

RANKS = 3


FORK = r"Resource temporarily unavailable; no more processes are allowed; see `ulimit -u` .*"
OF_A_RANK = (
    # None where nothing but time is lost.
    ("vfork:error=EAGAIN", rf"cannot fork the process that makes the container: {FORK}"),
    ("clone:error=EAGAIN", rf"cannot fork the process that makes the container: {FORK}"),
    ("futex:error=ENOSYS", None),
    ("poll:error=ENOMEM", None),
)
PYTHON, HOLD = r"\S+/venv/bin/python", r"\S+/libexec/bareboat/bareboat-hold"
OF_THE_HELPER = (
    ("pipe2:error=EMFILE:when=1", rf"cannot open a pipe to {PYTHON}: Too many open files"),
    ("pipe2:error=EMFILE:when=2", rf"cannot open a pipe to {PYTHON}: Too many open files"),
    ("clone:error=EAGAIN:when=1", rf"cannot fork for {PYTHON}: {FORK}"),
    *((f"poll:error=ENOMEM:when={number}", None) for number in range(1, 5)),
    ("memfd_create:error=ENOMEM:when=1", rf"cannot copy the program for {HOLD}: Cannot allocate memory"),
    ("pipe2:error=EMFILE:when=3", rf"cannot open a pipe to {HOLD}: Too many open files"),
    ("pipe2:error=EMFILE:when=4", rf"cannot open a pipe to {HOLD}: Too many open files"),
    ("vfork:error=EAGAIN:when=1", rf"cannot fork for {HOLD}: {FORK}"),
)
OF_A_PROLOG = (
    ("pipe2:error=EMFILE:when=1", "cannot open a pipe: Too many open files; see `ulimit -n`"),
    (
        "clone:error=EAGAIN:when=1",
        "cannot fork: Resource temporarily unavailable; see `ulimit -u` and the job's limit of processes",
    ),
)


class Gated:
    """A step whose ranks wait at the end of their prologs; it runs on one node."""

    def __init__(self, bed: Testbed, user: pwd.struct_passwd, place: Path, image: Path, **more: str) -> None:
        self.gate, pids, prolog = place / "gate", place / "pids", place / "prolog"
        place.chmod(0o777)
        for one in (self.gate, pids):
            one.unlink(missing_ok=True)
        os.mkfifo(self.gate, 0o644)
        self.gate.chmod(0o644)
        prolog.write_text(f"#!/bin/sh\necho $PPID >> {pids}\nread line < {self.gate}\nexit 0\n")
        prolog.chmod(0o755)
        self.held = os.open(self.gate, os.O_RDWR | os.O_CLOEXEC)
        argv = ["srun", "-w", NODE, f"-n{RANKS}", "--job-name=gated", f"--task-prolog={prolog}"]
        self.srun = subprocess.Popen(
            [*argv, f"--container={image}", "true"],
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=user.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **more, **bed.environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: pids.exists() and len(pids.read_text().split()) == RANKS)
        self.ranks = [int(pid) for pid in pids.read_text().split()]

    def stop_helper(self, log: Path) -> int:
        """Stop the helper before it does anything; its number."""
        with stopping(self.ranks, log, "setsid"):
            self.release()
            return stopped(log)

    def release(self) -> None:
        if self.held >= 0:
            os.close(self.held)
        self.held = -1

    def end(self) -> tuple[int | None, list[str]]:
        self.release()
        said = self.srun.communicate(timeout=120)[1]
        return self.srun.returncode, re.findall(rf"^bareboat: {NODE}: (.*)$", said, re.MULTILINE)


Gate = Callable[..., Gated]


@pytest.fixture
def gate(cluster: Testbed, user: pwd.struct_passwd, shared_path: Path, tiny: Path) -> Iterator[Gate]:
    steps: list[Gated] = []

    def start(**more: str) -> Gated:
        steps.append(Gated(cluster, user, shared_path, tiny, **more))
        return steps[-1]

    yield start
    for step in steps:
        step.release()
        step.srun.kill()
        step.srun.communicate()


@contextmanager
def failing(pids: list[int], log: Path, inject: str) -> Iterator[None]:
    """Make a system call of these processes, and of those that they start, fail."""
    name = inject.partition(":")[0]
    rule = ("-e", f"trace={name}", "-e", f"inject={inject}")
    with traced(pids[0], log, *(f"-p{pid}" for pid in pids[1:]), *rule):
        statuses = [Path(f"/proc/{pid}/status") for pid in pids]
        wait_until(lambda: not any("TracerPid:\t0\n" in status.read_text() for status in statuses))
        yield
    hits = [line for line in log.read_text(errors="replace").splitlines() if "(INJECTED)" in line]
    assert hits, inject


@pytest.fixture
def sound(cluster: Testbed, srun: Srun, tiny: Path) -> Iterator[None]:
    """Afterwards nothing is left on the node, it is not drained, and the next step runs."""
    slurmd = cluster.process(f"slurmd {NODE}").pid
    command = ("-w", NODE, f"-n{RANKS}", f"--container={tiny}", "true")
    assert good(srun(*command)) == []
    wait_until(lambda: not on_node(cluster))
    before = leftovers.take_node(slurmd)
    yield
    wait_until(lambda: not on_node(cluster) and not leftovers.take_node(slurmd) - before)
    wait_until(lambda: node_states(cluster.environment) == dict.fromkeys(cluster.node_names, "idle"))
    assert good(srun(*command)) == []


def check(outcome: tuple[int | None, list[str]], message: str | None) -> None:
    """Told once a node, or not at all."""
    code, said = outcome
    if message is None:
        assert (code, said) == (0, [])
    else:
        assert (code, len(said)) == (125, 1), said
        assert re.fullmatch(message, said[0])


@pytest.mark.parametrize(("inject", "message"), OF_A_RANK)
@pytest.mark.usefixtures("sound")
def test_a_call_of_a_rank_fails_once(gate: Gate, shared_path: Path, inject: str, message: str | None) -> None:
    """The plan is kept, so that no Python is there to be hit."""
    assert gate().end() == (0, [])
    step = gate()
    with failing(step.ranks, shared_path / "log", f"{inject}:when=1"):
        check(step.end(), message)


@pytest.mark.usefixtures("sound")
def test_a_futex_that_never_works_costs_time_only(gate: Gate, shared_path: Path) -> None:
    assert gate().end() == (0, [])
    step = gate()
    with failing(step.ranks, shared_path / "log", "futex:error=ENOSYS"):
        check(step.end(), None)


@pytest.mark.parametrize(("inject", "message"), OF_THE_HELPER)
@pytest.mark.usefixtures("sound")
def test_a_call_of_the_helper_fails_once(
    gate: Gate, shared_path: Path, inject: str, message: str | None
) -> None:
    step = gate(BAREBOAT_REPLAN="1")
    helper = step.stop_helper(shared_path / "stopped")
    with failing([helper], shared_path / "log", inject):
        os.kill(helper, signal.SIGCONT)
        check(step.end(), message)


@pytest.mark.usefixtures("sound")
def test_a_wait_of_the_helper_fails_once(gate: Gate, shared_path: Path) -> None:
    """With a kept plan: first it wakes the ranks, then it waits until they have joined."""
    assert gate().end() == (0, [])
    for number in (1, 2):
        step = gate()
        helper = step.stop_helper(shared_path / f"stopped{number}")
        with failing([helper], shared_path / f"log{number}", f"futex:error=ENOSYS:when={number}"):
            os.kill(helper, signal.SIGCONT)
            check(step.end(), None)


@pytest.mark.usefixtures("sound")
def test_no_memory_for_the_ranks_to_share(
    cluster: Testbed, srun: Srun, tiny: Path, shared_path: Path
) -> None:
    """slurmstepd makes no other such mapping; which of its calls it is, is counted in a step before."""
    slurmd, log = cluster.process(f"slurmd {NODE}").pid, shared_path / "log"
    command = ("-w", NODE, f"-n{RANKS}", f"--container={tiny}", "true")
    with traced(slurmd, log, "-e", "trace=mmap"):
        assert good(srun(*command)) == []
    lines = log.read_text().splitlines()
    (at,) = [at for at, line in enumerate(lines) if "MAP_SHARED|MAP_ANONYMOUS" in line]
    stepd = lines[at].split()[0]
    number = sum(bool(re.match(rf"{stepd} +mmap\(", line)) for line in lines[: at + 1])
    with failing([slurmd], log, f"mmap:error=ENOMEM:when={number}"):
        assert refused(srun(*command)) == [
            "cannot map the memory that the ranks share: Cannot allocate memory"
        ]
    (hit,) = [line for line in log.read_text().splitlines() if "(INJECTED)" in line]
    assert "MAP_SHARED|MAP_ANONYMOUS" in hit


@pytest.mark.usefixtures("sound")
def test_a_call_that_starts_a_prolog_fails_once(
    cluster: Testbed, srun: Srun, tiny: Path, shared_path: Path
) -> None:
    """The rank is stopped when it looks whether the prolog is there."""
    prolog, slurmd = shared_path / "prolog", cluster.process(f"slurmd {NODE}").pid
    prolog.write_text("#!/bin/sh\nexit 0\n")
    prolog.chmod(0o755)
    for inject, why in OF_A_PROLOG:
        with ThreadPoolExecutor(1) as pool:
            with stopping([slurmd], shared_path / "stopped", "access", "-P", str(prolog)):
                step = pool.submit(srun, "-w", NODE, f"--task-prolog={prolog}", f"--container={tiny}", "true")
                rank = stopped(shared_path / "stopped")
            with failing([rank], shared_path / "log", inject):
                os.kill(rank, signal.SIGCONT)
                said = refused(step.result())
        assert said == [f"--task-prolog {prolog} could not be started: {why}"]
