"""Every system call of the core fails once: the message names call, path and errno, or nothing is different.

The calls are found by tracing, so that a change of the core changes what is tested with it.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import Call, Command, Outcome, calls_of, inject, inject_each

from launcher.apply import find_enter
from launcher.launch import Options, prepare
from launcher.program import Operation, Verb, encode
from slurm.testbed import leftovers

NEVER_FAIL = {"getegid", "geteuid", "getpid"}
"""By their man pages."""

HARMLESS = {
    "brk": "malloc(3) takes mmap(2) then",
    "close": "all descriptors are O_CLOEXEC; the container is the same",
    "getrandom": "malloc(3) takes the clock for its seed then",
    "munmap": "memory that is gone with execve(2)",
}
"""Calls whose failure changes nothing, and why."""

OPERATIONS = {
    "access": "run",
    "chdir": "enter",
    "dup": "(make|find) the mount point",
    "execve": "run",
    "fchdir": "enter",
    "fchmod": "generate the file",
    "fchmodat": "make",
    "fsconfig": "mount a tmpfs for|set tmpfs options|set the options of an overlay|lay an overlay",
    "fsmount": "mount a tmpfs for|lay an overlay over",
    "fsopen": "mount an? (tmpfs for|overlay over)",
    "getdents64": "look into the image for",
    "mkdirat": "(make|find) the mount point",
    "mmap": "change the variable|list|read",
    "mount_setattr": "bind|open the image",
    "move_mount": "mount on",
    "newfstatat": "bind|examine|find|make|mount on|open the image|run",
    "open_tree": "bind|open the image|generate the file",
    "openat": "generate the file|(make|find) the mount point|open|read|write the user map of",
    "openat2": "(make|find) the mount point|look into the image for|open the image",
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

WITHOUT_PATH = (
    r"ask for a map of the groups|change the variable \w+|create a user namespace|set no_new_privs"
    r"|.* the (new|old) root|list the host's mounts|join the (user|mount) namespace"
)

ENTERED = struct.Struct("i i64s1024s i4xQQQQ")
"""struct bb_entered of core/join.h, as a holder writes it."""

MAKES = {"getdents64", "mkdirat", "move_mount", "pivot_root", "prctl", "readlinkat", "symlinkat", "unshare"}
"""Some of what the program must make the core call, so that the test cannot become one of nothing."""


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
        argv = [find_enter(), "--hold", str(self.program), "asked", f"cwd={self.program.parent}"]
        return Command(argv, self.user, input=b"n")


@pytest.fixture
def scene(shared_path: Path, user: pwd.struct_passwd, image: Callable[[str], Path]) -> Iterator[Scene]:
    host, network = shared_path / "host", shared_path / "network"
    host.mkdir()
    network.mkdir()
    (host / "here").write_text("where the step is\n")
    options = Options(mounts=(f"{host}:/missing/deep/dir",), without=("tmp", "home"))
    plan = prepare(
        str(image("deb13-mpich")),
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
    program = shared_path / "program"
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
    assert re.match(OPERATIONS[outcome.call.name], told[1]), outcome
    if told[2] is None:
        assert re.fullmatch(WITHOUT_PATH, told[1]), outcome
    else:
        assert told[2].startswith(outcome.call.path()), outcome


def can_fail(calls: tuple[Call, ...]) -> list[Call]:
    return [call for call in calls if call.name not in NEVER_FAIL]


def test_each_call_that_makes_a_container_fails_once(scene: Scene) -> None:
    before = leftovers.take()
    whole = view(scene.run().run().stdout)
    assert {"generated", "where the step is", "NoNewPrivs:\t1", "D=e"} <= set(whole)
    without_network = [line for line in whole if str(scene.network) not in line]
    assert len(without_network) == len(whole) - 1
    calls = can_fail(calls_of(scene.run(), start=str(scene.program)))
    assert {call.name for call in calls} >= MAKES
    passed_over = 0
    for outcome in inject_each(scene.run(), calls):
        if outcome.call.name in HARMLESS:
            assert (outcome.code, outcome.err, view(outcome.out)) == (0, "", whole), outcome
        elif outcome.code == 0:
            # The copy of the network file system's mount: passed over, as if its server were gone.
            assert (outcome.call.name, outcome.err) == ("mount_setattr", ""), outcome
            assert view(outcome.out) == without_network, outcome
            passed_over += 1
        else:
            text = outcome.err.removeprefix("bareboat: ").removesuffix("\n")
            assert_told(outcome, text)
            assert outcome.out == b"", outcome
            assert outcome.code == (126 if text.startswith("cannot run ") else 125), outcome
    assert passed_over == 1
    assert leftovers.left_behind(before) == ()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_network_file_system_that_is_gone_is_passed_over(scene: Scene, error: int) -> None:
    calls = calls_of(scene.run(), start=str(scene.program))
    (clone,) = [call for call in calls if call.name == "open_tree" and call.path() == str(scene.network)]
    outcome = inject(scene.run(), clone, error)
    whole = view(scene.run().run().stdout)
    assert (outcome.code, outcome.err) == (0, "")
    assert view(outcome.out) == [line for line in whole if str(scene.network) not in line]


def test_an_image_that_cannot_be_looked_into_hides_nothing(scene: Scene) -> None:
    """What a mount would hide is asked of the image first; no answer is not "nothing"."""
    calls = calls_of(scene.run(), start=str(scene.program))
    listing = next(call for call in calls if call.name == "getdents64")
    outcome = inject(scene.run(), listing, errno.ESTALE)
    assert outcome.code == 125
    assert outcome.err == "bareboat: cannot look into the image for /mnt: Stale file handle\n"


def heard(out: bytes) -> list[tuple[int, str]]:
    """What a holder told: 0 and nothing for "entered", 1 and an error's text, 2 for a question."""
    told = []
    for kind, error, operation, path, *_namespaces in ENTERED.iter_unpack(out):
        words = [part.partition(b"\0")[0].decode() for part in (operation, path)]
        told.append((kind, f"cannot {' '.join(filter(None, words))}: {os.strerror(error)}" if error else ""))
    return told


def test_each_call_of_a_holder_fails_once(scene: Scene) -> None:
    """Under Slurm, the container is made by a holder, which tells its end of a pipe how it went."""
    before = leftovers.take()
    assert heard(scene.hold().run().stdout) == [(2, ""), (0, "")]
    calls = can_fail(calls_of(scene.hold(), start="/proc/self/ns"))
    questions = [call for call in calls if call.line.startswith("write(1, ")]
    answers = [call for call in calls if call.line.startswith("read(0, ")]
    assert (len(questions), len(answers)) == (2, 2)
    for outcome in inject_each(scene.hold(), calls):
        last = heard(outcome.out)[-1]
        if outcome.call == questions[1]:
            # It cannot tell that it cannot tell; that it is gone, who listens sees.
            assert (outcome.code, last) == (125, (2, "")), outcome
        elif outcome.call.name in HARMLESS or outcome.call == answers[1]:
            # Without its leash, a holder ends; who has not joined by then says that it is gone.
            assert (outcome.code, last) == (0, (0, "")), outcome
        elif outcome.code == 0:
            assert (outcome.call.name, last) == ("mount_setattr", (0, "")), outcome
        else:
            assert (outcome.code, last[0]) == (125, 1), outcome
            assert_told(outcome, last[1])
        assert outcome.err == ""
    assert leftovers.left_behind(before) == ()
