"""What the tests of attacks without Slurm share: programs made by hand, run by bareboat-enter as a user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launching import Run

from launcher.host import find_libexec

Operation = tuple[str | bytes | Path, ...]


def encode(*operations: Operation) -> bytes:
    """The operations as a program, of whatever is in them."""
    records = [
        b"bareboat-program",
        b"1",
        *(os.fsencode(word) for words in operations for word in words),
        b"end",
    ]
    return b"".join(record + b"\0" for record in records)


class Box:
    """An image in ``top``, of root's, with the attacker's program in it; and the attacker."""

    def __init__(self, top: Path, attack: Path, user: pwd.struct_passwd) -> None:
        self.top, self.attack, self.user = top, attack, user
        self.image = top / "image"
        self.enter = top / "bareboat-enter"
        (self.image / "bin").mkdir(parents=True)
        shutil.copy(attack, self.image / "attack")
        shutil.copy("/bin/busybox", self.image / "bin/busybox")
        for name in ("sh", "cat", "ls", "touch", "true"):
            (self.image / "bin" / name).symlink_to("busybox")
        shutil.copy(Path(find_libexec(), "bareboat-enter"), self.enter)

    def outside(self, *argv: object) -> Run:
        """What the attacker gets without bareboat."""
        return self._run(list(map(str, argv)))

    def inside(self, operations: Sequence[Operation], *argv: object) -> Run:
        """The same in a container of the image, with /proc and these operations."""
        path = self.top / "program"
        path.write_bytes(self.program(operations))
        return self._run([str(self.enter), str(path), "--", *map(str, argv)])

    def program(self, operations: Sequence[Operation]) -> bytes:
        return encode(("root-dir", self.image), ("bind", "/proc", "/proc", "rw"), *operations)

    def start(self, operations: Sequence[Operation], *argv: object) -> subprocess.Popen[str]:
        """The same, waited for until it says "up" and left running until it reads a line."""
        path = self.top / "program"
        path.write_bytes(self.program(operations))
        script = 'echo up; read line; exec "$@"'
        process = subprocess.Popen(
            [self.enter, path, "--", "/bin/sh", "-c", script, "sh", *map(str, argv)],
            user=self.user.pw_uid,
            group=self.user.pw_gid,
            extra_groups=[],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/bin"},
            cwd="/",
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def _run(self, argv: list[str]) -> Run:
        return subprocess.run(
            argv,
            user=self.user.pw_uid,
            group=self.user.pw_gid,
            extra_groups=[],
            env={"PATH": "/bin:/usr/bin"},
            cwd="/",
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
