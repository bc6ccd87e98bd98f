"""``bench run --lang python``: the OSU programs through each side's own mpi4py, on a real Slurm."""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.report import from_json
from slurm.testbed import Testbed


@pytest.fixture
def out(user: pwd.struct_passwd) -> Iterator[Path]:
    path = Path(user.pw_dir) / "python"
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_mpi4py_bare_and_in_the_container(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, image: Callable[[str], Path], out: Path
) -> None:
    words = ("--suite", "osu", "--lang", "python", "--quick", "--nodes", 1, "--ranks", 2, "--out", out)
    counts = ("--rounds", 2, "--warmup", 0, "--image", image("deb12-openmpi"))
    argv = [f"{prefix}/bin/bareboat", "bench", "run", *map(str, (*words, *counts))]
    done = cluster.run(argv, user=user.pw_name, cwd=user.pw_dir, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert {row.case for row in results.rows} == {"osu_latency", "osu_bw", "osu_allreduce"}
    assert results.failures == ()
    assert all(len(row.bare) == len(row.container) == 2 for row in results.rows)
    assert {row.message_bytes for row in results.rows if row.case == "osu_bw"} == {
        8 << at for at in range(18)
    }
