"""Batch jobs, allocations, prologs and job_container/tmpfs, and how a step ends."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from steps import HELLO, QuietTestbed, Srun, good, wait_until

from slurm.testbed import Testbed

LIMIT = 60
"""Seconds for a step to end, and how often it is told to."""

# -- sbatch and salloc


def test_a_batch_script_in_a_container(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    script = "#!/bin/sh\ncat /etc/debian_version\necho $SLURM_CONTAINER\nexit 3\n"
    result = cluster.run(
        ["sbatch", "--wait", f"--container={plain}", "--output=batch.out"], user=user.pw_name, input=script
    )
    assert result.returncode == 3
    version, container = Path(user.pw_dir, "batch.out").read_text().split()
    assert version.startswith("13.")
    assert container == str(plain)


def test_a_batch_scripts_missing_interpreter_is_named(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    result = cluster.run(
        ["sbatch", "--wait", f"--container={plain}", "--output=batch.out"],
        user=user.pw_name,
        input="#!/opt/not/there/perl\n",
    )
    assert result.returncode != 0
    assert "its interpreter /opt/not/there/perl" in Path(user.pw_dir, "batch.out").read_text()


def test_steps_of_a_batch_script(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    script = (
        f"#!/bin/sh\ncat /etc/debian_version\nsrun cat /etc/debian_version\n"
        f"srun --container={plain} cat /etc/debian_version\nsrun cat /etc/debian_version\n"
    )
    command = ["sbatch", "--wait", "--output=batch.out"]
    assert cluster.run(command, user=user.pw_name, input=script).returncode == 0
    outside, step, inside, again = Path(user.pw_dir, "batch.out").read_text().split()
    assert outside == step == again == host
    assert inside.startswith("13.")


def test_a_nested_step_does_not_inherit_the_container(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    command = ["salloc", f"--container={plain}", "srun", "cat", "/etc/debian_version"]
    assert cluster.run(command, user=user.pw_name).stdout.split() == [host]


def test_the_interactive_step_of_salloc(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    text = cluster.run(
        ["script", "-qec", f"salloc --container={plain}", "/dev/null"],
        user=user.pw_name,
        input="cat /etc/debian_version; exit\n",
    ).stdout
    assert re.search(r"13\.\d+\s", text)


# -- job_container/tmpfs, prologs


def test_under_job_container_tmpfs(prefix: Path, mpich: Path, user: pwd.struct_passwd) -> None:
    with QuietTestbed(nodes=2, job_container=True, plugin=prefix) as bed:
        lines = good(bed.run(["srun", "-N2", "-n4", f"--container={mpich}", HELLO], user=user.pw_name))
        assert len([line for line in lines if "MPICH Version: 4.0.2" in line]) == 4
        script = "touch /tmp/seen && ls /tmp"
        argv = ["srun", "--quiet", "-N1", f"--container={mpich}", "sh", "-c", script]
        assert good(bed.run(argv, user=user.pw_name)) == ["seen"]
        assert not Path("/tmp/seen").exists()


@pytest.fixture
def prologs(shared_path: Path) -> Path:
    site = shared_path / "site.sh"
    site.write_text(
        "#!/bin/sh\necho export FROM_SITE=$SLURM_PROCID\necho print site prolog\necho unset UNWANTED\n"
    )
    users = shared_path / "user.sh"
    users.write_text(f"#!/bin/sh\necho export FROM_USER=$(cat /etc/debian_version)\ntest -e {shared_path}\n")
    bad = shared_path / "bad.sh"
    bad.write_text("#!/bin/sh\nexit 7\n")
    for script in (site, users, bad):
        script.chmod(0o755)
    return shared_path


def test_prologs_run_on_the_host_and_change_the_environment(
    prefix: Path, plain: Path, user: pwd.struct_passwd, prologs: Path
) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    with QuietTestbed(nodes=1, plugin=prefix, extra={"TaskProlog": str(prologs / "site.sh")}) as bed:
        argv = ["srun", "-n2", f"--task-prolog={prologs / 'user.sh'}", f"--container={plain}"]
        result = bed.run(
            [
                *argv,
                "sh",
                "-c",
                "echo $SLURM_PROCID $FROM_SITE $FROM_USER [$UNWANTED] $(cat /etc/debian_version)",
            ],
            user=user.pw_name,
            environment={"UNWANTED": "x"},
        )
        lines = sorted(good(result))
        assert lines[:2] == [line.strip() for line in lines[:2]]
        assert [line for line in lines if line == "site prolog"] == ["site prolog"] * 2
        for rank in ("0", "1"):
            assert any(re.fullmatch(rf"{rank} {rank} {re.escape(host)} \[\] 13\..*", line) for line in lines)
        bare = bed.run(["srun", "--quiet", "sh", "-c", "echo $FROM_SITE"], user=user.pw_name)
        assert good(bare) == ["site prolog", "0"]


def test_a_failing_prolog_is_named(cluster: Testbed, srun: Srun, plain: Path, prologs: Path) -> None:
    result = srun(f"--task-prolog={prologs / 'bad.sh'}", f"--container={plain}", "true")
    assert result.returncode == 7
    assert f"bareboat: n1: --task-prolog {prologs / 'bad.sh'} failed with exit code 7\n" in result.stderr
    result = srun("--task-prolog=/not/there", f"--container={plain}", "true")
    assert result.returncode == 125
    assert (
        "bareboat: n1: --task-prolog /not/there is missing or not executable on this node; "
        "prologs run on the host, where the path must exist\n" in result.stderr
    )


# -- the end of a step


@pytest.mark.parametrize("how", ["scancel", "interrupt"])
def test_a_step_that_is_ended_leaves_nothing(
    cluster: Testbed, mpich: Path, user: pwd.struct_passwd, how: str
) -> None:
    """Interrupted while it starts and while it runs; the leftover check of every test does the rest."""
    for moment in (0.05, 0.15, None):
        marker = Path(user.pw_dir, "started")
        marker.unlink(missing_ok=True)
        process = subprocess.Popen(
            [
                "srun",
                "-N2",
                "-n4",
                "--job-name=ended",
                f"--container={mpich}",
                "sh",
                "-c",
                "touch ~/started; sleep 300",
            ],
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=user.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if moment is None:
            wait_until(marker.exists)
        else:
            time.sleep(moment)
        try:
            for _ in range(LIMIT):
                if process.poll() is not None:
                    break
                # Again and again: srun may not have a job yet, and asks for a second SIGINT within a second.
                if how == "scancel":
                    cluster.run(["scancel", "--name=ended", "--user", user.pw_name])
                else:
                    os.kill(process.pid, signal.SIGINT)
                time.sleep(0.3)
            said = process.communicate(timeout=LIMIT)[1]
        finally:
            process.kill()
        assert process.returncode != 0, said
        # The end of the step is Slurm's to tell; what it cut short is no failure of ours.
        assert "bareboat" not in said
        assert "Traceback" not in said
    wait_until(lambda: not cluster.run(["squeue", "-h"]).stdout.strip())
    assert set(cluster.run(["sinfo", "-h", "-o", "%T"]).stdout.split()) <= {"idle", "completing"}


def test_components_of_a_step_in_different_images_are_refused(
    cluster: Testbed, plain: Path, tiny: Path, user: pwd.struct_passwd
) -> None:
    """Slurm has one SLURM_CONTAINER for all: the second would run in the first one's image."""
    for second in ([f"--container={tiny}"], []):
        argv = ["srun", "-N1", f"--container={plain}", "true", ":", "-N1", *second, "true"]
        result = cluster.run(argv, user=user.pw_name)
        assert result.returncode == 125
        assert (
            "bareboat: error: cannot run the components of a heterogeneous step in different" in result.stderr
        )
