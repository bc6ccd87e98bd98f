"""Many launches in a row and at once leave a node as it was."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from steps import QuietTestbed, good, wait_until

from slurm.testbed import Testbed, leftovers
from slurm.testbed.cluster import node_states

IN_A_ROW = 1000
AT_ONCE = 50
NODE = "n1"


@pytest.fixture(scope="module")
def bed(prefix: Path) -> Iterator[Testbed]:
    """A node with room for all steps at once."""
    with QuietTestbed(nodes=1, plugin=prefix, cpus=64) as one:
        yield one


def _slurmd(bed: Testbed) -> tuple[int, int]:
    """How many descriptors a node's slurmd has open, and how much memory it has, in KiB."""
    place = Path(f"/proc/{bed.process(f'slurmd {NODE}').pid}")
    (memory,) = re.findall(r"VmRSS:\s+(\d+) kB", (place / "status").read_text())
    return len(os.listdir(place / "fd")), int(memory)


@pytest.fixture
def unchanged(bed: Testbed, user: pwd.struct_passwd, tiny: Path) -> Iterator[None]:
    """Compare the node after many launches with the node after a few."""
    argv = ["srun", "-n2", f"--container={tiny}", "true"]
    for _ in range(20):
        good(bed.run(argv, user=user.pw_name))
    slurmd = bed.process(f"slurmd {NODE}").pid
    before, (descriptors, memory) = leftovers.take_node(slurmd), _slurmd(bed)
    yield
    wait_until(lambda: not leftovers.take_node(slurmd) - before)
    wait_until(lambda: node_states(bed.environment) == {NODE: "idle"})
    wait_until(lambda: _slurmd(bed)[0] <= descriptors)
    # slurmd itself keeps a little of each step (its credentials, for two minutes); ours would be much more.
    assert _slurmd(bed)[1] - memory < 8 * 1024
    good(bed.run(argv, user=user.pw_name))


@pytest.mark.usefixtures("unchanged")
def test_a_thousand_launches_in_a_row(bed: Testbed, user: pwd.struct_passwd, tiny: Path) -> None:
    script = (
        f"#!/bin/sh\ni=0\nwhile [ $i -lt {IN_A_ROW} ]; do\n"
        f"srun --overlap -n1 --container={tiny} sh -c 'test ! -e /etc/debian_version' || exit 1\n"
        "i=$((i+1))\ndone\necho $i\n"
    )
    argv = ["sbatch", "--wait", "--output=row.out"]
    done = bed.run(argv, user=user.pw_name, input=script, timeout=900)
    assert (done.returncode, Path(user.pw_dir, "row.out").read_text()) == (0, f"{IN_A_ROW}\n")


@pytest.mark.usefixtures("unchanged")
def test_fifty_launches_at_once(bed: Testbed, user: pwd.struct_passwd, tiny: Path) -> None:
    """None has ended before all have started."""
    place = Path(user.pw_dir, "up")
    place.mkdir()
    os.chown(place, user.pw_uid, user.pw_gid)
    all_up = f"[ $(ls {place} | wc -l) -ge {AT_ONCE} ]"
    script = f"touch {place}/$SLURM_STEP_ID && until {all_up}; do sleep 0.2; done"
    launch = f"srun --overlap -n1 --mem=0 --container={tiny} sh -c '{script}'"
    batch = f"#!/bin/sh\nfor i in $(seq {AT_ONCE}); do\n{launch} || echo failed &\ndone\nwait\necho done\n"
    argv = ["sbatch", "--wait", f"-n{AT_ONCE}", "--output=once.out"]
    done = bed.run(argv, user=user.pw_name, input=batch, timeout=300)
    assert (done.returncode, Path(user.pw_dir, "once.out").read_text()) == (0, "done\n")
    assert len(list(place.iterdir())) == AT_ONCE
