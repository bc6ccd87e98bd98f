"""What root does with an image of a store, each system call failing once: a reason, and nothing is left.

tests/c/drive_store.c does it without Slurm; that a step then runs by FUSE and says the reason is shown by
tests/slurm/test_attacks_store.py.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import PLAUSIBLE, Command, calls_of, inject

TOP = Path(__file__).parents[2]
ROOT = pwd.getpwuid(0)

NEVER_FAIL = {"brk", "getrandom", "close", "mmap", "munmap", "getpid"}
CHILDS = {"unshare": 2, "mount_setattr": 1, "move_mount": 1, "open_tree": 1, "dup3": 1}
"""What only the child that locks the flags calls, and how often."""

MESSAGE = re.compile(r"cannot (open|trust|read|get|mount the squashfs image|lock the flags of|fork)\b.*: .+")


@pytest.fixture(scope="session")
def driver() -> str:
    path = TOP / "build/c/drive_store"
    subprocess.run(
        ["make", "-s", "-C", str(TOP / "tests/c"), "../../build/c/drive_store"], check=True, timeout=120
    )
    return str(path)


@pytest.fixture
def image() -> Iterator[Path]:
    store = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/lib"))
    store.chmod(0o755)
    (store / "content").mkdir()
    path = store / "image.sqsh"
    subprocess.run(["mksquashfs", store / "content", path, "-quiet", "-no-progress"], check=True)
    path.chmod(0o644)
    yield path
    shutil.rmtree(store)


def loops(image: Path) -> list[str]:
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().startswith(str(image)):
                found.append(path.parts[3])
        except OSError:
            continue
    return found


def assert_nothing_is_left(image: Path) -> None:
    """The kernel gives a loop device back a moment after its last user."""
    deadline = time.monotonic() + 60
    while loops(image):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert str(image) not in Path("/proc/self/mountinfo").read_text()


def test_each_call_of_root_fails_once(driver: str, image: Path) -> None:
    command = Command([driver, str(image), f"store={image.parent}"], ROOT)
    assert command.run().stdout == b"mounted\n"
    calls = [
        call
        for call in calls_of(command, start="/")
        if call.name not in NEVER_FAIL
        and not call.line.startswith(("write(1", "wait4(-1", "newfstatat(1,", "lseek(1", "fcntl("))
    ]
    assert {"openat2", "ioctl", "fsopen", "fsconfig", "fsmount", "clone3", "wait4"} <= {
        call.name for call in calls
    }
    for call in calls:  # one after the other: two at a time take loop devices from each other
        outcome = inject(command, call, PLAUSIBLE.get(call.name, errno.EIO))
        said, *open_still = outcome.out.decode().splitlines()
        assert (outcome.code, outcome.err) == (0, ""), outcome
        assert MESSAGE.fullmatch(said), outcome
        # A child that is not waited for goes on with the descriptors; in truth there is none then.
        assert not open_still or call.name == "wait4", outcome
    assert_nothing_is_left(image)


@pytest.mark.parametrize("name", CHILDS)
def test_each_call_of_the_child_that_locks_the_flags_fails_once(driver: str, image: Path, name: str) -> None:
    for number in range(1, CHILDS[name] + 1):
        error = "ENOSPC" if name == "unshare" else "ENOMEM"
        argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}"]
        argv += ["-e", f"inject={name}:error={error}:when={number}", driver, str(image)]
        done = subprocess.run(
            [*argv, f"store={image.parent}"], capture_output=True, text=True, timeout=60, check=True
        )
        reason = os.strerror(PLAUSIBLE["unshare"] if name == "unshare" else PLAUSIBLE["mmap"])
        assert done.stdout == f"cannot lock the flags of the image's mount: {reason}\n"
    assert_nothing_is_left(image)


def test_a_compression_that_the_kernel_lacks_is_its_reason(driver: str, image: Path) -> None:
    """LZMA, which mksquashfs writes, was never taken into it."""
    argv = ["mksquashfs", str(image.parent / "content"), str(image), "-comp", "lzma", "-noappend"]
    subprocess.run([*argv, "-quiet", "-no-progress"], check=True)
    assert Command([driver, str(image), f"store={image.parent}"], ROOT).run().stdout.decode() == (
        f"cannot mount the squashfs image {image} "
        '(the kernel says: Filesystem uses "lzma" compression. This is not supported): Invalid argument\n'
    )
    assert_nothing_is_left(image)


def test_a_busy_loop_device_is_not_the_last(driver: str, image: Path) -> None:
    """Somebody else may configure the free one first."""
    for many, expected in (
        ("1..10", "mounted\n"),
        ("1+", "cannot get a loop device: Device or resource busy\n"),
    ):
        argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=ioctl"]
        # Each try asks for a free one, and then configures it.
        argv += ["-e", f"inject=ioctl:error=EBUSY:when={'2..20+2' if many == '1..10' else '2+2'}", driver]
        done = subprocess.run(
            [*argv, str(image), f"store={image.parent}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == expected
    assert_nothing_is_left(image)
