"""Entry of the SPANK plugin: ``python -I -m launcher.step MOUNT ARGV...``, per node and step, as the user.

MOUNT is the descriptor of an image that root has mounted, "--" where there is none.  The environment and the
working directory are the task's.  Standard output gets the entry, standard
error warnings or the one message of a failure, which the plugin passes on to the user.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.entry import encode_entry
from launcher.errors import BareboatError
from launcher.launch import prepare
from launcher.messages import describe, known_errors
from mpi_abi.guards import Recorder, is_fresh
from slurm.multiprog import programs_of
from slurm.step import StepKind, read_step

_MULTI_PROG = "SLURM_BAREBOAT_MULTI_PROG"


def make_entry(
    argv: Sequence[str], *, environment: Mapping[str, str], cwd: str, mount: int | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """Plan the step's container: the entry's bytes (``launcher.entry``), and the warnings.

    ``mount`` is a descriptor of the image, where that is a file that root has mounted.
    """
    image = environment.get("SLURM_CONTAINER", "")
    if not image:
        raise BareboatError(
            "SLURM_CONTAINER is not set: there is no image to run", hint="this is for bareboat's Slurm plugin"
        )
    first, *others = programs(argv, environment)
    step = read_step(environment, argv=tuple(argv), cwd=cwd)
    recorder, since = Recorder(), time.time_ns()
    if step.kind is StepKind.BATCH:
        recorder.forbid("no later step runs this batch script")
    if environment.get(_MULTI_PROG):
        recorder.forbid("which programs run depends on the ranks of this node")
    # A program that is missing is Slurm's to report, with its own exit code; the reason is told beforehand.
    plan = prepare(
        image,
        (first, *argv[1:]) if first else (),
        environment=environment,
        cwd=cwd,
        step=step,
        others=tuple(others),
        needs_program=False,
        recorder=recorder,
        mount=mount,
    )
    if any(is_fresh(guard, since) for guard in recorder.guards):
        recorder.forbid("something that the plan was decided by has changed just now")
    entry = encode_entry(plan.encode(), recorder.guards, cacheable=not recorder.obstacles)
    return entry, plan.warnings


def programs(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Name the programs of this node's ranks: one, or those of a --multi-prog configuration.

    Slurm hands the plugin such a configuration as its name and its text in place of the command.
    """
    if environment.get(_MULTI_PROG) and len(argv) > 1:
        ranks = tuple(int(rank) for rank in environment.get("SLURM_GTIDS", "").split(",") if rank.isdecimal())
        return programs_of(argv[1], ranks) or ("",)
    return tuple(argv[:1]) or ("",)


def main(arguments: Sequence[str]) -> int:
    """Run the entry; returns its exit code."""
    mount, *argv = arguments
    given = int(mount) if mount.isdecimal() else None
    try:
        entry, warnings = make_entry(argv, environment=os.environ, cwd=str(Path.cwd()), mount=given)
    except known_errors() as error:
        sys.stderr.write(describe(error))
        return 125
    except OSError as error:
        sys.stderr.write(f"bareboat: error: cannot plan the container: {error}\n")
        return 125
    for warning in warnings:
        sys.stderr.write(f"bareboat: warning: {warning}\n")
    sys.stdout.buffer.write(entry)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
