"""What a hostile or unlucky step does to the plugin: strange arguments, huge environments, killed helpers."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from steps import Srun, good, wait_until

from slurm.testbed import Testbed


@pytest.mark.parametrize("argument", ["--multi-prog", "--task-prolog=/bin/false", "--task-prolog"])
def test_the_applications_arguments_are_not_sruns(srun: Srun, plain: Path, argument: str) -> None:
    assert good(srun(f"--container={plain}", "echo", argument, "/bin/false")) == [f"{argument} /bin/false"]


def test_many_variables_of_slurm(srun: Srun, plain: Path) -> None:
    many = {f"SLURM_BAREBOAT_TEST_{number}": "x" for number in range(1100)}
    assert good(srun(f"--container={plain}", "sh", "-c", "env | grep -c SLURM_BAREBOAT_TEST_", **many)) == [
        "1100"
    ]


def _planners(user: pwd.struct_passwd) -> list[int]:
    """The processes of the user that plan a container."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if directory.stat().st_uid == user.pw_uid and b"launcher.step" in Path(
                directory, "cmdline"
            ).read_bytes().split(b"\0"):
                found.append(int(directory.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_killed_helper_is_told_once_and_takes_the_planner_along(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    fifo = Path(user.pw_dir, "config.toml")
    os.mkfifo(fifo, 0o644)  # the planner waits for somebody to write
    process = subprocess.Popen(
        ["srun", "-N1", "-n3", f"--container={plain}", "true"],
        user=user.pw_uid,
        group=user.pw_gid,
        cwd=user.pw_dir,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": user.pw_dir,
            "BAREBOAT_CONFIG": str(fifo),
            **cluster.environment,
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: bool(_planners(user)))
    (planner,) = _planners(user)
    helper = int(Path(f"/proc/{planner}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(helper, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 125
    (told,) = [line for line in errors.splitlines() if line.startswith("bareboat:")]
    assert told == (
        "bareboat: n1: the process that makes the container was ended from outside; "
        "see the node's kernel log (out of memory?) and try again"
    )
    wait_until(lambda: not _planners(user))
