"""Real builds of a small image, one of them killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.errors import SlurmError
from slurm.testbed import images, leftovers
from slurm.testbed.recipes import Recipe, RecipeTable

TABLE = RecipeTable(images=(Recipe("small", "trixie", ("dash",)),), programs=(), host_compilers=())
PROGRAM = """
from slurm.testbed import images
from slurm.testbed.recipes import Recipe, RecipeTable
table = RecipeTable(images=(Recipe("small", "trixie", ("dash",)),), programs=(), host_compilers=())
print(images.get_image("small", table=table, progress=lambda text: print(text, flush=True)))
"""


@pytest.fixture
def cache(shared_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAREBOAT_CACHE", str(shared_path))
    return shared_path


@pytest.fixture
def builder(cache: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that builds the image; its first line says that it has begun."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(Path(images.__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_a_killed_build_leaves_nothing_that_the_next_one_trips_over(
    cache: Path, builder: subprocess.Popen[str]
) -> None:
    before = leftovers.take()
    scratch = set(Path("/tmp").glob("mmdebstrap.*"))
    assert builder.stdout is not None
    assert builder.stdout.readline() == "small: bootstrap Debian trixie\n"
    wait_for_packages(cache / "images")
    builder.kill()
    builder.wait()
    assert [path.suffix for path in (cache / "images").iterdir() if path.is_dir()] == [".building"]
    # Neither a process (which this test run would have inherited) nor a mount is left of it.
    assert leftovers.left_behind(before) == ()
    assert set(Path("/tmp").glob("mmdebstrap.*")) <= scratch

    told: list[str] = []
    image = images.get_image("small", table=TABLE, progress=told.append)
    assert told == ["small: bootstrap Debian trixie"]
    assert [path for path in (cache / "images").iterdir() if path.is_dir()] == [image]
    assert image.stat().st_mode & 0o777 == 0o755
    assert (image / "usr/bin/dash").is_file()
    assert images.get_image("small", table=TABLE, progress=told.append) == image
    assert len(told) == 1


def wait_for_packages(directory: Path) -> None:
    """Wait until the build is in the middle of things: packages are unpacked and being configured."""
    deadline = time.monotonic() + 120
    while not any(directory.glob(".small-*.building/root/etc/passwd")):
        assert time.monotonic() < deadline, "the build did not get far enough to be killed"
        time.sleep(0.05)


def test_a_failed_build_shows_the_end_of_its_log(cache: Path) -> None:
    recipe = Recipe("small", "no-such-suite", ("dash",))
    table = RecipeTable(images=(recipe,), programs=(), host_compilers=())
    with pytest.raises(SlurmError) as caught:
        images.get_image("small", table=table)
    first, _, log = str(caught.value).partition("\n")
    assert first == "building the test image small ended with 25; the end of its log:"
    assert "no-such-suite" in log
    assert "does not have a Release file" in log
    assert [path for path in (cache / "images").iterdir() if path.is_dir()] == []
