"""`bareboat run --device`: a real device by a CDI specification, and one that the device cgroup forbids."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launching import Run, bareboat, make_tiny, out

NAME = "vendor.test/null=0"
SPEC = """\
cdiVersion: 0.6.0
kind: vendor.test/null
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/null
              hostPath: /dev/zero
              type: c
              major: 1
              minor: 5
            - path: /opt/zeros
              hostPath: /dev/zero
              permissions: r
containerEdits:
    env:
        - NULL_VISIBLE=0
    mounts:
        - hostPath: {top}/lib
          containerPath: /opt/vendor/lib
          options: [ro, nosuid, nodev, rbind, rprivate]
"""


@pytest.fixture
def site(shared_path: Path) -> Path:
    """A directory with an image, a library of a vendor's, and a configuration that names specifications."""
    root = make_tiny(shared_path)
    shutil.copy("/usr/bin/head", root / "usr/bin")
    (shared_path / "lib").mkdir()
    (shared_path / "lib/libvendor.so.1").write_text("a library\n")
    (shared_path / "cdi").mkdir()
    (shared_path / "cdi/vendor.yaml").write_text(SPEC.format(top=shared_path))
    (shared_path / "bareboat.toml").write_text(f'[devices]\ndirectories = ["{shared_path}/cdi"]\n')
    return shared_path


def run(site: Path, *command: str, verb: str = "run", **more: Any) -> Run:
    options = ("--config", site / "bareboat.toml", "--device", NAME)
    return bareboat(verb, *options, site / "tiny", "--", *command, cwd="/", **more)


def test_a_device_is_shown_with_what_it_needs(site: Path) -> None:
    script = (
        "ls -l /dev/null /opt/zeros; cat /opt/vendor/lib/libvendor.so.1; "
        "echo $NULL_VISIBLE; echo x 2>&1 >/opt/vendor/lib/new || echo read-only"
    )
    lines = out(run(site, "sh", "-c", script)).splitlines()
    assert [line.split()[4:6] for line in lines[:2]] == [["1,", "5"], ["1,", "5"]]
    assert lines[2:4] == ["a library", "0"]
    assert "Read-only file system" in lines[4]
    assert lines[5] == "read-only"
    # The device itself, by its other name: /dev/null would give nothing.
    assert out(run(site, "head", "-c4", "/dev/null")) == "\0" * 4


def test_the_plan_says_why(site: Path) -> None:
    document = json.loads(out(bareboat(
        "plan", "--json", "--config", site / "bareboat.toml", site / "tiny", "--", "sh", BAREBOAT_DEVICES=NAME
    )))  # fmt: skip
    found = {op["args"][1]: op for op in document["operations"] if op["verb"] == "bind"}
    assert found["/opt/zeros"]["args"] == ["/dev/zero", "/opt/zeros", "rw"]
    assert (found["/opt/zeros"]["origin"], found["/opt/zeros"]["reason"]) == (
        "user",
        f"a device node of {NAME}",
    )
    assert found["/opt/vendor/lib"]["args"][2] == "ro"
    assert found["/opt/vendor/lib"]["reason"] == f"needed by {NAME}"


def test_exit_codes_of_a_bad_name_and_of_an_unknown_device(site: Path) -> None:
    config = ("--config", site / "bareboat.toml")
    done = bareboat("run", *config, "--device", "gpu", site / "tiny", "--", "ls")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "bareboat: error: --device: 'gpu' is not the name of a device: has no '='",
    )
    done = bareboat("run", *config, site / "tiny", "--", "ls", BAREBOAT_DEVICES="vendor.test/null=1")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        125,
        f"bareboat: error: there is no device vendor.test/null=1 on this host: {site}/cdi/vendor.yaml has 0",
    )


@pytest.fixture
def forbidding() -> Iterator[Path]:
    """A cgroup that does not give /dev/zero to its processes, as Slurm's ConstrainDevices does it."""
    group = Path(f"/sys/fs/cgroup/devices/bareboat-test-{os.getpid()}")
    group.mkdir()
    (group / "devices.deny").write_text("c 1:5 rwm")
    yield group
    group.rmdir()


def test_a_device_that_the_cgroup_forbids_is_refused_and_cannot_be_opened(
    site: Path, forbidding: Path
) -> None:
    inside = ("sh", "-c", f'echo $$ >{forbidding}/cgroup.procs; exec "$0" "$@"')
    done = run(site, "ls", under=inside, SLURM_STEP_GPUS="3")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.splitlines()[0] == (
        f"bareboat: error: the device {NAME} needs /dev/zero, which this step was not given: "
        "its device cgroup forbids it; it has SLURM_STEP_GPUS=3"
    )
    assert done.stderr.splitlines()[1].startswith(
        "bareboat: hint: ask Slurm for the device (srun --gres, --gpus)"
    )
    # The host's /dev shows every node; the kernel says who may open one, inside as outside.
    done = bareboat("run", site / "tiny", "--", "sh", "-c", "cat </dev/null && cat /dev/zero", under=inside)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cat: /dev/zero: Operation not permitted\n"
