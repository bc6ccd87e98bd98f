"""How the launcher's integration tests start it, and a root that is smaller than any image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

HELLO = "/opt/bareboat-tests/bin/mpi_hello"
Run = subprocess.CompletedProcess[str]
Image = Callable[[str], Path]


def bareboat(
    *arguments: object,
    cwd: Path | str = "/",
    input: str | None = None,
    under: tuple[str, ...] = (),
    **more: str,
) -> Run:
    """Run the command with a clean environment and ``more`` of it; ``under`` goes before the command."""
    return start([*under, sys.executable, "-m", "launcher.cli", *map(str, arguments)], cwd, more, input)


def start(argv: list[str], cwd: Path | str, more: Mapping[str, str], input: str | None = None) -> Run:
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", **more}
    return subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        input=input,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        timeout=120,
    )


def out(done: Run) -> str:
    """What it printed, after a check that it ended well and complained of nothing."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def snapshot(root: Path) -> list[tuple[str, int, int, int]]:
    """Every file of a tree with its mode, size and time of change."""
    found = []
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files]:
            path = Path(directory, name)
            status = path.lstat()
            found.append((str(path), status.st_mode, status.st_size, status.st_ctime_ns))
    return sorted(found)


def make_tiny(top: Path) -> Path:
    """Make a root of some commands of this host, with their libraries and not one mount point."""
    root = top / "tiny"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in ("sh", "cat", "ls", "mkdir"):
        program = Path("/bin", name).resolve()
        shutil.copy(program, root / "usr/bin" / name)
        listed = subprocess.run(
            ["ldd", program], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for library in (word for word in listed.split() if word.startswith("/")):
            target = root / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    return root
