"""``bareboat demo`` as a newcomer runs it: to its end, and stopped in the middle."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CLEAN = "Nothing is left running or mounted; image and report stay in the cache."
LIMIT = 420.0


def start(**variables: str) -> subprocess.Popen[str]:
    """The demo, with its output going to a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "launcher.cli", "demo"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read lines until one has ``text``."""
    assert process.stdout is not None
    seen = ""
    deadline = time.monotonic() + LIMIT
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
        assert time.monotonic() < deadline, seen
    pytest.fail(f"the demo ended before {text!r}:\n{seen}")


def demo_users() -> list[str]:
    return [entry.pw_name for entry in pwd.getpwall() if entry.pw_name.startswith("bareboat-demo")]


@pytest.fixture(autouse=True)
def cached(image: Callable[[str], Path]) -> None:
    """The image is there already: its building is tested elsewhere."""
    image("deb13-mpich")


def test_the_demo_shows_the_libraries_and_the_table_and_leaves_nothing() -> None:
    with start() as process:
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    host, own = re.findall(
        r"used this host's MPICH Version: (\S+); the image's own is MPICH Version: (\S+)\.", said
    )[0]
    assert host != own
    # Bare, in the container, and in the container with the image's MPI.
    ranks = re.findall(r"rank (\d) of 4 on (n[12]): MPICH Version: (\S+)", said)
    assert [rank for rank, _, _ in ranks] == ["0", "1", "2", "3"] * 3
    assert {node for _, node, _ in ranks} == {"n1", "n2"}
    assert [version for _, _, version in ranks] == [host] * 8 + [own] * 4
    page = Path(re.findall(r"The same with plots: (\S+)", said)[0]).read_text()
    for metric in (
        "true, 1 node, 2 ranks",
        "MPI start and end, 2 nodes, 2 ranks",
        "osu_latency, 1 node, 2 ranks, 8 B",
        "osu_bw, 2 nodes, 2 ranks, 1 MiB",
        "osu_allreduce, 2 nodes, 2 ranks, 64 KiB",
        "is.S, 1 node, 2 ranks",
        "writes of 512 B, shared directory, 2 nodes, 2 ranks",
    ):
        assert metric in page, metric  # on the terminal, long names are wrapped
    assert "osu_allreduce" in page
    assert "<pre>bareboat demo</pre>" in page
    assert said.rstrip().endswith(CLEAN)
    assert demo_users() == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("wiring 2 nodes", signal.SIGINT),
        ("building bareboat", signal.SIGTERM),
        ("measuring: ", signal.SIGINT),
    ],
)
def test_a_stopped_demo_takes_everything_down(moment: str, number: signal.Signals) -> None:
    with start() as process:
        said = read_until(process, moment)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + number, said + rest
    assert f"stopped by {number.name}" in rest
    assert rest.rstrip().endswith(CLEAN)
    assert demo_users() == []


def test_a_demo_that_fails_says_why_and_takes_everything_down(shared_path: Path) -> None:
    closed = shared_path / "closed"
    closed.touch()
    with start(BAREBOAT_CACHE=str(closed)) as process:
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 125, said
    assert f"the cache of the test images cannot be made: {closed}/images" in said
    assert "hint: run as root, or set BAREBOAT_CACHE to a directory of yours" in said
    assert said.rstrip().endswith(CLEAN)
