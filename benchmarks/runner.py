"""Runs steps through Slurm, one after the other, and keeps what they gave."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import shlex
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType

from benchmarks import process
from benchmarks.errors import BenchError
from benchmarks.progress import Progress

_TAIL_LINES = 8
_NODE_FAILURE = "srun: error: Node failure on "
"""Behind this srun 22.05 ends with 0, whatever became of the ranks there."""

_CONTAINER_VARIABLES = ("SLURM_CONTAINER", "SRUN_CONTAINER", "SALLOC_CONTAINER", "SBATCH_CONTAINER")


class Stopped(Exception):
    """The user or Slurm asked to stop (SIGINT, SIGTERM); what is measured is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Hung(BenchError):
    """A step did not end within its limit; ``output`` is what it had printed."""

    def __init__(self, text: str, output: Output, *, hint: str = "") -> None:
        super().__init__(text, hint=hint)
        self.output = output


@dataclass(frozen=True, slots=True)
class Client:
    """How Slurm's commands are run.

    environment: the whole environment; directory: where they run (the steps' working directory too, so it
    must exist on the nodes), None: here; user: run as this user's name, with its groups (needs root), None:
    as ourselves; srun_options and salloc_options: further options, as given; bareboat: the command, which
    starts containers where there is no Slurm.
    """

    environment: Mapping[str, str]
    directory: str | None = None
    user: str | None = None
    srun_options: tuple[str, ...] = ()
    salloc_options: tuple[str, ...] = ()
    bareboat: str = "bareboat"


