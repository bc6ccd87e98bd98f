"""System calls that fail once each: strace finds those of a command, and makes them fail one by one.

strace counts the calls of one name, so that "the third openat" is the same one in each run of a command that
does the same each time; that the right one was hit is read from the log.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LIMIT = 60
"""Seconds that a command gets before it counts as hanging."""

PLAUSIBLE: Mapping[str, int] = {
    "access": errno.EIO,
    "brk": errno.ENOMEM,
    "chdir": errno.EACCES,
    "dup": errno.EMFILE,
    "fchmod": errno.EIO,
    "fsconfig": errno.ENOMEM,
    "fsmount": errno.ENOMEM,
    "fsopen": errno.ENODEV,
    "mkdirat": errno.ENOSPC,
    "mmap": errno.ENOMEM,
    "mount_setattr": errno.EPERM,
    "move_mount": errno.EPERM,
    "open_tree": errno.ENOMEM,
    "openat": errno.EMFILE,
    "openat2": errno.EMFILE,
    "pivot_root": errno.EPERM,
    "prctl": errno.EPERM,
    "setns": errno.EPERM,
    "symlinkat": errno.ENOSPC,
    "unshare": errno.ENOSPC,
    "write": errno.ENOSPC,
    "writev": errno.ENOSPC,
}
"""What a call may well fail with; EIO for all others."""


_GIVEN = {
    **{"getrandom": 0, "read": 1, "readlink": 1, "getdents64": 1, "pread64": 1, "write": 1, "writev": 1},
    **{"fstat": 1, "lstat": 1, "stat": 1, "wait4": 0, "pipe2": 0, "clone": 0, "clone3": 0, "sendmsg": 1},
}
"""How many of a call's first arguments say what it is asked for, not where the answer goes; else two."""


@dataclass(frozen=True, slots=True)
class Call:
    """The ``number``th call (from 1) of ``name`` that a command makes, and its line in strace's log."""

    name: str
    number: int
    line: str

    def path(self) -> str:
        """Return the absolute path that it was given, "" where it has none, or one that says nothing."""
        found = re.search(r'"(/[^"]*)"', self.line)
        return "" if found is None or found[1].startswith("/proc/self/fd/") else found[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended with one call failing."""

    call: Call
    error: int
    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, as whom, and with what on its standard input."""

    argv: Sequence[str]
    user: pwd.struct_passwd
    input: bytes = b""
    environment: tuple[tuple[str, str], ...] = (("PATH", "/usr/bin:/bin"),)

    def run(self, *under: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*under, *self.argv],
            user=self.user.pw_uid,
            group=self.user.pw_gid,
            extra_groups=(),
            cwd="/",
            env=dict(self.environment),
            input=self.input,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )


def calls_of(command: Command, *, start: str) -> tuple[Call, ...]:
    """List the calls of a command that succeeds, from the first that names ``start`` to the next execve.

    What comes before is the loader's, what comes after another program's.
    """
    lines = _traced(command)[1]
    executes = [at for at, line in enumerate(lines) if line.startswith("execve(")]
    end = executes[1] + 1 if len(executes) > 1 else len(lines)
    begin = next(at for at, line in enumerate(lines) if at and f'"{start}"' in line)
    counts = Counter(execve=-1)  # strace does not count the one that started the command
    calls = []
    for at, line in enumerate(lines[:end]):
        name = line.partition("(")[0]
        counts[name] += 1
        if at >= begin and name != "exit_group":
            calls.append(Call(name, counts[name], line))
    return tuple(calls)


def inject(command: Command, call: Call, error: int, *, instead: str = "") -> Outcome:
    """Run the command with that call failing, or doing ``instead`` (strace(1)), and no other one."""
    name = errno.errorcode[error]
    # brk(2) tells a failure by the old break, which glibc takes any smaller address for.
    how = instead or ("retval=0" if call.name == "brk" else f"error={name}")
    done, lines = _traced(
        command, "-e", f"trace={call.name}", "-e", f"inject={call.name}:{how}:when={call.number}"
    )
    hit = [line for line in lines if line.endswith("(INJECTED)")]
    assert len(hit) == 1, (call, lines)
    assert _shape(hit[0]) == _shape(call.line), (call, hit)
    return Outcome(call, error, done.returncode, done.stdout, done.stderr.decode())


def inject_each(command: Command, calls: Iterable[Call]) -> list[Outcome]:
    """Run the command once for each call, two at a time: runs must not disturb each other."""

    def one(call: Call) -> Outcome:
        return inject(command, call, PLAUSIBLE.get(call.name, errno.EIO))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, calls))


def _shape(line: str) -> str:
    """The call and what it was given, without numbers, which differ between two runs of the same program."""
    name, _, rest = line.partition("(")
    given = ", ".join(rest.split(", ")[: _GIVEN.get(name, 2)])
    return name + re.sub(r"0x[0-9a-f]+|\d+|\).*", "", given)


def _traced(command: Command, *options: str) -> tuple[subprocess.CompletedProcess[bytes], list[str]]:
    with tempfile.TemporaryDirectory(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/tmp") as top:
        log = Path(top, "log")
        os.chown(top, command.user.pw_uid, command.user.pw_gid)
        done = command.run("strace", "-qq", "-s", "512", "-e", "signal=none", "-o", str(log), *options, "--")
        return done, log.read_text(errors="surrogateescape").splitlines()
