"""Hostile steps on a real Slurm, as an unprivileged user: what images, names and directories try.

tests/integration/test_attacks_*.py try the same and more without Slurm.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from steps import Srun, good, refused

NONE = "0" * 16


pytestmark = pytest.mark.usefixtures("nodes_stay")


def test_setuid_and_capable_files_and_device_nodes(
    srun: Srun, hostile: Path, attack: Path, user: pwd.struct_passwd
) -> None:
    for name in ("setuid", "capable"):
        shutil.copy(attack, hostile / name)
    (hostile / "setuid").chmod(0o4755)
    subprocess.run(["setcap", "cap_dac_override,cap_sys_admin+ep", hostile / "capable"], check=True)
    os.mknod(hostile / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (hostile / "null").chmod(0o666)
    # On the bare node, each is what it says.
    uid = user.pw_uid
    assert good(srun(hostile / "setuid", "ids"))[0].startswith(f"uid {uid} 0 ")
    assert f"CapEff {NONE}" not in good(srun(hostile / "capable", "ids"))[0]
    assert good(srun(attack, "open", hostile / "null")) == [f"open {hostile}/null: done"]
    for name in ("setuid", "capable"):
        said = good(srun(f"--container={hostile}", f"/{name}", "ids"))[0]
        assert said.startswith(f"uid {uid} {uid} ")
        assert said.endswith(f" CapPrm {NONE} CapEff {NONE} NoNewPrivs 1")
    assert good(srun(f"--container={hostile}", "attack", "open", "/null")) == [
        "open /null: Permission denied"
    ]


def test_mounts_of_what_is_not_the_users(srun: Srun, hostile: Path, other: pwd.struct_passwd) -> None:
    mounts = f"/etc/shadow:/mnt/shadow,{other.pw_dir}:/mnt/home,/root:/mnt/root"
    paths = ["/mnt/shadow", "/mnt/home", "/mnt/home/file", "/mnt/root"]
    said = good(srun(f"--container={hostile}", "attack", "open", *paths, BAREBOAT_MOUNTS=mounts))
    assert said == [f"open {path}: Permission denied" for path in paths]
    said = refused(srun(f"--container={hostile}", "true", BAREBOAT_MOUNTS=f"{other.pw_dir}/file:/mnt/file"))
    assert said[0] == (f"error: cannot mount {other.pw_dir}/file: it does not exist, or you cannot reach it")


def test_an_image_of_somebody_elses(srun: Srun, hostile: Path, other: pwd.struct_passwd) -> None:
    path = Path(other.pw_dir, "image")
    shutil.copytree(hostile, path, symlinks=True)
    said = refused(srun(f"--container={path}", "true"))
    assert said[0] == (f"error: cannot reach the image {path}: {other.pw_dir} may not be searched by you")


@pytest.mark.parametrize("path", ["/proc/1/root", "/proc/1/cwd", "/proc/1/fd/0"])
def test_roots_magic_links_are_no_image(srun: Srun, path: str) -> None:
    said = refused(srun(f"--container={path}", "true"))
    assert said[0].startswith(f"error: cannot reach the image {path}: ")


FORMAT_HINT = "hint: name the directory that holds the image's root file system"
NO_IMAGE = {
    "/proc/self/exe": "/proc/self/exe is not an image: it is a file of no known image format",
    "/proc/self/fd/0": "/proc/self/fd/0 is not an image: neither a directory nor a file",
    "/proc/self/fd/3": "the image /proc/self/fd/3 does not exist",
    "/dev/null": "/dev/null is not an image: neither a directory nor a file",
    "%{cwd}": "the image {home}/%{{cwd}} does not exist",
    "new\nline": "the image {home}/new\nline does not exist",
    "/\udcff\udcfe": "the image /\\udcff\\udcfe does not exist",
}


@pytest.mark.parametrize("name", NO_IMAGE)
def test_names_that_mean_no_image(srun: Srun, user: pwd.struct_passwd, name: str) -> None:
    said = "\n".join(refused(srun(f"--container={name}", "true")))
    assert said.startswith("error: " + NO_IMAGE[name].format(home=user.pw_dir))


@pytest.mark.parametrize("path", ["/", "/proc/self/root"])
def test_the_host_as_an_image_is_read_only(srun: Srun, attack: Path, shared_path: Path, path: str) -> None:
    mine = shared_path / "mine"
    mine.touch()
    mine.chmod(0o666)
    arguments = ("--chdir=/", f"--container={path}", attack, "write", mine, "/etc/shadow")
    assert good(srun(*arguments, BAREBOAT_WITHOUT="tmp,cwd")) == [
        f"write {mine}: Read-only file system",
        "write /etc/shadow: Permission denied",
    ]


MAGIC = (
    "/proc/self/root",
    "/proc/1/root",
    "/proc/self/exe",
    "/proc/self/fd/0",
    "/proc/self/root/root",
    "/dev/fd/0",
)
PLACES = (
    *MAGIC,
    "/",
    "/..",
    "/proc",
    "/run",
    "/etc/shadow",
    "/root",
    "relative",
    "%{cwd}",
    "/\n",
    "/" + "x" * 5000,
)
TRY = "cat /mark; attack open /root /etc/gshadow /etc/shadow; attack write /mark; attack open /run/systemd"


def harmless(lines: list[str]) -> None:
    """What TRY prints where the root is the image, and nothing is open that is not the user's."""
    assert lines[0] == "the image's"
    assert len(lines) == 6
    assert [line for line in lines[1:] if line.endswith(": done")] in ([], ["open /root: done"])


