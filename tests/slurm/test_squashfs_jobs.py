"""Squashfs images in every kind of job."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest
from squash import pack
from steps import HELLO, QuietTestbed, Srun, good, refused

from slurm.testbed import Testbed


@pytest.fixture
def stored(mpich: Path, store: Path) -> Path:
    file = store / "jobs.sqsh"
    return file if file.exists() else pack(mpich, file, "-comp", "lz4")


@pytest.fixture
def own(tiny: Path, shared_path: Path) -> Path:
    return pack(tiny, shared_path / "own, with 'blanks'.sqsh")


def test_under_job_container_tmpfs(prefix: Path, stored: Path, store: Path, user: pwd.struct_passwd) -> None:
    copy = Path(shutil.copy(stored, user.pw_dir))
    with QuietTestbed(nodes=1, job_container=True, plugin=prefix, stores=[store]) as bed:
        for image in (stored, copy):
            lines = good(bed.run(["srun", "-n2", f"--container={image}", HELLO], user=user.pw_name))
            assert len([line for line in lines if "MPICH Version: 4.0.2" in line]) == 2


def test_a_batch_script_inside(cluster: Testbed, stored: Path, user: pwd.struct_passwd) -> None:
    script, output = Path(user.pw_dir, "job.sh"), Path(user.pw_dir, "output")
    script.write_text("#!/bin/sh\ncat /etc/os-release\n")
    argv = ["sbatch", "--wait", f"--container={stored}", f"--output={output}", str(script)]
    assert cluster.run(argv, user=user.pw_name).returncode == 0
    assert "trixie" in output.read_text()


def test_several_programs_in_one_step(srun: Srun, own: Path, user: pwd.struct_passwd) -> None:
    Path(user.pw_dir, "several.conf").write_text("0 /bin/pwd\n1 /bin/ls /bin/cat\n")
    lines = good(srun("-N1", "-n2", "--multi-prog", f"--container={own}", "several.conf", cwd=user.pw_dir))
    assert sorted(lines) == ["/bin/cat", user.pw_dir]


def test_a_relative_path_and_a_name_that_needs_quotes(srun: Srun, own: Path) -> None:
    command = ("-N2", f"--container=./{own.name}", "/bin/ls", "/bin/cat")
    assert good(srun(*command, cwd=str(own.parent))) == ["/bin/cat"] * 2


def test_a_fuse_device_that_is_closed_to_users_is_named(
    srun: Srun, cluster: Testbed, own: Path, shared_path: Path
) -> None:
    closed = shared_path / "fuse"
    os.mknod(closed, 0o20600, os.makedev(10, 229))
    assert cluster.enter("n1", ["mount", "--bind", str(closed), "/dev/fuse"]).returncode == 0
    try:
        said = refused(srun("-w", "n1", f"--container={own}", "/bin/pwd"))
    finally:
        assert cluster.enter("n1", ["umount", "/dev/fuse"]).returncode == 0
    assert said[0] == (
        "error: cannot open the FUSE device /dev/fuse: Permission denied; "
        "images that are files need it, open to users: chmod 666 /dev/fuse"
    )
