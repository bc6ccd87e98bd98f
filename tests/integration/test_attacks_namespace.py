"""The user enters the namespaces of a container of theirs, with all capabilities in them, and rearranges it.

That is allowed: they are the user's.  What they get by it must be nothing that they did not have outside.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attacking import Box, Operation

EPERM = "Operation not permitted"


@pytest.fixture
def box(shared_path: Path, attack: Path, user: pwd.struct_passwd) -> Box:
    return Box(shared_path, attack, user)


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[Path]:
    """An empty tmpfs of the host's, which the test fills before it gets its options."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


class Container:
    """A running container; ``within`` does something in its namespaces, ``go`` its own program."""

    def __init__(self, box: Box, operations: list[Operation], *argv: object) -> None:
        self.box = box
        self.process = box.start(operations, *argv)

    def within(self, *argv: object) -> str:
        done = self.box.outside(self.box.attack, "within", self.process.pid, *argv)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.rstrip("\n")

    def go(self) -> str:
        output, _ = self.process.communicate("\n", timeout=60)
        return output.rstrip("\n")

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.communicate()


def make_null(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    path.chmod(0o666)


def test_what_the_host_forbids_on_a_mount_stays_forbidden(box: Box) -> None:
    locked = box.top / "locked"
    locked.mkdir()
    with mounted(locked):
        make_null(locked / "null")
        shutil.copytree(box.image, locked / "image", symlinks=True)
        make_null(locked / "image/null")
        for name in ("proc", "data"):  # without an overlay, which is a file system of the namespace's own
            (locked / "image" / name).mkdir()
        assert box.outside(box.attack, "open", locked / "null").stdout == f"open {locked}/null: done\n"
        subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", locked], check=True)
        box.image = locked / "image"
        with Container(
            box, [("bind", locked, "/data", "rw")], "/attack", "open", "/null", "/data/null"
        ) as it:
            for flag in ("ro", "nosuid", "nodev"):
                for path in ("/", "/data"):
                    assert it.within("clear", flag, path) == f"clear {flag} {path}: {EPERM}"
            assert it.go() == "open /null: Permission denied\nopen /data/null: Permission denied"


@pytest.mark.parametrize("overlay", [False, True])
def test_what_only_bareboat_forbids_gives_no_more_than_outside(box: Box, overlay: bool) -> None:
    """Where the host forbids nothing, the user may undo bareboat's own nosuid, nodev and ro."""
    for name in ("proc", "etc"):
        (box.image / name).mkdir()
    if not overlay:
        (box.image / "etc/shadow").touch()
    for name in ("setuid", "capable"):
        shutil.copy(box.attack, box.image / name)
    (box.image / "setuid").chmod(0o4755)
    subprocess.run(["setcap", "cap_dac_override+ep", box.image / "capable"], check=True)
    make_null(box.image / "null")
    (box.image / "roots").write_text("root's\n")
    os.mknod(box.image / "closed", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    uid, gid = box.user.pw_uid, box.user.pw_gid
    script = (
        "/setuid ids; /capable ids; /capable open /etc/shadow; "
        "/attack open /null /closed; /attack write /roots"
    )
    binds: list[Operation] = [("bind", "/etc/shadow", "/etc/shadow", "rw")]
    with Container(box, binds, "/bin/sh", "-c", script) as it:
        for flag in ("nosuid", "nodev", "ro"):
            assert it.within("clear", flag, "/") == f"clear {flag} /: done"
        lines = it.go().splitlines()
    assert lines[0].startswith(f"uid {uid} {uid} gid {gid} {gid} ")
    assert lines[1].startswith(f"uid {uid} {uid} gid {gid} {gid} ")
    assert lines[2] == "open /etc/shadow: Permission denied"
    assert lines[4:] == ["open /closed: Permission denied", "write /roots: Permission denied"]
    # Everybody may open this one, where the host allows device nodes; in an overlay of a user's, nobody may.
    assert box.outside(box.attack, "open", box.image / "null").stdout.endswith(": done\n")
    assert lines[3] == f"open /null: {'Permission denied' if overlay else 'done'}"
    assert (box.image / "roots").read_text() == "root's\n"


def test_what_the_host_has_mounted_over_stays_hidden(box: Box) -> None:
    data = box.top / "data"
    (data / "cover").mkdir(parents=True)
    (data / "cover/hidden").write_text("hidden\n")
    with mounted(data / "cover"), Container(box, [("bind", data, "/data", "rw")], "/bin/true") as it:
        assert it.within("umount", "/data/cover") == "umount /data/cover: Invalid argument"
        assert it.within("uncover", "/data") == "uncover /data: Invalid argument"
        assert it.within("open", "/data/cover/hidden") == "open /data/cover/hidden: No such file or directory"
        # What bareboat mounted itself, its owner may unmount, and then sees the image.
        assert it.within("umount", "/proc") == "umount /proc: done"
        assert it.within("open", "/proc/self") == "open /proc/self: No such file or directory"


def test_below_the_root_is_nothing_of_the_host(box: Box) -> None:
    mark = box.top / "mark"
    mark.write_text("the host's\n")
    with Container(box, [("bind", "/etc/hostname", "/made", "ro")], "/bin/true") as it:
        for path in (str(mark), f"/..{mark}", f"/proc/{it.process.pid}/root{mark}"):
            assert it.within("open", path) == f"open {path}: No such file or directory"
        for _ in range(3):
            assert it.within("umount", "/") in {
                "umount /: Invalid argument",
                "umount /: Device or resource busy",
            }
            assert it.within("open", f"/..{mark}") == f"open /..{mark}: No such file or directory"
        # Nothing of the host's tree is mounted but what was asked for.
        points = [
            line.split()[4] for line in Path(f"/proc/{it.process.pid}/mountinfo").read_text().splitlines()
        ]
    assert {point for point in points if not point.startswith("/proc")} == {"/", "/made"}


def test_files_of_others_stay_closed_with_all_capabilities(box: Box) -> None:
    theirs = box.top / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("theirs\n")
    (theirs / "file").chmod(0o600)
    with Container(box, [("bind", theirs, "/theirs", "rw")], "/bin/true") as it:
        said = it.within("ids")
        assert f"CapEff {'0' * 16}" not in said
        assert it.within("open", "/theirs/file") == "open /theirs/file: Permission denied"
        assert it.within("write", "/theirs/file") == "write /theirs/file: Permission denied"


def test_another_users_container_is_closed(box: Box) -> None:
    with Container(box, [], "/bin/true") as it:
        # As nobody, who is somebody else.
        for argv in (["within", it.process.pid, "ids"], ["trace", it.process.pid]):
            done = subprocess.run(
                [box.attack, *map(str, argv)],
                user=65534,
                group=65534,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout.rpartition(": ")[2] in {"Permission denied\n", "Operation not permitted\n"}


@pytest.mark.parametrize("target", ["/", "/data"])
def test_mounts_of_a_container_do_not_reach_the_host(box: Box, target: str) -> None:
    """Not even where the host shares its mounts: the namespace is a slave."""
    data = box.top / "data"
    data.mkdir()
    with mounted(data):
        subprocess.run(["mount", "--make-shared", data], check=True)
        before = Path("/proc/self/mountinfo").read_text()
        with Container(box, [("bind", data, "/data", "rw"), ("tmpfs", "/data", "")], "/bin/true"):
            assert Path("/proc/self/mountinfo").read_text() == before
