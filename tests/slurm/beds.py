"""What the tests of the testbed share."""

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed import processes, state

TOP = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "launcher.cli", "testbed")


def output(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def bareboat(*arguments: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *arguments], capture_output=True, text=True, cwd=TOP, user=user, timeout=60, check=False
    )


def assert_gone(record: state.State) -> None:
    directory = state.directory_of(record.name)
    links = {path.name for path in Path("/sys/class/net").iterdir()}
    assert not directory.exists()
    assert not {record.bridge, *map(record.node_link, record.nodes)} & links
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()
    marks = processes.Marks(directory, processes.recorded(record.processes), frozenset())
    assert processes.find(marks) == ()


def as_user(user: pwd.struct_passwd, action: Callable[[], object]) -> tuple[str, str]:
    """Run something as that user in a child process; returns the text and hint of its SlurmError."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(user.pw_uid)
            action()
        except SlurmError as error:
            os.write(write, f"{error}|{error.hint}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text, _, hint = answer.read().partition("|")
    os.waitpid(child, 0)
    return text, hint
