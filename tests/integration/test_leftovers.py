"""What is left behind is seen, and a user is gone with its block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.errors import SlurmError
from slurm.testbed import leftovers
from slurm.testbed.account import temporary_user

DAEMON = """
import os, time
if os.fork():
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
time.sleep(60)
"""
NOW = 0.0
"""Seconds that a test waits for something to vanish which it knows to stay."""


def test_nothing_new_is_nothing_left() -> None:
    assert leftovers.left_behind(leftovers.take(), settle=NOW) == ()


def test_a_mount_is_seen(tmp_path: Path) -> None:
    before = leftovers.take()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        (found,) = leftovers.left_behind(before, settle=NOW)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert found.startswith("mount ")
    assert found.endswith(f" of tmpfs on {tmp_path}")


def test_a_loop_device_is_seen(shared_path: Path) -> None:
    backing = shared_path / "disk"
    backing.write_bytes(bytes(1 << 20))
    before = leftovers.take()
    device = subprocess.run(
        ["losetup", "--find", "--show", str(backing)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        assert leftovers.left_behind(before, settle=NOW) == (f"loop device {Path(device).name} of {backing}",)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    assert leftovers.left_behind(before) == ()


def test_a_network_link_is_seen() -> None:
    before = leftovers.take()
    subprocess.run(["ip", "link", "add", "bbtest0", "type", "bridge"], check=True)
    try:
        assert leftovers.left_behind(before, settle=NOW) == ("network link bbtest0",)
    finally:
        subprocess.run(["ip", "link", "delete", "bbtest0"], check=True)


def test_a_temporary_file_is_seen(shared_path: Path) -> None:
    before = leftovers.take()
    left = shared_path.with_name(f"bareboat-{os.getpid()}")
    left.touch()
    try:
        assert leftovers.left_behind(before, settle=NOW) == (str(left),)
    finally:
        left.unlink()


def test_a_daemon_is_seen_and_a_zombie_is_not() -> None:
    before = leftovers.take()
    # Its parent ends at once: a daemon like slurmstepd, in a session of its own.
    process = subprocess.Popen([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    daemon = int(process.stdout.readline())
    process.stdout.close()
    process.wait()
    try:
        (found,) = leftovers.left_behind(before, settle=NOW)
        assert found.startswith(f"process {daemon} (python")
    finally:
        os.kill(daemon, signal.SIGKILL)
    # Ours by adoption, and not waited for: a zombie from now on.
    assert leftovers.left_behind(before) == ()
    assert os.waitpid(daemon, 0)[0] == daemon


def test_a_user_is_there_for_a_block_only() -> None:
    with temporary_user("bareboat-try") as account:
        home = Path(account.pw_dir)
        assert account.pw_name == f"bareboat-try-{os.getpid()}"
        assert account.pw_uid >= 1000
        assert home.parent == Path("/home")
        assert home.owner() == account.pw_name
    with pytest.raises(KeyError):
        pwd.getpwnam(account.pw_name)
    assert not home.exists()


def test_a_user_that_a_killed_process_left_is_removed() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    stale = f"bareboat-try-{process.pid}"
    subprocess.run(["useradd", "--create-home", "--base-dir", "/home", stale], check=True)
    with temporary_user("bareboat-try"), pytest.raises(KeyError):
        pwd.getpwnam(stale)
    assert not Path("/home", stale).exists()


def test_a_user_that_cannot_be_made_is_an_error_with_its_reason() -> None:
    with (
        pytest.raises(
            SlurmError, match=r"`useradd .*No-Such Name-\d+` ended with 3: useradd: invalid user name"
        ),
        temporary_user("No-Such Name"),
    ):
        pass


def test_another_living_process_owns_the_directories_that_name_it() -> None:
    """And the loop devices of files in them."""
    before = leftovers.take()
    theirs, ours = (Path(f"/var/tmp/bareboat-test-{pid}-store-abc") for pid in (os.getppid(), os.getpid()))
    devices = []
    try:
        for place in (theirs, ours):
            place.mkdir()
            disk = place / "disk"
            disk.write_bytes(bytes(1 << 20))
            command = ["losetup", "--find", "--show", str(disk)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            devices.append(done.stdout.strip())
        found = leftovers.left_behind(before, settle=NOW)
        assert found == (str(ours), f"loop device {Path(devices[1]).name} of {ours}/disk")
    finally:
        for device in devices:
            subprocess.run(["losetup", "--detach", device], check=True)
        shutil.rmtree(theirs)
        shutil.rmtree(ours)


def test_descendants_are_ended() -> None:
    """In a process of its own: this one has the testbeds of other tests below it."""
    program = """
import subprocess, sys
from slurm.testbed import leftovers
leftovers.adopt_orphans()
before = leftovers.take()
subprocess.run(["sh", "-c", "sleep 60 & sleep 60 &"], check=True)
def living():
    return sum(thing.startswith("process ") for thing in leftovers.left_behind(before, settle=0))
print(living())
leftovers.end_descendants()
print(living())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["2", "0"]
