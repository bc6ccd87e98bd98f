"""The facts of a Slurm step, read from the environment that Slurm gives to its processes.  Pure.

The variables are those of srun(1) and sbatch(1), "OUTPUT ENVIRONMENT VARIABLES"; those of PMI were read off
real steps of Slurm 22.05 (``tests/slurm/test_step.py`` does so again).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from slurm.errors import SlurmError

BATCH_STEP, EXTERN_STEP, INTERACTIVE_STEP = 0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFA
"""The step numbers that slurm.h sets aside (SLURM_BATCH_SCRIPT, _EXTERN_CONT, _INTERACTIVE_STEP)."""

_BATCH_SCRIPT = "slurm_script"
"""The name under which slurmd puts the batch script into the job's directory of the node's spool."""

_OURS = re.compile(r"(SLURM|SLURMD|SRUN|PMI|PMI2|PMIX)_.*|SLURM_?JOBID")
_COUNTS = re.compile(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_USOCK = re.compile(r"usock:(/[^;:]*)")


class StepKind(StrEnum):
    """What sort of step this is."""

    STEP = "step"
    BATCH = "batch"
    INTERACTIVE = "interactive"
    EXTERN = "extern"
    NONE = "none"
    """Not in a step: on a login node, or in the shell of a ``salloc`` there."""


class Pmi(StrEnum):
    """By what the ranks of the step find each other."""

    NONE = "none"
    PMI2 = "pmi2"
    """An inherited socket, named by PMI_FD; PMI-1 programs speak through it, too."""
    PMIX = "pmix"


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What a step says of itself.  Counts are 1 and numbers 0 where Slurm says nothing.

    ``spool_dir`` is the job's directory in the node's spool, for a batch script only.  ``pmi_dirs`` are
    the directories that a rank must see under the same paths to reach its PMI server, parents first.
    ``environment`` are the variables of Slurm and PMI, sorted by name.
    """

    kind: StepKind
    job_id: int | None
    step_id: int | None
    node_id: int
    node_name: str
    node_count: int
    task_count: int
    local_task_count: int
    cwd: str
    spool_dir: str | None
    pmi: Pmi
    pmi_dirs: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


