"""A squashfs image that changes while ranks run from it: another file in its place, or other bytes in it."""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from squash import Step, loops, pack, servers
from steps import Srun, good, refused, wait_until

IN_STORE, OWN = "of the store", "of the user's"
SEE = ("/bin/sh", "-c", "[ -e /etc/os-release ] && echo old || echo new")


@pytest.fixture(params=[IN_STORE, OWN])
def file(request: pytest.FixtureRequest, packed: Path, place: Path, shared_path: Path) -> Path:
    """A file for this test to change: the kernel shows that of the store, a FUSE server the user's."""
    return Path(shutil.copy(packed, place if request.param == IN_STORE else shared_path))


@pytest.fixture
def running(step: Callable[..., Step], file: Path) -> Step:
    """Two ranks that read a file of the image when they are told to go on, and not before."""
    begun = step("-w", "n1", "-n2", f"--container={file}")
    begun.wait(2)
    return begun


@pytest.fixture
def other(tiny: Path, file: Path) -> Path:
    return pack(tiny, file.with_name("other.sqsh"))


def devices(file: Path) -> list[str]:
    """Loop devices of the file, and of the one that was in its place."""
    return [*loops(file), *loops(Path(f"{file} (deleted)"))]


@pytest.mark.usefixtures("nodes_stay")
def test_ranks_of_a_file_that_was_replaced_go_on(
    running: Step, file: Path, other: Path, srun: Srun, user: pwd.struct_passwd
) -> None:
    """Steps that start from then on see the new one, beside them."""
    assert good(srun("-w", "n1", "-n2", f"--container={file}", *SEE)) == ["old"] * 2
    other.rename(file)
    for _ in range(2):
        assert good(srun("-w", "n1", "-n2", f"--container={file}", *SEE)) == ["new"] * 2
    # Those of the steps that have ended go a moment after srun.
    wait_until(lambda: len(devices(file)) + len(servers(user)) == 1)
    code, output, errors = running.end()
    assert (code, output.count("PRETTY_NAME"), errors) == (0, 2, "")
    wait_until(lambda: not devices(file) and not servers(user))
    assert good(srun("-w", "n1", "-n2", f"--container={file}", *SEE)) == ["new"] * 2


@pytest.mark.usefixtures("nodes_stay")
def test_a_file_that_is_written_in_place_harms_its_own_ranks_only(
    running: Step, file: Path, other: Path, srun: Srun, user: pwd.struct_passwd
) -> None:
    """They cannot read what was not read before; steps that start from then on see what is there."""
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert refused(srun("-w", "n1", "-n2", f"--container={file}", *SEE))[0] == (
        f"error: {file} is not an image: it is a file of no known image format"
    )
    file.write_bytes(other.read_bytes())
    assert good(srun("-w", "n1", "-n2", f"--container={file}", *SEE)) == ["new"] * 2
    code, output, errors = running.end()
    assert code in {126, 127}
    assert (output, errors.count("cat: Input/output error")) == ("", 2)
    wait_until(lambda: not devices(file) and not servers(user))
    assert good(srun("-w", "n1", "-n2", f"--container={file}", *SEE)) == ["new"] * 2
