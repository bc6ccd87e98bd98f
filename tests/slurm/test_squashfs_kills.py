"""slurmstepd is killed between root's loop device and its ranks: the kernel takes back all that root made.

It is stopped where it has the device and opens the file system, and killed at one of the calls that follow.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from squash import loops, pack
from stages import NODE, on_node
from steps import QuietTestbed, good, wait_until
from tracing import stopped, stopping, traced

from slurm.testbed import Testbed, leftovers
from slurm.testbed.cluster import node_states

KILLED_AT = (
    # The mount is made; a child locks its flags, and is waited for; the user's directory for plans; Slurm's
    # thread for the ranks' output, and the ranks.
    *("fsconfig:when=1", "fsconfig:when=3", "fsmount:when=1", "clone3:when=1", "wait4:when=1"),
    *("mkdirat:when=1", "clone3:when=2", "clone:when=1", "clone:when=2"),
)


@pytest.fixture(scope="module")
def cluster(prefix: Path, store: Path) -> Iterator[Testbed]:
    """Its srun does not wait long for a slurmstepd that was killed: KillWait and two seconds more."""
    with QuietTestbed(nodes=1, plugin=prefix, stores=[store], extra={"KillWait": "1"}) as bed:
        yield bed


@pytest.fixture
def file(tiny: Path, store: Path) -> Iterator[Path]:
    path = pack(tiny, store / "killed.sqsh")
    yield path
    path.unlink()


@pytest.mark.parametrize("call", KILLED_AT)
def test_slurmstepd_is_killed_before_the_ranks_start(
    cluster: Testbed, user: pwd.struct_passwd, file: Path, shared_path: Path, call: str
) -> None:
    prolog, ran = shared_path / "prolog", shared_path / "ran"
    prolog.write_text(f"#!/bin/sh\necho >> {ran}\n")
    prolog.chmod(0o755)
    shared_path.chmod(0o777)
    command = ["srun", "--job-name=killed", "-w", NODE, "-n2", f"--task-prolog={prolog}"]
    command += [f"--container={file}", "/bin/true"]
    assert good(cluster.run(command, user=user.pw_name)) == []
    slurmd = cluster.process(f"slurmd {NODE}").pid
    wait_until(lambda: not on_node(cluster))
    before = leftovers.take_node(slurmd)
    with stopping([slurmd], shared_path / "stopped", "fsopen"):
        process = subprocess.Popen(
            command,
            user=user.pw_uid,
            group=user.pw_gid,
            cwd="/tmp",
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        stepd = stopped(shared_path / "stopped")
    try:
        assert len(loops(file)) == 1
        name, _, when = call.partition(":")
        rule = ("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:{when}")
        with traced(stepd, shared_path / "killed", *rule):
            os.kill(stepd, signal.SIGCONT)
            wait_until(lambda: stepd not in {one.pid for one in on_node(cluster)})
        assert f"{name}(" in (shared_path / "killed").read_text()
    finally:
        with suppress(ProcessLookupError):
            os.kill(stepd, signal.SIGCONT)
        cluster.run(["scancel", "--name=killed"])
        said = process.communicate(timeout=90)[1]
    assert ran.read_text() == "\n\n", "its ranks started"
    assert "bareboat" not in said
    wait_until(lambda: not loops(file) and not on_node(cluster))
    wait_until(lambda: not leftovers.take_node(slurmd) - before)
    wait_until(lambda: node_states(cluster.environment) == dict.fromkeys(cluster.node_names, "idle"))
    assert good(cluster.run(command, user=user.pw_name)) == []