def read_step(environment: Mapping[str, str], *, argv: Sequence[str], cwd: str) -> StepFacts:
    """Read the facts of a step.

    Args:
        environment: of a process of the step, or of any process.
        argv: the command that Slurm would start, as Slurm names it.
        cwd: its working directory.

    Raises:
        SlurmError: if a variable that Slurm sets holds what Slurm would not put there.
    """
    job_id = _optional_number(environment, "SLURM_JOB_ID", "SLURM_JOBID")
    step_id = _optional_number(environment, "SLURM_STEP_ID", "SLURM_STEPID")
    spool_dir = _spool_dir(job_id, argv)
    kind = _kind(job_id, step_id, spool_dir)
    node_id = _optional_number(environment, "SLURM_NODEID") or 0
    # A batch script inherits the whole job's counts, but it is one process.
    alone = kind in (StepKind.BATCH, StepKind.NONE)
    return StepFacts(
        kind=kind,
        job_id=job_id,
        step_id=None if kind is StepKind.BATCH else step_id,
        node_id=node_id,
        node_name=environment.get("SLURMD_NODENAME", ""),
        node_count=1 if alone else _count(environment, "SLURM_STEP_NUM_NODES", "SLURM_NNODES"),
        task_count=1 if alone else _count(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        local_task_count=1 if alone else _local_tasks(environment, node_id),
        cwd=cwd,
        spool_dir=spool_dir,
        pmi=read_pmi(environment),
        pmi_dirs=read_pmi_dirs(environment),
        environment=tuple(
            sorted((name, value) for name, value in environment.items() if _OURS.fullmatch(name))
        ),
    )


def read_pmi(environment: Mapping[str, str]) -> Pmi:
    """Which process manager interface the environment offers; PMIx where it offers both."""
    if "PMIX_NAMESPACE" in environment and "PMIX_RANK" in environment:
        return Pmi.PMIX
    if "PMI_FD" in environment:
        return Pmi.PMI2
    return Pmi.NONE


def read_pmi_dirs(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The directories in which a PMIx server keeps shared memory, sockets and the job's session.

    PMIX_SERVER_TMPDIR holds the data store; PMIX_SYSTEM_TMPDIR is where the server made the job's own
    directory (told to ranks through the data store, not by a variable); PMIX_DSTORE_* and a ``usock:``
    address, which PMIx 1 and 2 use where later ones use TCP on loopback, usually lie below the first.
    """
    if read_pmi(environment) is not Pmi.PMIX:
        return ()
    paths = [environment.get("PMIX_SERVER_TMPDIR", ""), environment.get("PMIX_SYSTEM_TMPDIR", "")]
    for name in sorted(environment):
        if name.startswith("PMIX_DSTORE_") and name.endswith("_BASE_PATH"):
            paths.append(environment[name])
        elif name.startswith("PMIX_SERVER_URI") and (found := _USOCK.search(environment[name])):
            paths.append(str(PurePosixPath(found[1]).parent))
    return _without_nested(paths)


def parse_tasks_per_node(text: str, node: int) -> int | None:
    """The number of tasks on a node by a list such as ``2(x3),1``; None beyond its end.

    Args:
        text: what SLURM_STEP_TASKS_PER_NODE holds.
        node: the node's number in the step, from 0.

    Raises:
        SlurmError: if the text is no such list.
    """
    first = 0
    answer = None
    for part in text.split(","):
        found = _COUNTS.fullmatch(part)
        if found is None:
            raise SlurmError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}, which is not a list such as 2(x3),1")
        nodes = int(found[2] or 1)
        if first <= node < first + nodes:
            answer = int(found[1])
        first += nodes
    return answer


def _kind(job_id: int | None, step_id: int | None, spool_dir: str | None) -> StepKind:
    if job_id is None:
        return StepKind.NONE
    # First: a job submitted from within a step inherits that step's SLURM_STEP_ID.
    if spool_dir is not None:
        return StepKind.BATCH
    reserved = {
        None: StepKind.NONE,
        BATCH_STEP: StepKind.BATCH,
        EXTERN_STEP: StepKind.EXTERN,
        INTERACTIVE_STEP: StepKind.INTERACTIVE,
    }
    return reserved.get(step_id, StepKind.STEP)


def _spool_dir(job_id: int | None, argv: Sequence[str]) -> str | None:
    """The directory of the batch script: SPOOL/jobNNNNN/slurm_script is argv[0] of a batch step."""
    if job_id is None or not argv:
        return None
    script = PurePosixPath(argv[0])
    place = script.parent
    if script.is_absolute() and script.name == _BATCH_SCRIPT and place.name == f"job{job_id:05d}":
        return str(place)
    return None


def _local_tasks(environment: Mapping[str, str], node: int) -> int:
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
        if environment.get(name):
            return parse_tasks_per_node(environment[name], node) or 1
    return 1


def _count(environment: Mapping[str, str], *names: str) -> int:
    return _optional_number(environment, *names) or 1


def _optional_number(environment: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = environment.get(name)
        if text:
            if not _NUMBER.fullmatch(text):
                raise SlurmError(f"{name} is {text!r}, which is not a number")
            return int(text)
    return None


def _without_nested(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths in normal form, each once, without those that lie inside another one."""
    plain = set()
    for path in paths:
        parts = PurePosixPath(path).parts[1:]
        if path.startswith("/") and parts and ".." not in parts:
            plain.add(str(PurePosixPath("/", *parts)))
    return tuple(
        path
        for path in sorted(plain)
        if not any(str(above) in plain for above in PurePosixPath(path).parents)
    )
