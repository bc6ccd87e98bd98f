"""`bareboat run` of squashfs files: without Slurm, a FUSE server of the user's shows them.

That it ends with the program is seen by the check of every test for what it has left behind.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from launching import bareboat, make_tiny, out


@pytest.fixture
def packed(shared_path: Path) -> Path:
    root, file = make_tiny(shared_path), shared_path / "tiny.sqsh"
    (root / "mark").write_text("the image's\n")
    argv = ["mksquashfs", str(root), str(file), "-no-progress", "-quiet"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return file


def test_the_root_is_that_of_the_file_and_read_only(packed: Path) -> None:
    done = bareboat("run", packed, "--", "sh", "-c", "cat /mark; mkdir /made || echo refused")
    assert (done.returncode, done.stdout) == (0, "the image's\nrefused\n")
    assert "Read-only file system" in done.stderr


def test_a_program_that_is_killed_leaves_no_server(packed: Path) -> None:
    assert bareboat("run", packed, "--", "sh", "-c", "kill -9 $$").returncode == -signal.SIGKILL


def test_a_plan_reads_the_file_and_leaves_no_server(packed: Path) -> None:
    text = out(bareboat("plan", packed, "--", "cat"))
    assert f"{packed}  " in text
    ahead = "Read while the container is made, if root has mounted the image"
    assert f"\n{ahead}\n  /usr/local/sbin/cat\n" in text
    done = bareboat("plan", packed, "--", "nosuchprogram")
    assert "cannot run 'nosuchprogram': it is not in the container's PATH" in done.stdout + done.stderr


def test_a_file_that_is_cut_short_is_named(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:600])
    done = bareboat("run", packed, "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith(
        f"bareboat: error: cannot read the squashfs image {packed} (its FUSE server says: "
    )


def test_a_missing_server_is_named(packed: Path, tmp_path: Path) -> None:
    config = tmp_path / "site.toml"
    config.write_text("[image]\nsquashfuse = '/nowhere/squashfuse_ll'\n")
    done = bareboat("run", "--config", config, packed, "--", "true")
    assert done.returncode == 125
    (error, hint) = done.stderr.splitlines()
    assert error.endswith(
        f"squashfs image {packed}: no FUSE server is on this node "
        "(squashfuse_ll, or what image.squashfuse names)"
    )
    assert hint.endswith("or correct image.squashfuse in the configuration")