@pytest.mark.parametrize("name", ["TMPDIR", "PMIX_SERVER_TMPDIR", "PMIX_SYSTEM_TMPDIR"])
def test_a_steps_directories_are_not_the_way_out(srun: Srun, hostile: Path, name: str) -> None:
    for place in PLACES:
        result = srun("-w", "n1", f"--container={hostile}", "sh", "-c", TRY, **{name: place})
        harmless(result.stdout.splitlines())


def test_a_steps_directories_where_proc_is_not_shown(srun: Srun, hostile: Path) -> None:
    for place in ("/proc/self/root", "/proc/1/root", "/proc/self/root/root"):
        more = {"TMPDIR": place, "BAREBOAT_WITHOUT": "proc"}
        harmless(srun("-w", "n1", f"--container={hostile}", "sh", "-c", TRY, **more).stdout.splitlines())
    more = {"TMPDIR": "/proc/self/exe", "BAREBOAT_WITHOUT": "proc"}
    said = refused(srun(f"--container={hostile}", "true", **more))
    assert said == ["cannot bind /proc/self/exe: Invalid argument"]


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/proc/self/root/tmp", "/tmp"),
        ("/proc/self/cwd", "/"),
        ("/proc/self/fd", "/proc/"),
        ("/dev/fd", "/proc/"),
    ],
)
def test_a_magic_link_as_working_directory(srun: Srun, hostile: Path, place: str, shown: str) -> None:
    lines = good(srun(f"--chdir={place}", f"--container={hostile}", "sh", "-c", f"{TRY}; pwd"))
    harmless(lines[:-1])
    assert lines[-1].startswith(shown)


ELOOP = "Too many levels of symbolic links"
MOUNTS = {
    "/proc/1/root:/mnt": "error: cannot mount /proc/1/root: it does not exist, or you cannot reach it",
    "/proc/self/exe:/mnt": "cannot bind /proc/self/exe: Invalid argument",
    "/proc/self/fd/0:/mnt": "cannot bind /proc/self/fd/0: Invalid argument",
    "/etc/hostname:/proc/self/root": f"cannot find the mount point /proc/self/root: {ELOOP}",
    "/etc/hostname:/proc/self/exe": f"cannot find the mount point /proc/self/exe: {ELOOP}",
    "/etc/hostname:/proc/self/fd/0": f"cannot find the mount point /proc/self/fd/0: {ELOOP}",
    "/etc/hostname:/dev/fd/0": f"cannot find the mount point /dev/fd/0: {ELOOP}",
    "/etc:/proc/1/root/x": "cannot find the mount point /proc/1/root/x: Permission denied",
}


@pytest.mark.parametrize("mounts", MOUNTS)
def test_mounts_by_magic_links_are_refused(srun: Srun, hostile: Path, mounts: str) -> None:
    said = refused(srun(f"--container={hostile}", "true", BAREBOAT_MOUNTS=mounts))
    assert said[0] == MOUNTS[mounts]


@pytest.mark.parametrize("source", ["/", "/proc/self/root", "/proc/self/root/root"])
def test_a_mount_of_the_whole_host_opens_nothing(srun: Srun, hostile: Path, source: str) -> None:
    script = "attack open /host/etc/shadow /host/etc/gshadow; attack write /host/usr/bin/env"
    lines = good(srun(f"--container={hostile}", "sh", "-c", script, BAREBOAT_MOUNTS=f"{source}:/host"))
    assert len(lines) == 3
    assert not [line for line in lines if line.endswith(": done")]
    if source == "/":
        # It is the host, and nothing of the container that was being put together on top of it.
        assert lines[2] == "write /host/usr/bin/env: Permission denied"
