"""What is made to fail by the tests of faults, and what has to be said of each call that does."""

from __future__ import annotations

import os
import pwd
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults import Call, Command, Outcome

from launcher.apply import find_enter
from launcher.launch import Options, prepare
from launcher.program import Operation, Verb, encode

NEVER_FAIL = {"getegid", "geteuid", "getpid"}
"""By their man pages."""

HARMLESS = {
    "brk": "malloc(3) takes mmap(2) then",
    "close": "all descriptors are O_CLOEXEC; the container is the same",
    "fcntl": "musl sets O_CLOEXEC once more, after open(2)",
    "getrandom": "malloc(3) takes the clock for its seed then",
    "munmap": "memory that is gone with execve(2)",
}
"""Calls whose failure changes nothing, and why."""

OPERATIONS = {
    "access": "run",
    "chdir": "enter",
    "dup": "open the image|(make|find) the mount point",
    "execve": "run",
    "fchdir": "enter",
    "fchmod": "generate the file",
    "fchmodat": "make",
    "fsconfig": "mount a tmpfs for|set tmpfs options|set the options of an overlay|lay an overlay",
    "fsmount": "mount a tmpfs for|lay an overlay over",
    "fsopen": "mount an? (tmpfs for|overlay over)",
    "getdents64": "look into the image for",
    "mkdirat": "(make|find) the mount point",
    "mmap": "change the (variable|environment)|list|read",
    "mount_setattr": "bind|open the image",
    "move_mount": "mount on",
    "newfstatat": "bind|examine|open the namespace|find|make|mount on|open the image|run",
    "open_tree": "bind|open the image|generate the file",
    "openat": "generate the file|(make|find) the mount point|open|read|write the user map of",
    "openat2": "(make|find) the mount point|look into the image for",
    "pivot_root": "pivot to the new root",
    "prctl": "set no_new_privs",
    "read": "read|ask for a map of the groups",
    "readlink": "(make|find) the mount point",
    "readlinkat": "find the mount point",
    "setns": "join the (user|mount) namespace",
    "symlinkat": "make the link",
    "umount2": "unmount the old root",
    "unshare": "create a user namespace",
    "write": "generate the file|write the user map of|ask for a map of the groups",
}
"""What the message says of each call that can fail; the test sees one that is missing here."""

ALIASES = {"fstat": "newfstatat", "lstat": "newfstatat", "open": "openat", "stat": "newfstatat"}
"""The same calls, as another C library makes them."""

WITHOUT_PATH = (
    r"ask for a map of the groups|change the (environment|variable \w+)|create a user namespace"
    r"|set no_new_privs|.* the (new|old) root|list the host's mounts|join the (user|mount) namespace"
)

ENTERED = struct.Struct("i i64s1024s i4xQQQQ")
"""struct bb_entered of core/join.h, as a holder writes it."""


def find_hold() -> str:
    """Name what the plugin executes: bareboat-enter, where there is one with another C library."""
    return str(Path(find_enter()).with_name("bareboat-hold"))


@dataclass(frozen=True, slots=True)
class Scene:
    """A program of every kind of operation, a file system that its bind-fstypes finds, and who runs it."""

    program: Path
    network: Path
    user: pwd.struct_passwd

    def run(self) -> Command:
        look = ("mountinfo", "environ", "status")
        argv = [find_enter(), str(self.program), "--", "/bin/cat", *(f"/proc/self/{name}" for name in look)]
        return Command([*argv, "/run/link", "/etc/passwd", "here"], self.user)

    def hold(self) -> Command:
        argv = [find_hold(), "--hold", str(self.program), "asked", "-1", f"cwd={self.program.parent}"]
        return Command(argv, self.user, input=b"n")


@contextmanager
def make_scene(top: Path, user: pwd.struct_passwd, image: Path) -> Iterator[Scene]:
    """Write the program below ``top``: a real plan for the image, and what that has not."""
    host, network = top / "host", top / "network"
    host.mkdir()
    network.mkdir()
    (host / "here").write_text("where the step is\n")
    options = Options(mounts=(f"{host}:/missing/deep/dir",), without=("tmp", "home"))
    plan = prepare(
        str(image),
        ["/opt/bareboat-tests/bin/mpi_hello"],
        environment={"PATH": os.environ["PATH"], "HOME": "/root"},
        cwd="/",
        options=options,
    )
    real = [operation for operation in plan.operations if operation.verb not in {Verb.CWD, Verb.BIND_FSTYPES}]
    more = (
        Operation(Verb.BIND_FSTYPES, ("ramfs", "rw")),
        Operation(Verb.BIND, (str(host), "/mnt", "ro,unless-shown")),
        Operation(Verb.BIND, ("%{cwd}", "%{cwd}", "rw")),
        Operation(Verb.FILE, ("/run/gen/file", "0644", "generated\n")),
        Operation(Verb.SYMLINK, ("/run/link", "gen/file")),
        Operation(Verb.ENV_DEFAULT, ("D", "e")),
        Operation(Verb.ENV_APPEND, ("PATH", "/opt/x")),
        Operation(Verb.CWD, ("/missing/deep/dir",)),
    )
    program = top / "program"
    program.write_bytes(encode([*real, *more]))
    subprocess.run(["mount", "-t", "ramfs", "none", str(network)], check=True)
    try:
        yield Scene(program, network, user)
    finally:
        subprocess.run(["umount", str(network)], check=True)


def view(out: bytes) -> list[str]:
    """What the application sees, without the numbers that differ from run to run."""
    lines = re.split(r"[\n\0]", out.decode())
    fixed = (re.sub(r"^\d+ \d+ \d+:\d+ |/fd/\d+", "", line) for line in lines)
    return [line for line in fixed if not re.match(r"\w+:\t", line) or re.match(r"NoNewPrivs|[UG]id", line)]


def assert_told(outcome: Outcome, text: str) -> None:
    """The text names what was asked, the path where there is one, and the errno."""
    told = re.fullmatch(
        rf"cannot ([^/]+?)(?: (/.*?))?: {re.escape(os.strerror(outcome.error))}(; [^\n]*)?", text
    )
    assert told, outcome
    assert re.match(OPERATIONS[ALIASES.get(outcome.call.name, outcome.call.name)], told[1]), outcome
    if told[2] is None:
        assert re.fullmatch(WITHOUT_PATH, told[1]), outcome
    else:
        assert told[2].startswith(outcome.call.path()), outcome


def can_fail(calls: tuple[Call, ...]) -> list[Call]:
    return [call for call in calls if call.name not in NEVER_FAIL]


def heard(out: bytes) -> list[tuple[int, str]]:
    """What a holder told: 0 and nothing for "entered", 1 and an error's text, 2 for a question."""
    told = []
    for kind, error, operation, path, *_namespaces in ENTERED.iter_unpack(out):
        words = [part.partition(b"\0")[0].decode() for part in (operation, path)]
        told.append((kind, f"cannot {' '.join(filter(None, words))}: {os.strerror(error)}" if error else ""))
    return told
