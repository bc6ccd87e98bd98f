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


def test_an_argument_of_the_application_keeps_no_inherited_container(
    srun: Srun, plain: Path, tiny: Path
) -> None:
    """--interactive is how salloc's own srun is told from others, which inherit no container."""
    command = ("sh", "-c", "cat /etc/debian_version", "--interactive")
    host = Path("/etc/debian_version").read_text().strip()
    assert good(srun(*command, SLURM_CONTAINER=str(plain))) == [host]
    for flag in (["--container", str(plain)], [f"--container={plain}"]):
        assert good(srun(*flag, *command, SLURM_CONTAINER=str(tiny))) == [
            (plain / "etc/debian_version").read_text().strip()
        ]


def test_many_variables_of_slurm(srun: Srun, plain: Path) -> None:
    many = {f"SLURM_BAREBOAT_TEST_{number}": "x" for number in range(1100)}
    assert good(srun(f"--container={plain}", "sh", "-c", "env | grep -c SLURM_BAREBOAT_TEST_", **many)) == [
        "1100"
    ]


def _processes(user: pwd.struct_passwd, word: str) -> list[int]:
    """The user's processes with ``word`` in their command line."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if f"\nUid:\t{user.pw_uid}\t" in Path(directory, "status").read_text() and (
                word in Path(directory, "cmdline").read_bytes().decode("utf-8", "replace")
            ):
                found.append(int(directory.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _start(cluster: Testbed, user: pwd.struct_passwd, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["srun", "-N1", *arguments],
        user=user.pw_uid,
        group=user.pw_gid,
        cwd=user.pw_dir,
        env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **more, **cluster.environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_killed_helper_is_told_once_and_takes_the_planner_along(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    fifo = Path(user.pw_dir, "config.toml")
    os.mkfifo(fifo, 0o644)  # the planner waits for somebody to write
    process = _start(cluster, user, "-n3", f"--container={plain}", "true", BAREBOAT_CONFIG=str(fifo))
    wait_until(lambda: bool(_processes(user, "launcher.step")))
    (planner,) = _processes(user, "launcher.step")
    helper = int(Path(f"/proc/{planner}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(helper, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 125
    (told,) = [line for line in errors.splitlines() if line.startswith("bareboat:")]
    assert told == (
        "bareboat: n1: the process that makes the container was ended from outside; "
        "see the node's kernel log (out of memory?) and try again"
    )
    wait_until(lambda: not _processes(user, "launcher.step"))


def test_a_step_can_be_cancelled_while_its_plan_hangs(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    fifo = Path(user.pw_dir, "never.toml")
    os.mkfifo(fifo, 0o644)
    arguments = ("-n3", "--job-name=hangs", f"--container={plain}", "true")
    process = _start(cluster, user, *arguments, BAREBOAT_CONFIG=str(fifo))
    wait_until(lambda: bool(_processes(user, "launcher.step")))
    cluster.run(["scancel", "--name=hangs", "--user", user.pw_name])
    wait_until(lambda: not _processes(user, "slurmstepd"))
    wait_until(lambda: not _processes(user, "launcher.step"))
    process.communicate(timeout=60)
    assert process.returncode != 0


def _hold_up(cluster: Testbed, user: pwd.struct_passwd, plain: Path) -> subprocess.Popen[str]:
    """Start a step whose second rank waits for a file `go`, and wait until its container stands."""
    Path(user.pw_dir, "go").unlink(missing_ok=True)
    prolog = Path(user.pw_dir, "prolog.sh")
    prolog.write_text(
        f"#!/bin/sh\n[ $SLURM_PROCID = 0 ] || while [ ! -e {user.pw_dir}/go ]; do sleep 0.1; done\n"
    )
    prolog.chmod(0o755)
    process = _start(cluster, user, "-n2", f"--task-prolog={prolog}", f"--container={plain}", "true")
    wait_until(lambda: bool(_processes(user, "--hold")))
    return process


def test_the_memory_of_roots_daemon_is_not_for_the_user(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    process = _hold_up(cluster, user, plain)
    copies = _processes(user, "slurmstepd")
    assert copies
    for copy in copies:
        read = subprocess.run(
            ["cat", f"/proc/{copy}/maps"], user=user.pw_uid, capture_output=True, text=True, check=False
        )
        assert read.stdout == ""
        assert "Permission denied" in read.stderr
    Path(user.pw_dir, "go").touch()
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_a_killed_holder_is_named(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    process = _hold_up(cluster, user, plain)
    (holder,) = _processes(user, "--hold")
    os.kill(holder, signal.SIGKILL)
    Path(user.pw_dir, "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 125
    assert "bareboat: n1: cannot open the namespace" in errors
