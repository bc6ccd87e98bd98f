"""An unprivileged user for as long as it is needed."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slurm.errors import SlurmError

_LIMIT = 60.0


@contextmanager
def temporary_user(prefix: str) -> Iterator[pwd.struct_passwd]:
    """Make a user with a home below /home, and remove both in the end.

    The name is ``prefix``, a hyphen and this process's number, so that two that run side by side do not share
    one.  Users that a killed process has left are removed first.

    Raises SlurmError: not root, or useradd(8) or userdel(8) failed.
    """
    if os.geteuid() != 0:
        raise SlurmError("a user cannot be made: only root may", hint="run it as root")
    for stale in _stale(prefix):
        _remove(stale)
    name = f"{prefix}-{os.getpid()}"
    try:
        _run("useradd", "--create-home", "--base-dir", "/home", "--shell", "/bin/sh", name)
        yield pwd.getpwnam(name)
    finally:
        _remove(name)


def _stale(prefix: str) -> tuple[str, ...]:
    names = (entry.pw_name for entry in pwd.getpwall())
    return tuple(name for name in names if _is_stale(name, prefix))


def _is_stale(name: str, prefix: str) -> bool:
    head, _, number = name.rpartition("-")
    return head == prefix and number.isdigit() and not Path(f"/proc/{number}").exists()


def _remove(name: str) -> None:
    with suppress(KeyError):
        pwd.getpwnam(name)
        _run("userdel", "--remove", name)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT,
            check=False,
            start_new_session=True,  # Ctrl-C is ours to pass on, and not to come between
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as error:
        raise SlurmError(f"{command[0]} is not installed", hint="apt-get install passwd") from error
    if done.returncode != 0:
        raise SlurmError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
