"""Races: a directory of the image becomes a link to the host and back while containers are being made."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attacking import Box, Operation

LAUNCHES = 60


@pytest.fixture
def box(shared_path: Path, attack: Path, user: pwd.struct_passwd) -> Box:
    return Box(shared_path, attack, user)


@contextmanager
def swapping(box: Box, left: Path, right: Path) -> Iterator[None]:
    with subprocess.Popen([box.attack, "swap", left, right]) as process:
        yield
        assert process.poll() is None
        process.kill()


@pytest.fixture
def race(box: Box) -> tuple[Path, Path]:
    """A directory of the image with the link that it is swapped with; and where that leads."""
    victim = box.top / "victim"
    spot, decoy = box.image / "spot", box.image / "decoy"
    for directory, text in ((victim, "the host's\n"), (spot, "the image's\n")):
        directory.mkdir()
        (directory / "file").write_text(text)
        # The attacker may write here: what a careless launcher makes at the mount point would stay.
        os.chown(directory, box.user.pw_uid, box.user.pw_gid)
        (directory / "file").chmod(0o666)
    decoy.symlink_to(victim)
    return spot, victim


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("place", ["/spot/file", "/spot/made/here", "/spot"])
def test_a_mount_point_that_is_swapped_never_leads_outside(
    box: Box, race: tuple[Path, Path], place: str
) -> None:
    spot, victim = race
    source = box.top / "source"
    (source if place == "/spot" else box.top / "unused").mkdir()
    inside = source / "file" if place == "/spot" else source
    inside.write_text("mounted\n")
    shown = "/spot/file" if place == "/spot" else place
    operations: list[Operation] = [("bind", source, place, "ro"), ("no-new-privs",)]
    table = Path("/proc/self/mountinfo").read_text()
    seen, followed = set(), set()
    with swapping(box, spot, box.image / "decoy"):
        for _ in range(LAUNCHES):
            done = box.inside(operations, "/bin/cat", shown)
            seen.add((done.returncode, done.stdout))
            assert "the host's" not in done.stdout
            assert done.returncode in {0, 1, 125}, done.stderr
            assert (victim / "file").read_text() == "the host's\n"
            assert names(victim) == ["file"]
            try:
                followed.add((spot / "file").read_text())
            except OSError:
                continue
    assert Path("/proc/self/mountinfo").read_text() == table
    # Who goes by the name alone is led to the host; the launches did not all fail for another reason.
    assert "the host's\n" in followed
    assert (0, "mounted\n") in seen


def test_a_source_that_is_swapped_shows_what_its_user_may_see(box: Box, race: tuple[Path, Path]) -> None:
    """Nobody but root may read what the link leads to: whichever way the bind goes, it stays closed."""
    spot, victim = race
    victim.chmod(0o700)
    os.chown(victim, 0, 0)
    seen = set()
    with swapping(box, spot, box.image / "decoy"):
        for _ in range(LAUNCHES):
            done = box.inside([("bind", spot, "/shown", "rw")], "/bin/cat", "/shown/file")
            seen.add((done.returncode, done.stdout))
    assert seen <= {(0, "the image's\n"), (1, ""), (125, "")}
    assert (0, "the image's\n") in seen
    assert (1, "") in seen


def test_an_image_that_is_swapped_for_roots_directory(box: Box) -> None:
    closed, link = box.top / "closed", box.top / "link"
    closed.mkdir(mode=0o700)
    (closed / "attack").write_text("root's\n")
    link.symlink_to(closed)
    seen = set()
    with swapping(box, box.image, link):
        for _ in range(LAUNCHES):
            done = box.inside([], "/bin/cat", "/attack")
            seen.add(done.returncode)
            assert "root's" not in done.stdout
    assert seen <= {0, 125, 127}
    assert 0 in seen
