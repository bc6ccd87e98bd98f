"""A cell, judged and run."""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cells import OWN, Cell, Outcome
from steps import Run

from launcher.launch import Options, prepare
from slurm.testbed import Testbed

LIMIT = 40
"""Seconds after which a step has failed: a mismatch may end in a hang."""
TRIES = 3
"""How often what should run is started: MPIs hang here now and then, outside of containers as well, while
what was judged wrongly fails each time."""
PARTS = {"p2p", "error", "collective", "one-sided", "io"}


@dataclass(frozen=True, slots=True)
class Site:
    """A host MPI as a site has it: the configuration that names it alone, and the version that it tells."""

    name: str
    config: Path
    version: str


@dataclass(frozen=True, slots=True)
class Result:
    """What was judged of a cell and what came of it; ``verdict`` is "" where nothing is swapped.

    ``said`` is what the step printed, for whoever has to find out why.
    """

    verdict: str
    codes: tuple[str, ...]
    reasons: tuple[str, ...]
    outcome: Outcome
    said: str

    @property
    def text(self) -> str:
        """The cell's text in docs/matrix.md."""
        if not self.verdict:
            return self.outcome.value
        against = f" ({', '.join(self.codes)})" if self.verdict not in {"native", "no-mpi"} else ""
        return f"{self.verdict}{against}: {self.outcome}"


def try_cell(
    cell: Cell, image: Path, site: Site | None, *, bed: Testbed, user: pwd.struct_passwd, file: Path
) -> Result:
    """Judge a cell as a launch does, and run it; what would be refused is run with BAREBOAT_MPI=force."""

    def run(modes: Mapping[str, str], version: str, *, tries: int) -> tuple[Outcome, str]:
        done = _run(cell, image, modes, bed=bed, user=user, file=file)
        outcome = _outcome(cell, done, version)
        again = tries > 1 and outcome is not Outcome.RUNS
        return run(modes, version, tries=tries - 1) if again else (outcome, _said(done))

    if site is None:
        tries = TRIES if cell.program.real else 1
        return Result("", (), (), *run({"BAREBOAT_MPI": "image"}, "", tries=tries))
    environment = {"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **dict(cell.variables)}
    options = Options(config=str(site.config), mpi="force")
    mpi = prepare(str(image), cell.program.argv, environment=environment, cwd="/", options=options).mpi
    fits = mpi.verdict in {"native", "no-mpi"}
    modes = {"BAREBOAT_MPI": "auto" if fits else "force", "BAREBOAT_CONFIG": str(site.config)}
    version = site.version if mpi.verdict != "no-mpi" else ""
    came_of_it = run(modes, version, tries=TRIES if fits else 1)
    return Result(mpi.verdict, mpi.codes, mpi.reasons, *came_of_it)


def _run(
    cell: Cell, image: Path, modes: Mapping[str, str], *, bed: Testbed, user: pwd.struct_passwd, file: Path
) -> Run:
    argv = [
        *("timeout", "--kill-after=10", str(LIMIT)),
        *("srun", f"--mpi={cell.pmi}", "-N2", "-n2", "--kill-on-bad-exit=1", f"--container={image}"),
        *(*cell.program.argv, *([str(file)] if cell.program.checks else [])),
    ]
    # UCX's rendezvous over TCP hangs now and then here, outside of containers as well.
    environment = {"UCX_RNDV_THRESH": "inf", **dict(cell.variables), **modes}
    return bed.run(argv, user=user.pw_name, environment=environment, timeout=LIMIT + 20)


def _outcome(cell: Cell, done: Run, version: str) -> Outcome:
    """What a step has come to; ``version`` is that of the MPI that should have answered, "" for any."""
    ranks = re.findall(r"^rank (\d) of (\d+) on (\S+) library (.*)$", done.stdout, re.MULTILINE)
    if cell.program.checks and any(size == "1" for _, size, _, _ in ranks):
        return Outcome.ALONE
    if done.returncode != 0:
        return Outcome.FAILS
    if not cell.program.checks:
        return Outcome.RUNS if cell.program.says in done.stdout else Outcome.FAILS
    both = {(rank, size) for rank, size, _, _ in ranks} == {("0", "2"), ("1", "2")}
    apart = {host for _, _, host, _ in ranks} == {"n1", "n2"}
    parts = re.findall(r"^rank (\d) part (\S+) ok$", done.stdout, re.MULTILINE)
    lacking = {(rank, part) for rank in "01" for part in PARTS} - set(parts)
    # Fortran leaves errors to C.
    if not both or not apart or {part for _, part in lacking} - {"error"}:
        return Outcome.FAILS
    return Outcome.RUNS if all(version in library for *_, library in ranks) else Outcome.KEEPS


def _said(done: Run) -> str:
    return f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def contradiction(cell: Cell, result: Result) -> str:
    """Say how a verdict and what came of it contradict each other; "" where they agree."""
    runs = result.outcome is Outcome.RUNS
    if cell.host == OWN:
        return "" if runs is cell.program.real else f"on the image's own MPI, it {result.outcome}"
    fits = result.verdict in {"native", "no-mpi"}
    return "" if runs is fits else f"judged {result.verdict}, but it {result.outcome}"