@dataclass(frozen=True, slots=True)
class Allocation:
    """Nodes to measure on; ours: made here, hence released here.

    launcher: without Slurm, what starts ranks on this machine (its mpiexec and options; () starts one alone);
    None: srun.
    """

    job_id: str
    nodes: tuple[str, ...]
    cpus_per_node: int
    ours: bool
    launcher: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step to run: shape, image (None: bare) and command; limit in seconds, after which it is ended.

    options: further ones for srun; variables: set beside the client's; title: names the step in messages
    where command and image do not; directory: where it runs, "": where the client does.
    """

    nodes: int
    ranks: int
    image: str | None
    argv: tuple[str, ...]
    limit: float
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    title: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """What a step printed, and how long srun took, in seconds of wall time."""

    stdout: str
    stderr: str
    seconds: float


def srun_command(allocation: Allocation, step: Step, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Build srun's arguments for a step.  Pure.

    Ranks are spread evenly; where a node gets more ranks than processors, srun is told that this is meant.
    """
    per_node = -(-step.ranks // step.nodes)
    minutes = max(1, -(-int(step.limit) // 60) + 1)
    command = [
        "srun",
        f"--jobid={allocation.job_id}",
        f"--nodes={step.nodes}",
        f"--ntasks={step.ranks}",
        f"--ntasks-per-node={per_node}",
        # Ends the step even if we are killed ourselves.
        f"--time={minutes}",
        "--kill-on-bad-exit=1",
        "--input=none",
    ]
    if per_node > allocation.cpus_per_node:
        command.append("--overcommit")
    if step.image is not None:
        command.append(f"--container={step.image}")
    where = (f"--chdir={step.directory}",) if step.directory else ()
    return (*command, *extra, *step.options, *where, *step.argv)


def local_command(client: Client, allocation: Allocation, step: Step) -> tuple[str, ...]:
    """Build the command of a step where there is no Slurm.  Pure.

    Every rank is in a container of its own: it is the launcher's child as a bare one is.  Where the step runs
    is its process's affair.  Raises BenchError for several ranks that nothing starts.
    """
    launcher = allocation.launcher or ()
    if step.ranks > 1 and not launcher:
        raise BenchError(
            f"{describe_step(step)} was not started: there is neither Slurm nor an mpiexec",
            hint="install the host's MPI with its mpiexec, or measure one rank: --ranks 1",
        )
    ranks = ("-n", str(step.ranks)) if launcher else ()
    inside = (client.bareboat, "run", step.image, "--") if step.image is not None else ()
    return (*launcher, *ranks, *inside, *step.argv)


def run_step(client: Client, allocation: Allocation, step: Step) -> Output:
    """Run a step and wait for it.

    Raises BenchError with the end of its output when it fails or reaches its limit.
    """
    if allocation.launcher is None:
        command = srun_command(allocation, step, client.srun_options)
    else:
        command = local_command(client, allocation, step)
        client = replace(client, directory=step.directory or client.directory)
    what = describe_step(step)
    client = replace(client, environment={**client.environment, **dict(step.variables)})
    start = time.perf_counter()
    code, stdout, stderr = run_command(client, command, limit=step.limit)
    seconds = time.perf_counter() - start
    if code is None:
        raise Hung(
            f"{what} did not end within {step.limit:g} s and was stopped{_tail(stdout, stderr)}",
            Output(stdout, stderr, seconds),
            hint="give a longer --limit, or look why it hangs: run " + shlex.join(command),
        )
    if _NODE_FAILURE in stderr:
        raise BenchError(f"{what} lost a node{_tail(stdout, stderr)}")
    if code != 0:
        raise BenchError(f"{what} failed with {_describe_code(code)}{_tail(stdout, stderr)}")
    return Output(stdout, stderr, seconds)


def describe_step(step: Step) -> str:
    """Name a step in messages."""
    where = f"in {step.image}" if step.image is not None else "bare"
    nodes = "1 node" if step.nodes == 1 else f"{step.nodes} nodes"
    ranks = "1 rank" if step.ranks == 1 else f"{step.ranks} ranks"
    return f"{step.title or f'{step.argv[0]} {where}'} ({ranks} on {nodes})"


class Stop:
    """Which signal asked to stop; 0: none."""

    def __init__(self) -> None:
        self.number = 0


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into Stopped.

    Later ones are passed over, so that cleaning up is not cut short.  For the main thread only, since Python
    runs signal handlers there.
    """
    stop = Stop()

    def handler(number: int, _frame: FrameType | None) -> None:
        if stop.number == 0:
            stop.number = number
            raise Stopped(number)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def allocate(
    client: Client, *, nodes: int | None, minutes: int = 60, wait: float = 600.0, progress: Progress
) -> Iterator[Allocation]:
    """Use the allocation that we are in (SLURM_JOB_ID), or get one of whole nodes and release it at the end.

    nodes None: all nodes of the present allocation, or 2 if the cluster has so many, else 1.  wait: seconds
    to wait for nodes.  Raises BenchError when Slurm gives none, or the present allocation has fewer nodes.
    """
    present = client.environment.get("SLURM_JOB_ID", "")
    if present:
        allocation = _describe_job(client, present, ours=False)
        if nodes is not None and nodes > len(allocation.nodes):
            raise BenchError(
                f"{nodes} nodes are needed, but job {present} has {len(allocation.nodes)}",
                hint="ask for fewer nodes, or run outside of that job: a new one is allocated then",
            )
        yield allocation
        return
    # The name is of this run alone: by it the job is found where we are stopped between grant and answer.
    name, job_id = f"bareboat-bench-{secrets.token_hex(4)}", ""
    try:
        job_id = _salloc(client, name, str(nodes or "1-2"), minutes, wait=wait, progress=progress)
        yield _describe_job(client, job_id, ours=True)
    finally:
        with process.signals_held_back() as came, contextlib.suppress(BenchError):
            run_command(client, ("scancel", job_id or f"--name={name}"), limit=60.0)
        for number in came:
            signal.raise_signal(number)


def _salloc(client: Client, name: str, nodes: str, minutes: int, *, wait: float, progress: Progress) -> str:
    progress.note(f"asking Slurm for {nodes} nodes, for {wait:g} s at most")
    command = (
        "salloc",
        "--no-shell",
        f"--nodes={nodes}",
        "--exclusive",
        # salloc's own limit holds even if we are killed; ours is for one that hangs.
        f"--immediate={math.ceil(wait)}",
        f"--time={minutes}",
        f"--job-name={name}",
        *client.salloc_options,
    )
    code, stdout, stderr = run_command(client, command, limit=wait + 2)
    granted = re.search(r"Granted job allocation (\d+)", stderr)
    if code == 0 and granted:
        return granted[1]
    raise BenchError(
        f"Slurm gave no allocation of {nodes} nodes within {wait:g} s{_tail(stdout, stderr)}",
        hint="see sinfo; a partition or account can be given by --salloc-option",
    )


def _describe_job(client: Client, job_id: str, *, ours: bool) -> Allocation:
    text = _require(client, ("scontrol", "--oneliner", "show", "job", job_id))
    facts = dict(word.split("=", 1) for word in text.split() if "=" in word)
    names = tuple(_require(client, ("scontrol", "show", "hostnames", facts.get("NodeList", ""))).split())
    cpus = facts.get("NumCPUs", "")
    if not names or not cpus.isdigit():
        raise BenchError(
            f"scontrol does not say nodes and processors of job {job_id}: {text.strip()[:200]!r}"
        )
    return Allocation(job_id, names, max(1, int(cpus) // len(names)), ours)


def job_state(client: Client, allocation: Allocation) -> str:
    """The state of an allocation as Slurm names it ("RUNNING"); "unknown" where it does not say."""
    if allocation.launcher is not None:
        return "RUNNING"
    _, stdout, _ = run_command(
        client, ("scontrol", "--oneliner", "show", "job", allocation.job_id), limit=60.0
    )
    found = re.search(r"\bJobState=(\w+)", stdout)
    return found[1] if found else "unknown"


def _require(client: Client, command: Sequence[str]) -> str:
    code, stdout, stderr = run_command(client, command, limit=60.0)
    if code != 0:
        how = "did not answer within 60 s" if code is None else f"failed with {_describe_code(code)}"
        raise BenchError(
            f"{' '.join(command)} {how}{_tail(stdout, stderr)}", hint="is slurmctld up? (scontrol ping)"
        )
    return stdout


def run_command(client: Client, command: Sequence[str], *, limit: float) -> tuple[int | None, str, str]:
    """Run a command; its exit code is None if it reached its limit.  It never outlives this call."""
    environment = {key: value for key, value in client.environment.items() if key not in _CONTAINER_VARIABLES}
    try:
        return process.run(
            command,
            environment=environment,
            directory=client.directory,
            identity=_identity(client.user),
            limit=limit,
        )
    except OSError as error:
        raise BenchError(
            f"{command[0]} cannot be started: {error.strerror} ({error.filename})",
            hint="is Slurm's client in PATH?",
        ) from error


def _identity(user: str | None) -> tuple[int, int, list[int]] | None:
    if user is None:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise BenchError(f"there is no user {user} on this machine") from error
    return entry.pw_uid, entry.pw_gid, os.getgrouplist(user, entry.pw_gid)


def _describe_code(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"signal {-code}"


def _tail(stdout: str, stderr: str) -> str:
    lines = [line for text in (stdout, stderr) for line in text.split("\n") if line.strip()][-_TAIL_LINES:]
    return "".join(f"\n    {line[:300]}" for line in lines)
