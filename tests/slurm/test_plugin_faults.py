"""System calls of the plugin that fail, in slurmstepd, helper, holder and ranks of a real step.

strace is attached to slurmd before the step starts and follows it.  Which process makes a call is told by the
call's path, or by nobody else making it; those of the core itself are in tests/integration.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from steps import CACHED, PLANNED, Srun, good, how, refused
from tracing import traced

from slurm.testbed import Testbed
from slurm.testbed.account import temporary_user


@contextmanager
def failing(cluster: Testbed, log: Path, *options: str) -> Iterator[None]:
    """Make system calls below slurmd of n1 fail, as strace's ``options`` say."""
    with traced(cluster.process("slurmd n1").pid, log, *options):
        yield
    hits = [line for line in log.read_text(errors="replace").splitlines() if "(INJECTED)" in line]
    assert hits, options


def assert_sound(cluster: Testbed) -> None:
    """No node was drained."""
    states = cluster.run(["sinfo", "-h", "-N", "-o", "%T"]).stdout.split()
    assert not [state for state in states if "drain" in state or "down" in state], states


COSTS_THE_CACHE = (
    # What a node has no room for, or somebody else has put at that place.
    ("openat:error=EMFILE", "/run/bareboat"),
    ("mkdir:error=ENOSPC", "/run/bareboat"),
    ("mkdirat:error=ENOSPC", "/run/bareboat"),
    ("fchownat:error=EPERM", "/run/bareboat"),
)


def test_calls_that_only_cost_the_cache(cluster: Testbed, srun: Srun, tiny: Path, shared_path: Path) -> None:
    def launch() -> str:
        return how(srun("-w", "n1", "-n1", f"--container={tiny}", "true", BAREBOAT_TRACE="1"))

    for inject, path in COSTS_THE_CACHE:
        away = "while mountpoint -q /run/bareboat; do umount /run/bareboat; done; rm -rf /run/bareboat"
        assert cluster.enter("n1", ["sh", "-c", away]).returncode == 0
        with failing(cluster, shared_path / "log", "-P", path, "-e", f"inject={inject}"):
            assert launch() == PLANNED
    assert launch() == PLANNED
    assert launch() == CACHED
    assert_sound(cluster)


TOLD = (
    ("setns:error=EPERM:when=1", r"cannot join the user namespace: Operation not permitted"),
    ("setns:error=EPERM:when=2", r"cannot join the mount namespace: Operation not permitted"),
    ("memfd_create:error=ENOMEM", r"cannot copy the program for /.*/bareboat-hold: Cannot allocate memory"),
    ("unshare:error=ENOSPC", r"cannot create a user namespace: No space left on device; .*"),
    ("open_tree:error=ENOMEM", r"cannot open the image /.*: Cannot allocate memory"),
    ("pivot_root:error=EPERM", r"cannot pivot to the new root: Operation not permitted"),
)


def test_calls_whose_failure_is_told(cluster: Testbed, srun: Srun, tiny: Path, shared_path: Path) -> None:
    """Once a node, with the errno, and 125 from every rank."""
    for inject, text in TOLD:
        name = inject.partition(":")[0]
        options = ("-e", f"trace={name}", "-e", f"inject={inject}")
        with failing(cluster, shared_path / "log", *options):
            (said,) = refused(srun("-w", "n1", "-n3", f"--container={tiny}", "true"))
        assert re.fullmatch(text, said), (inject, said)
    assert_sound(cluster)
    assert good(srun("-w", "n1", "-n3", f"--container={tiny}", "true")) == []


def test_a_program_that_cannot_be_executed_is_named(
    cluster: Testbed, srun: Srun, prefix: Path, tiny: Path, shared_path: Path
) -> None:
    hold = str(prefix / "libexec/bareboat/bareboat-hold")
    with failing(cluster, shared_path / "log", "-P", hold, "-e", "inject=execve:error=EACCES"):
        assert refused(srun("-w", "n1", "-n3", f"--container={tiny}", "true")) == [
            f"cannot execute {hold}: Permission denied"
        ]
    assert_sound(cluster)


@pytest.fixture
def member() -> Iterator[str]:
    """A user with one more group: for a lone one, root maps nothing."""
    with temporary_user("bareboat-try") as account:
        name = f"{account.pw_name}-g"
        subprocess.run(["groupadd", name], check=True)
        try:
            subprocess.run(["gpasswd", "-a", account.pw_name, name], check=True, capture_output=True)
            yield account.pw_name
        finally:
            subprocess.run(["groupdel", name], check=True)


def test_without_roots_child_the_own_gid_is_mapped(
    cluster: Testbed, member: str, tiny: Path, shared_path: Path
) -> None:
    """The holder hears that nobody maps the groups, and maps what it may."""
    argv = ["srun", "-w", "n1", f"--container={tiny}", "wc", "-l", "/proc/self/gid_map"]
    assert cluster.run(argv, user=member).stdout.split()[0] == "2"
    for name in ("setgroups", "gid_map"):
        with failing(cluster, shared_path / "log", "-P", name, "-e", "inject=openat:error=EPERM"):
            result = cluster.run(argv, user=member)
        assert result.returncode == 0
        assert result.stdout.split()[0] == "1"
        assert result.stderr.startswith(
            "bareboat: n1: warning: of your groups only one is mapped on this node:"
        )
    assert_sound(cluster)
