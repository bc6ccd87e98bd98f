"""How programs of others are started: two ranks in an image, on a site's MPI or the image's own."""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cells import HOSTS
from running import Site
from steps import Run

from slurm.testbed import Testbed

OWN = ""
"""In the place of a host's name: the image's own MPI."""


@dataclass(frozen=True, slots=True)
class Real:
    """Starts steps as the user, in ``folder``, which both nodes and the containers see."""

    bed: Testbed
    user: pwd.struct_passwd
    sites: Mapping[str, Site]
    folder: Path

    def run(
        self, image: Path, host: str, argv: Sequence[str], *, like: str, nodes: int = 2, limit: int = 60,
        options: Sequence[str] = (), **variables: str,
    ) -> Run:  # fmt: skip
        """Run a command on two ranks.

        ``like`` is the host whose ``--mpi`` and variables both MPIs need.  After ``limit`` seconds the step
        is ended, and the exit code is 124.
        """
        how = next(entry for entry in HOSTS if entry.name == like)
        modes = {"BAREBOAT_MPI": "image"}
        if host:
            modes = {"BAREBOAT_MPI": "auto", "BAREBOAT_CONFIG": str(self.sites[host].config)}
        command = [
            *("timeout", "--kill-after=10", str(limit)),
            *("srun", f"--mpi={how.pmi}", f"-N{nodes}", "-n2", "--kill-on-bad-exit=1"),
            *(*options, f"--container={image}", *argv),
        ]
        # UCX's rendezvous over TCP hangs now and then here, outside of containers as well.
        environment = {"UCX_RNDV_THRESH": "inf", **dict(how.variables), **modes, **variables}
        return self.bed.run(
            command, user=self.user.pw_name, environment=environment, cwd=str(self.folder), timeout=limit + 30
        )


def used(result: Run) -> set[str]:
    """Whose MPI the ranks of a step with BAREBOAT_CHECK=1 were seen to run on: ``host`` or ``image``."""
    seen = re.findall(r"check: rank \d+: .* mpi=(\w+):\S* ", result.stderr)
    assert len(seen) == 2, result.stderr
    return set(seen)
