"""Start the daemons of a testbed: munged, slurmctld, and a slurmd in each node."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed.processes import MARK

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
    "sinfo": "slurm-client",
}


def find_program(name: str) -> str:
    """The full path of a daemon or command.

    Raises:
        SlurmError: if it is not installed, with Debian's package in the hint.
    """
    found = shutil.which(name, path=PATH)
    if found is None:
        raise SlurmError(
            f"{name} is not installed on this machine", hint=f"apt-get install {_PROGRAMS.get(name, name)}"
        )
    return found


def find_user(name: str) -> pwd.struct_passwd:
    """The account of a daemon.

    Raises:
        SlurmError: if the machine has none of that name.
    """
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise SlurmError(
            f"there is no user {name} on this machine", hint="apt-get install munge slurmctld"
        ) from None


def require() -> None:
    """Check what a testbed needs before anything is made.

    Raises:
        SlurmError: if not run by root, or if a program or an account is missing.
    """
    if os.geteuid() != 0:
        raise SlurmError(
            f"a testbed is made by root, not by user {os.geteuid()}: it needs networks and mounts of its own",
            hint="use sudo; the testbed, once up, is for everybody (bareboat testbed env)",
        )
    for program in _PROGRAMS:
        find_program(program)
    find_user("munge")


def spawn(
    argv: Sequence[str], directory: Path, log: Path, *, user: str | None = None, piped: bool = False
) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own, marked as the testbed's, its output appended to ``log``.

    Its environment is ours, not the caller's: a stray LD_LIBRARY_PATH or SLURM_CONF must not reach jobs.
    """
    environment = {"PATH": PATH, "LANG": "C.UTF-8", MARK: str(directory)}
    account = find_user(user) if user else None
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            env=environment,
            cwd="/",
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )


def start_munged(directory: Path) -> subprocess.Popen[bytes]:
    """Start munged (munged(8)) as user munge, with a key and a socket of its own, and wait for the socket."""
    account = find_user("munge")
    place = directory / "munge"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    os.chown(place, account.pw_uid, account.pw_gid)
    key = place / "munge.key"
    key.touch(mode=0o400)
    key.write_bytes(os.urandom(128))
    os.chown(key, account.pw_uid, account.pw_gid)
    argv = [
        find_program("munged"),
        "--foreground",
        f"--key-file={key}",
        f"--socket={place}/munge.socket",
        f"--pid-file={place}/munged.pid",
        f"--seed-file={place}/munged.seed",
        f"--log-file={place}/munged.log",
    ]
    process = spawn(argv, directory, directory / "log/munged.log", user="munge")
    wait_for("munged", process, lambda: _accepts(str(place / "munge.socket")))
    return process


def start_slurmctld(directory: Path, address: tuple[str, int], user: str) -> subprocess.Popen[bytes]:
    """Start slurmctld (slurmctld(8)) and wait until it takes connections at ``address``."""
    place = directory / "slurmctld"
    place.mkdir(mode=0o700)
    account = find_user(user)
    os.chown(place, account.pw_uid, account.pw_gid)
    log = directory / "log/slurmctld.log"
    log.touch(mode=0o644)
    os.chown(log, account.pw_uid, account.pw_gid)
    argv = [find_program("slurmctld"), "-D", "-f", f"{directory}/slurm.conf"]
    process = spawn(argv, directory, directory / "log/slurmctld.out")
    wait_for("slurmctld", process, lambda: _accepts(address))
    return process


def slurmd_command(directory: Path, name: str) -> list[str]:
    """The command of a node's slurmd (slurmd(8))."""
    return [find_program("slurmd"), "-D", "-N", name, "-f", f"{directory}/slurm.conf"]


def start_node(directory: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a node up to its network namespace; ``release_node`` lets it go on to slurmd."""
    place = directory / "nodes" / name
    spool = place / "spool"
    spool.mkdir(parents=True)
    spool.chmod(0o755)
    spec = place / "node.json"
    content = {
        "name": name,
        "pin": str(place / "net"),
        "spool": str(spool),
        "spool_target": str(directory / "spool"),
        "hosts": str(directory / "hosts"),
        "log": str(directory / f"log/slurmd.{name}.out"),
        "argv": slurmd_command(directory, name),
    }
    spec.write_text(json.dumps(content))
    boot = Path(__file__).with_name("boot.py")
    python = [sys.executable, "-I", str(boot), str(spec)]
    return spawn(python, directory, directory / f"log/slurmd.{name}.out", piped=True)


def spawn_slurmd(directory: Path, name: str, namespaces: Mapping[str, int]) -> subprocess.Popen[bytes]:
    """Start a slurmd in a node's namespaces, which are descriptors by the names of nsenter(1).

    They have to stay open until slurmd runs.
    """
    options = [f"--{kind}=/proc/{os.getpid()}/fd/{descriptor}" for kind, descriptor in namespaces.items()]
    argv = [find_program("nsenter"), *options, "--", *slurmd_command(directory, name)]
    return spawn(argv, directory, directory / f"log/slurmd.{name}.out")


def wait_pinned(name: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a node has its network namespace.

    Raises:
        SlurmError: if it ended before.
    """
    assert process.stdout is not None
    with process.stdout as output:
        if output.readline() != b"pinned\n":
            process.wait()
            raise SlurmError(f"node {name} ended before it had a network (exit code {process.returncode})")


def release_node(name: str, process: subprocess.Popen[bytes]) -> None:
    """Let a node whose cable is laid become slurmd.

    Raises:
        SlurmError: if it ended before.
    """
    assert process.stdin is not None
    try:
        with process.stdin as commands:
            commands.write(b"go\n")
    except BrokenPipeError:
        raise SlurmError(f"node {name} ended before it became slurmd") from None


def wait_for(
    name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool], limit: float = 15.0
) -> None:
    """Wait until a daemon is ready, at most ``limit`` seconds.

    Raises:
        SlurmError: if it ends first, or is not ready in time.
    """
    deadline = time.monotonic() + limit
    while not ready():
        if process.poll() is not None:
            raise SlurmError(f"{name} ended at once with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise SlurmError(f"{name} was not ready after {limit:.0f} seconds")
        time.sleep(0.01)


def _accepts(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client, suppress(OSError):
        client.settimeout(1.0)
        client.connect(address)
        return True
    return False
