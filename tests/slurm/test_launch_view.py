"""The image and what of the host is seen in it."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from steps import Srun, good

from slurm.testbed import Testbed

# -- the image


def test_a_path_relative_to_the_submitting_directory(srun: Srun, plain: Path) -> None:
    lines = good(srun(f"--container=./{plain.name}", "cat", "/etc/debian_version", cwd=str(plain.parent)))
    assert lines[0].startswith("13.")
    lines = good(srun(f"--container={plain.name}/../{plain.name}", "id", "-u", cwd=str(plain.parent)))
    assert lines[0].isdigit()


def test_an_image_without_mount_points_starts_and_stays_unchanged(srun: Srun, tiny: Path) -> None:
    before = sorted(str(path) for path in tiny.rglob("*"))
    script = "ls /proc/self/ns/user /sys/class /dev/null /dev/shm -d; touch /x; ls -d /home; pwd"
    result = srun(f"--container={tiny}", "sh", "-c", script)
    assert "touch: /x: Read-only file system" in result.stderr
    assert result.stdout.splitlines()[:4] == ["/dev/null", "/dev/shm", "/proc/self/ns/user", "/sys/class"]
    assert sorted(str(path) for path in tiny.rglob("*")) == before


def test_links_that_point_outside_lead_nowhere(srun: Srun, tiny: Path) -> None:
    (tiny / "etc").mkdir()
    (tiny / "etc/hosts").symlink_to("/../../../../../../etc/shadow")
    (tiny / "outside").symlink_to("../../../../../../../../../../home")
    (tiny / "tmp").symlink_to("/absolute/elsewhere")
    lines = good(srun(f"--container={tiny}", "sh", "-c", "cat /etc/hosts | wc -l; ls -d /tmp/. /outside/."))
    assert int(lines[0]) > 0
    assert lines[1:] == ["/outside/.", "/tmp/."]


def test_the_view_of_the_host(srun: Srun, plain: Path, user: pwd.struct_passwd, cluster: Testbed) -> None:
    Path(user.pw_dir, "mine").write_text("at home\n")
    script = "id -un; cat ~/mine; pwd; grep -c n1 /etc/hosts; ls -d /tmp /dev/shm; echo $KEPT $PATH"
    lines = good(srun(f"--container={plain}", "sh", "-c", script, KEPT="kept"))
    assert lines[:3] == [user.pw_name, "at home", user.pw_dir]
    assert int(lines[3]) > 0
    assert lines[6].startswith("kept /usr/local/sbin:")


@pytest.mark.parametrize("view", ["proc", "sys", "dev", "tmp", "resolver", "users", "network"])
def test_each_view_can_be_off(srun: Srun, tiny: Path, view: str) -> None:
    assert good(srun(f"--container={tiny}", "sh", "-c", "echo it runs", BAREBOAT_WITHOUT=view)) == ["it runs"]


def test_the_hosts_preloads_stay_outside(srun: Srun, plain: Path) -> None:
    lines = good(
        srun(
            f"--container={plain}",
            "sh",
            "-c",
            "echo [$LD_PRELOAD$LD_LIBRARY_PATH]",
            LD_LIBRARY_PATH="/x",
            LD_PRELOAD="",
        )
    )
    assert lines == ["[]"]


def test_mounts_that_the_user_adds(srun: Srun, plain: Path, shared_path: Path) -> None:
    (shared_path / "data").write_text("data\n")
    shared_path.chmod(0o777)
    mounts = f"{shared_path}:/mnt:ro,{shared_path}:/made/here,{shared_path}"
    script = f"cat /mnt/data /made/here/data {shared_path}/data; touch /made/here/new; touch /mnt/no"
    result = srun(f"--container={plain}", "sh", "-c", script, BAREBOAT_MOUNTS=mounts)
    assert result.stdout.splitlines() == ["data"] * 3
    assert (shared_path / "new").exists()
    assert "Read-only file system" in result.stderr


def test_views_that_the_user_switches_off(srun: Srun, plain: Path, user: pwd.struct_passwd) -> None:
    result = srun("--chdir=/", f"--container={plain}", "ls", "-d", user.pw_dir, BAREBOAT_WITHOUT="home,cwd")
    assert result.returncode == 2
    assert "No such file or directory" in result.stderr
