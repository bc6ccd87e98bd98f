"""Tries what a launch needs of the kernel, in a child that ends at once.  For ``bareboat doctor``."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# <linux/sched.h>, <sys/mount.h>, <linux/prctl.h>
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_PR_SET_DUMPABLE = 4
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Failure:
    """The system call that failed in the child: ``step`` says which, ``errnum`` why."""

    step: str
    errnum: int

    @property
    def reason(self) -> str:
        """What perror(3) would print."""
        return os.strerror(self.errnum)


def try_mount() -> Failure | None:
    """Make a user and a mount namespace and mount in them; return what failed."""
    return _in_child(_mount_scratch)


def try_overlay() -> Failure | None:
    """Mount an overlay in a user namespace (Linux 5.11), as for a root that lacks mount points."""
    return _in_child(_mount_overlay)


def _in_child(action: Callable[[ctypes.CDLL], None]) -> Failure | None:
    """Run ``action`` in a forked child, root's as nobody: root may do what users may not."""
    library = ctypes.CDLL(None, use_errno=True)
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        report = b""
        try:
            os.close(read)
            _become_user(library)
            action(library)
        except OSError as error:
            report = f"{error.errno or 0} {error.filename or ''}".encode()
        except BaseException:
            report = b"0 run the trial"
        finally:
            os.write(write, report)
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        report = pipe.read()
    os.waitpid(child, 0)
    if not report:
        return None
    number, _, step = report.decode("utf-8", "replace").partition(" ")
    return Failure(step, int(number))


def _become_user(library: ctypes.CDLL) -> None:
    if os.getuid() != 0:
        return
    # Root of a user namespace cannot become who is not mapped there; it is a user already.
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    # A process that changed its user is not dumpable, and then its uid_map is root's (proc_pid_uid_map(5)).
    library.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def _mount_scratch(library: ctypes.CDLL) -> None:
    uid, gid = os.getuid(), os.getgid()
    _call(library.unshare(_CLONE_NEWUSER), "make a user namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text, encoding="ascii")
        except OSError as error:
            raise OSError(error.errno, "", f"write /proc/self/{name}") from error
    _call(library.unshare(_CLONE_NEWNS), "make a mount namespace in the user namespace")
    _call(library.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "change mounts in the user namespace")
    _call(library.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None), "mount a tmpfs in the user namespace")


def _mount_overlay(library: ctypes.CDLL) -> None:
    _mount_scratch(library)
    top = Path("/tmp")
    for name in ("lower", "upper", "work", "merged"):
        (top / name).mkdir()
    options = b"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr"
    _call(
        library.mount(b"overlay", b"/tmp/merged", b"overlay", 0, options),
        "mount an overlay in the user namespace",
    )


def _call(result: int, step: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno() or errno.EIO, "", step)
