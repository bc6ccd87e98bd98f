"""Ctrl-C at a terminal in which `bareboat run` runs a squashfs image: all of it ends.

That no FUSE server, mount or namespace stays is seen by the check of every test for what it has left behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launching import make_tiny

SERVER = "/usr/bin/squashfuse_ll"
CTRL_C = b"\x03"
INTERRUPTED = 130
"""What a shell makes of SIGINT, and Python of its own."""


@pytest.fixture
def packed(shared_path: Path) -> Path:
    root, file = make_tiny(shared_path), shared_path / "tiny.sqsh"
    (root / "mark").write_text("the image's\n")
    argv = ["mksquashfs", str(root), str(file), "-no-progress", "-quiet"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return file


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def servers(image: Path) -> list[int]:
    """FUSE servers that show the image, by what they hold open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == Path(SERVER).name and any(
                fd.readlink() == image for fd in (process / "fd").iterdir()
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


class Terminal:
    """`bareboat run` in the foreground of a terminal of its own."""

    def __init__(self, *arguments: object, **more: str) -> None:
        self.ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "launcher.cli", "run", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/root", **more},
        )
        os.close(theirs)

    def end(self) -> tuple[int, str]:
        """Wait for the end; the code, and what was written since."""
        said = b""
        try:
            while more := os.read(self.ours, 4096):
                said += more
        except OSError:
            pass  # nobody has the other end open any more (EIO)
        os.close(self.ours)
        return self.process.wait(timeout=60), said.decode().strip()

    def read_until(self, word: bytes) -> None:
        said = b""
        while word not in said:
            said += os.read(self.ours, 4096)

    def press(self, key: bytes) -> None:
        os.write(self.ours, key)


def test_a_program_that_runs_is_ended(packed: Path) -> None:
    """A shell shows 130 for it."""
    terminal = Terminal(packed, "--", "sh", "-c", "echo ready; read line")
    terminal.read_until(b"ready")
    assert len(servers(packed)) == 1
    terminal.press(CTRL_C)
    assert terminal.end() == (-signal.SIGINT, "^C")
    wait_until(lambda: not servers(packed))


def test_a_program_that_catches_it_goes_on_with_its_image(packed: Path) -> None:
    script = "trap 'cat /mark; exit 7' INT; echo ready; read line"
    terminal = Terminal(packed, "--", "sh", "-c", script)
    terminal.read_until(b"ready")
    terminal.press(CTRL_C)
    assert terminal.end() == (7, "^Cthe image's")
    wait_until(lambda: not servers(packed))


@pytest.mark.parametrize(("start", "code"), [(1, INTERRUPTED), (2, -signal.SIGINT)])
def test_a_server_that_still_starts_ends(packed: Path, shared_path: Path, start: int, code: int) -> None:
    """The first one is for the planner, the second one for the program."""
    server, starts, gate = (shared_path / name for name in ("server", "starts", "gate"))
    os.mkfifo(gate)
    server.write_text(
        f"#!/bin/sh\necho >> {starts}\n[ $(wc -l < {starts}) != {start} ] || read line < {gate}\n"
        f'exec {SERVER} "$@"\n'
    )
    server.chmod(0o755)
    config = shared_path / "site.toml"
    config.write_text(f"[image]\nsquashfuse = '{server}'\n")
    terminal = Terminal("--config", config, packed, "--", "sh")
    wait_until(lambda: starts.exists() and len(starts.read_text()) == start)
    terminal.press(CTRL_C)
    ended = terminal.end()
    with gate.open("w"):
        # The server finds its mount gone.
        wait_until(lambda: not servers(packed))
    assert ended == (code, "^C")


def test_a_plan_is_given_up(packed: Path, shared_path: Path) -> None:
    """Python waits for its configuration."""
    config = shared_path / "config.toml"
    os.mkfifo(config)
    terminal = Terminal("--config", config, packed, "--", "sh")
    with config.open("w"):  # returns once somebody reads
        terminal.press(CTRL_C)
        assert terminal.end() == (INTERRUPTED, "^C")
    assert servers(packed) == []
