"""The directories of self-tests: a killed one's is removed by the next one, a living one's is not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.selfplace import LOCK, LONG, PREFIX, remove_stale, working_directory
from launcher.selftest import needed_minutes

TOP = Path(__file__).parents[2]
_MAKER = """
import sys
from pathlib import Path
from launcher.selfplace import working_directory
with working_directory(Path(sys.argv[1])) as made:
    (made / "mpi_hello").write_text("a program")
    print(made, flush=True)
    sys.stdin.read()
"""


@contextmanager
def maker(top: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a directory in ``top``, and that directory."""
    with subprocess.Popen(
        [sys.executable, "-c", _MAKER, str(top)],
        cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def make_stale(top: Path, name: str = "x", *, host: str | None = None, age: float = 0) -> Path:
    """What a maker leaves that was killed ``age`` seconds ago; ``host`` "": before it had its lock."""
    directory = top / f"{PREFIX}{name}"
    directory.mkdir()
    when = time.time() - age
    if host != "":
        (directory / LOCK).write_text(socket.gethostname() if host is None else host)
        os.utime(directory / LOCK, (when, when))
    os.utime(directory, (when, when))
    return directory


def test_the_next_one_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    with maker(tmp_path) as (process, left):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (left / "mpi_hello").exists()
        with working_directory(tmp_path) as mine:
            assert os.listdir(tmp_path) == [mine.name]
    assert os.listdir(tmp_path) == []


def test_a_living_ones_stays_however_old_it_looks(tmp_path: Path) -> None:
    with maker(tmp_path) as (process, living):
        for path in (living / LOCK, living):
            os.utime(path, (0, 0))
        with working_directory(tmp_path) as mine:
            assert sorted(os.listdir(tmp_path)) == sorted([living.name, mine.name])
        process.communicate("")
        assert process.returncode == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "age", "goes"),
    [
        (None, 0, True),
        ("another", 0, False),
        ("another", LONG + 60, True),
        ("", 0, False),
        ("", LONG + 60, True),
    ],
    ids=["ours", "another's", "another's, old", "no lock yet", "no lock, old"],
)
def test_what_may_be_at_work_elsewhere_stays_for_a_day(
    tmp_path: Path, host: str | None, age: float, goes: bool
) -> None:
    stale = make_stale(tmp_path, host=host, age=age)
    remove_stale(tmp_path)
    assert stale.exists() != goes


def test_links_lead_nowhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / LOCK).write_text(socket.gethostname())
    top = tmp_path / "home"
    top.mkdir()
    (top / f"{PREFIX}link").symlink_to(precious)
    linked = make_stale(top, "lock", host="")
    (linked / LOCK).symlink_to(precious / LOCK)
    stale = make_stale(top)
    (stale / "to").symlink_to(precious)
    remove_stale(top)
    assert sorted(os.listdir(top)) == [f"{PREFIX}link", f"{PREFIX}lock"]
    assert os.listdir(precious) == [LOCK]


def test_other_peoples_and_other_names_stay(tmp_path: Path) -> None:
    theirs = make_stale(tmp_path, "theirs")
    os.chown(theirs, 1234, -1)
    mixed = make_stale(tmp_path, "mixed")
    os.chown(mixed / LOCK, 1234, -1)
    (tmp_path / "bareboat-other").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("")
    remove_stale(tmp_path)
    assert len(os.listdir(tmp_path)) == 4


def test_a_place_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), working_directory(tmp_path / "none"):
        pass


def test_an_allocation_is_asked_for_as_long_as_the_steps_may_take() -> None:
    assert needed_minutes(120) == 8
    assert needed_minutes(1) == 2
    assert needed_minutes(600) == 32
