"""Hold a launch at a stage, by what a launch really waits for, and find the processes that take part."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from steps import wait_until
from tracing import stopped, stopping

from slurm.testbed import Testbed
from slurm.testbed.processes import network_of, read_stat

NODE = "n1"
RANKS = 3


class Stage(StrEnum):
    """How far the first rank of a node is; the others wait for it, but for the last two."""

    PLANNING = "planning"
    """Python reads its configuration, a FIFO."""
    ENTERING = "entering"
    """bareboat-hold is stopped in the middle of its mounts."""
    JOINING = "joining"
    """The first rank is stopped between the two namespaces; the others are in their prologs."""
    WAITING = "waiting"
    """The first rank's program runs; the others are in their prologs, the container is held for them."""
    RUNNING = "running"
    """All programs run."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process on the node."""

    pid: int
    parent: int
    uid: int
    threads: int
    words: str


def on_node(bed: Testbed) -> tuple[Process, ...]:
    """Every living process of the node but its slurmd."""
    slurmd = bed.process(f"slurmd {NODE}").pid
    network = network_of(str(bed.directory / "nodes" / NODE / "net"))
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != slurmd and network_of(f"/proc/{entry}/ns/net") == network:
            with suppress(OSError):
                stat = read_stat(int(entry))
                status = dict(re.findall(r"(\w+):\t(\d+)", Path(f"/proc/{entry}/status").read_text()))
                words = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if stat is not None and stat.state not in "ZX":
                    uid, threads = int(status["Uid"]), int(status["Threads"])
                    found.append(Process(int(entry), stat.parent, uid, threads, f"{stat.command} {words}"))
    return tuple(sorted(found, key=lambda process: process.pid))


@dataclass
class Launch:
    """A step of three ranks that is held at a stage.  ``release`` lets it go on."""

    srun: subprocess.Popen[str]
    bed: Testbed
    stage: Stage
    held: list[int] = field(default_factory=list)
    """Descriptors of FIFOs, each of which somebody reads from."""
    fifos: list[Path] = field(default_factory=list)
    """Where they are."""
    stopped: int = 0
    """A process that got SIGSTOP."""

    def find(self, role: str) -> int:
        """The number of the process that plays a role."""
        processes = on_node(self.bed)
        stepds = [one for one in processes if one.uid == 0 and one.threads > 1 and "slurmstepd" in one.words]
        (stepd,) = [one for one in stepds if "extern" not in one.words]
        ranks = [one for one in processes if one.parent == stepd.pid and one.uid != 0]
        known = {stepd.pid, *(one.pid for one in ranks)}
        candidates = {
            "srun": [self.srun.pid],
            "slurmstepd": [stepd.pid],
            "first rank": [one.pid for one in ranks][:1],
            "last rank": [one.pid for one in ranks][-1:],
            "planner": [one.pid for one in processes if "launcher.step" in one.words],
            "holder": [one.pid for one in processes if "--hold" in one.words],
            "mapper": [one.pid for one in processes if one.uid == 0 and one.pid not in known],
            "helper": [
                one.pid
                for one in processes
                if one.uid != 0 and one.pid not in known and one.words.startswith("bareboat slurmstepd")
            ],
        }
        (pid,) = candidates[role]
        return pid

    def release(self) -> None:
        """Let everybody who is still there go on."""
        if self.stopped:
            with suppress(ProcessLookupError):
                os.kill(self.stopped, signal.SIGCONT)
            self.stopped = 0
        for place in self.fifos:
            # Who opens it again must not wait again.
            place.with_suffix(".new").touch(0o644)
            place.with_suffix(".new").rename(place)
        self.fifos.clear()
        while self.held:
            os.close(self.held.pop())

    def end(self) -> str:
        """Wait for srun; what it said."""
        self.release()
        return self.srun.communicate(timeout=90)[1]


def _fifo(place: Path) -> int:
    """A new FIFO, held open at both ends: readers wait until the descriptor is closed."""
    os.mkfifo(place)
    place.chmod(0o644)
    return os.open(place, os.O_RDWR | os.O_CLOEXEC)


def _sleeps_on_futex(pid: int) -> bool:
    return "futex" in Path(f"/proc/{pid}/wchan").read_text()


def _start(
    bed: Testbed, user: pwd.struct_passwd, place: Path, image: Path, variables: dict[str, str]
) -> subprocess.Popen[str]:
    gate, end = place / "gate", place / "end"
    prolog = place / "prolog.sh"
    prolog.write_text(f"#!/bin/sh\n[ $SLURM_PROCID = 0 ] || read line < {gate}\nexit 0\n")
    prolog.chmod(0o755)
    script = f"touch {place}/up.$SLURM_PROCID; read line < {end}; true"
    return subprocess.Popen(
        [
            "srun",
            "-w",
            NODE,
            f"-n{RANKS}",
            "--job-name=held",
            f"--task-prolog={prolog}",
            f"--container={image}",
            "sh",
            "-c",
            script,
        ],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **variables, **bed.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def held(bed: Testbed, user: pwd.struct_passwd, place: Path, image: Path, stage: Stage) -> Iterator[Launch]:
    """A step of three ranks on one node that does not get beyond a stage.

    Args:
        bed: with bareboat's plugin.
        user: whose step it is.
        place: an empty directory that everybody may write to, seen by the nodes.
        image: with a shell.
        stage: how far it gets.
    """
    gate, end = _fifo(place / "gate"), _fifo(place / "end")
    variables = {"BAREBOAT_MOUNTS": f"{place}", "BAREBOAT_REPLAN": "1"}
    with ExitStack() as stack:
        config = []
        if stage is Stage.PLANNING:
            config = [_fifo(place / "config.toml")]
            variables["BAREBOAT_CONFIG"] = str(place / "config.toml")
        calls = {Stage.ENTERING: "pivot_root", Stage.JOINING: "setns"}
        tracing = stack.enter_context(ExitStack())
        if stage in calls:
            tracing.enter_context(
                stopping([bed.process(f"slurmd {NODE}").pid], place / "trace", calls[stage])
            )
        launch = Launch(_start(bed, user, place, image, variables), bed, stage, [gate, end, *config])
        launch.fifos += [place / "end", *([place / "config.toml"] if config else [])]
        stack.callback(_abandon, launch)
        if stage is Stage.PLANNING:
            wait_until(lambda: any("launcher.step" in one.words for one in on_node(bed)))
        elif stage in calls:
            launch.stopped = stopped(place / "trace")
            tracing.close()
        else:
            wait_until((place / "up.0").exists)
        if stage not in {Stage.JOINING, Stage.WAITING}:
            launch.held.remove(gate)
            os.close(gate)
        if stage is Stage.RUNNING:
            wait_until(lambda: len(list(place.glob("up.*"))) == RANKS)
        elif stage in {Stage.PLANNING, Stage.ENTERING}:
            wait_until(
                lambda: all(_sleeps_on_futex(launch.find(rank)) for rank in ("first rank", "last rank"))
            )
        yield launch


def _abandon(launch: Launch) -> None:
    launch.release()
    launch.bed.run(["scancel", "--name=held"])
    launch.srun.kill()
    launch.srun.communicate()
