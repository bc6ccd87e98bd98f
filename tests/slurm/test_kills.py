"""SIGKILL of everybody who takes part in a launch, at each of its stages; loss of slurmd and of the node."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from stages import NODE, RANKS, Launch, Stage, held, on_node
from steps import QuietTestbed, wait_until

from slurm.testbed import Testbed, leftovers
from slurm.testbed.cluster import node_states

KILLED = 128 + signal.SIGKILL
OUTSIDE = re.escape("was ended from outside; see the node's kernel log (out of memory?) and try again")
NAMESPACE = (
    r"cannot open the namespace /proc/\d+/ns/(?:user|mnt): No such file or directory; "
    rf"the process that holds the container {OUTSIDE}"
)
ENTER = (
    r"cannot make the container with \S+/libexec/bareboat/bareboat-hold: "
    r"it was ended from outside or took longer than 140 s; see the node's kernel log and try again"
)
PLANNER = rf"cannot plan the container with \S+/venv/bin/python: it {OUTSIDE}"
FAILED, ANY = range(1, 256), range(256)
OUTCOMES: dict[tuple[str, tuple[Stage, ...]], tuple[int | range, str]] = {
    # Who is killed, at which stages: srun's exit code, and what bareboat says.
    ("first rank", tuple(Stage)): (KILLED, ""),
    ("last rank", tuple(Stage)): (KILLED, ""),
    ("helper", (Stage.PLANNING, Stage.ENTERING)): (125, f"the process that makes the container {OUTSIDE}"),
    ("helper", (Stage.JOINING, Stage.WAITING)): (125, NAMESPACE),
    ("planner", (Stage.PLANNING,)): (125, PLANNER),
    ("holder", (Stage.ENTERING,)): (125, ENTER),
    ("holder", (Stage.JOINING, Stage.WAITING)): (125, NAMESPACE),
    ("mapper", (Stage.PLANNING,)): (0, "warning: of your groups only one is mapped on this node: .*"),
    ("slurmstepd", tuple(Stage)): (ANY, ""),
    ("srun", tuple(Stage)): (-signal.SIGKILL, ""),
    ("scancel", tuple(Stage)): (FAILED, ""),
}


SETTINGS = {"SlurmdTimeout": "5", "KillWait": "1"}
"""A Slurm that soon sees that a node is gone."""


@pytest.fixture(scope="module")
def bed(prefix: Path, user: pwd.struct_passwd) -> Iterator[Testbed]:
    """Its user has a second group."""
    group = f"bareboat-test-{os.getpid()}-k"
    subprocess.run(["groupadd", group], check=True)
    try:
        subprocess.run(["gpasswd", "-a", user.pw_name, group], check=True, capture_output=True)
        with QuietTestbed(nodes=2, plugin=prefix, extra=SETTINGS) as one:
            yield one
    finally:
        subprocess.run(["groupdel", group], check=True)


Hold = Callable[[Testbed, Stage], AbstractContextManager[Launch]]


@pytest.fixture
def hold(user: pwd.struct_passwd, shared_path: Path, tiny: Path) -> Hold:
    """Hold a launch at a stage; afterwards nothing is left, no node is drained, and the next launch works."""

    @contextmanager
    def holding(bed: Testbed, stage: Stage) -> Iterator[Launch]:
        place = shared_path / stage
        place.mkdir()
        place.chmod(0o777)
        argv = ["srun", "-w", NODE, f"-n{RANKS}", f"--container={tiny}", "true"]
        assert bed.run(argv, user=user.pw_name).returncode == 0
        wait_until(lambda: not on_node(bed))
        before = leftovers.take_node(bed.process(f"slurmd {NODE}").pid)
        with held(bed, user, place, tiny, stage) as launch:
            yield launch
            wait_until(lambda: not leftovers.take_node(bed.process(f"slurmd {NODE}").pid) - before)
        wait_until(lambda: node_states(bed.environment) == dict.fromkeys(bed.node_names, "idle"))
        done = bed.run(argv, user=user.pw_name)
        assert (done.returncode, done.stderr) == (0, "")

    return holding


def bareboats(said: str) -> list[str]:
    """What bareboat said, without its name and the node's."""
    lines = [line.removeprefix(f"bareboat: {NODE}: ") for line in said.splitlines() if "bareboat:" in line]
    # A cancelled step's signal may end the prolog just before the rank that waits for it.
    return [line for line in lines if not re.fullmatch(r"--task-prolog \S+ was killed by signal \d+", line)]


def kill(launch: Launch, victim: str) -> None:
    """SIGKILL, and its effect."""
    pid = launch.find(victim)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in {one.pid for one in on_node(launch.bed)})


@pytest.mark.parametrize(
    ("victim", "stage"), [(victim, stage) for victim, stages in OUTCOMES for stage in stages]
)
def test_sigkill(bed: Testbed, hold: Hold, victim: str, stage: Stage) -> None:
    """One message a node at most; srun ends."""
    (code, message) = next(
        outcome for (who, stages), outcome in OUTCOMES.items() if who == victim and stage in stages
    )
    with hold(bed, stage) as launch:
        if victim == "scancel":
            bed.run(["scancel", "--name=held"])
            launch.srun.wait(timeout=90)
        else:
            kill(launch, victim)
        if victim == "helper" and stage is not Stage.ENTERING:
            # It takes along who works for it.
            word = "launcher.step" if stage is Stage.PLANNING else "--hold"
            wait_until(lambda: not any(word in one.words for one in on_node(bed)))
        if victim == "slurmstepd":
            # As without a container, nobody tells srun: who waits for it has to cancel the job.
            launch.release()
            wait_until(lambda: not on_node(bed))
            bed.run(["scancel", "--name=held"])
        said = launch.end()
    assert launch.srun.returncode in (code if isinstance(code, range) else (code,)), said
    if message:
        (line,) = bareboats(said)
        assert re.fullmatch(message, line)
    else:
        assert bareboats(said) == []


def test_a_slurmd_that_is_killed_is_not_missed(prefix: Path, hold: Hold) -> None:
    with QuietTestbed(nodes=2, plugin=prefix, extra=SETTINGS) as bed:
        for stage in Stage:
            with hold(bed, stage) as launch, bed.without_slurmd(NODE):
                said = launch.end()
                assert (launch.srun.returncode, bareboats(said)) == (0, []), said


def test_a_node_that_is_lost_comes_back_clean(prefix: Path, hold: Hold) -> None:
    with QuietTestbed(nodes=2, plugin=prefix, extra=SETTINGS) as bed:
        for stage in Stage:
            with hold(bed, stage) as launch, bed.without_slurmd(NODE, lost=True):
                # slurmctld would find out by itself, after it has called the node for ten seconds and more.
                down = ["scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=lost"]
                assert bed.run(down).returncode == 0
                said = launch.end()
                # That srun then ends with 0 is Slurm's.
                assert f"srun: error: Node failure on {NODE}\n" in said
                assert bareboats(said) == []
