"""Devices by CDI names in a step: shown, kept in the plan, refused with one message a node."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from steps import CACHED, PLANNED, Srun, good, how, refused

NAME = "vendor.test/null=0"
SPEC = """\
cdiVersion: 0.6.0
kind: vendor.test/null
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /opt/zeros
              hostPath: /dev/zero
containerEdits:
    env: [NULL_VISIBLE=0]
    mounts:
        - {{hostPath: {top}/lib, containerPath: /opt/vendor/lib, options: [ro, bind]}}
"""


@pytest.fixture
def site(shared_path: Path) -> Path:
    (shared_path / "lib").mkdir()
    (shared_path / "lib/libvendor.so.1").write_text("a library\n")
    (shared_path / "cdi").mkdir()
    (shared_path / "cdi/vendor.yaml").write_text(SPEC.format(top=shared_path))
    (shared_path / "bareboat.toml").write_text(f'[devices]\ndirectories = ["{shared_path}/cdi"]\n')
    return shared_path


def test_each_rank_has_the_device_and_a_changed_specification_counts_at_once(
    srun: Srun, plain: Path, site: Path
) -> None:
    asked = {"BAREBOAT_CONFIG": str(site / "bareboat.toml"), "BAREBOAT_DEVICES": NAME}
    script = "head -c2 /opt/zeros | od -An -tx1; cat /opt/vendor/lib/libvendor.so.1; echo $NULL_VISIBLE"
    step = ("-w", "n1", "-n1", f"--container={plain}", "sh", "-c", script)
    lines = good(srun("-N2", "-n2", f"--container={plain}", "sh", "-c", script, **asked))
    assert sorted(lines) == sorted([" 00 00", "a library", "0"] * 2)
    assert [how(srun(*step, BAREBOAT_TRACE="1", **asked)) for _ in range(2)] == [PLANNED, CACHED]
    text = (site / "cdi/vendor.yaml").read_text().replace("NULL_VISIBLE=0", "NULL_VISIBLE=seen")
    (site / "cdi/vendor.yaml").write_text(text)
    done = srun(*step, BAREBOAT_TRACE="1", **asked)
    assert (how(done), done.stdout.splitlines()[-1]) == (PLANNED, "seen")


def test_a_device_that_is_not_there_ends_the_step(srun: Srun, plain: Path, site: Path) -> None:
    config = str(site / "bareboat.toml")
    step = ("-N2", "-n2", f"--container={plain}", "true")
    done = srun(*step, BAREBOAT_CONFIG=config, BAREBOAT_DEVICES="vendor.test/null=7")
    assert refused(done)[0] == (
        f"error: there is no device vendor.test/null=7 on this host: {site}/cdi/vendor.yaml has 0"
    )
    done = srun(*step, BAREBOAT_CONFIG=config, BAREBOAT_DEVICES="null")
    assert refused(done)[0] == "error: BAREBOAT_DEVICES: 'null' is not the name of a device: has no '='"


def test_a_kept_plan_does_not_serve_a_step_that_may_not_open_the_device(
    srun: Srun, plain: Path, site: Path
) -> None:
    node = site / "node"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    node.chmod(0o666)
    text = (site / "cdi/vendor.yaml").read_text().replace("/dev/zero", str(node))
    (site / "cdi/vendor.yaml").write_text(text)
    asked = {"BAREBOAT_CONFIG": str(site / "bareboat.toml"), "BAREBOAT_DEVICES": NAME, "BAREBOAT_TRACE": "1"}
    step = ("-w", "n1", "-n1", f"--container={plain}", "head", "-c1", "/opt/zeros")
    assert [how(srun(*step, **asked)) for _ in range(2)] == [PLANNED, CACHED]
    # Nothing that was read has changed, only what the user may do: as with another step's device cgroup.
    node.chmod(0o600)
    first = refused(srun(*step, **asked))[0]
    assert first.startswith(f"error: the device {NAME} needs {node}, which you may not open: ")
    assert first.endswith("Permission denied (mode 0600, group 0)")
