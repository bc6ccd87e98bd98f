"""``bareboat bench run`` on a disk that has no room: it says so, and keeps what there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.folder import Folder
from benchmarks.report import from_json

BAREBOAT = str(Path(sys.executable).with_name("bareboat"))
OPTIONS = ("--local", "--quick", "--suite=npb", "--image=/", "--ranks=1", "--warmup=0")
CG = """#!/bin/sh
# Once, after two runs, the disk is filled that the results are on.
if [ "$(grep -c '"suite":"npb"' {out}/rounds.jsonl)" -ge 2 ] && mkdir {site}/filled 2>/dev/null; then
    dd if=/dev/zero of={out}/fill bs=4k 2>/dev/null
fi
cat <<END

 CG Benchmark Completed.
 Class           =                        S
 Size            =                     1400
 Iterations      =                       15
 Time in seconds =                     0.03
 Total processes =                        1
 Active processes=                        1
 Mop/s total     =                  1965.02
 Mop/s/process   =                  1965.02
 Operation type  =           floating point
 Verification    =               SUCCESSFUL
 Version         =                    3.4.1
END
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BAREBOAT, "bench", "run", *OPTIONS, *map(str, arguments)],
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a file system of a size."""
    points: list[Path] = []

    def make(size: str) -> Path:
        point = tmp_path / f"disk{len(points)}"
        point.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", point], check=True)
        points.append(point)
        return point

    yield make
    for point in points:
        subprocess.run(["umount", point], check=True)


def test_no_room_for_the_programs(disk: Callable[[str], Path]) -> None:
    out = disk("64k") / "out"
    done = run("--out", out, "--only=is.S", "--rounds=1")
    assert done.returncode == 125
    assert f"bareboat: error: the programs cannot be put into {out}/programs: " in done.stderr
    assert "No space left on device" in done.stderr
    assert "look for room and permission there, or name another directory with --out" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_no_room_left_in_the_middle(disk: Callable[[str], Path], tmp_path: Path) -> None:
    out = disk("6m") / "out"
    site = tmp_path / "npb"
    site.mkdir()
    (site / "cg.S.x").write_text(CG.format(out=out, site=site))
    (site / "cg.S.x").chmod(0o755)
    done = run("--out", out, "--npb", site, "--rounds=30")
    assert done.returncode == 125, done.stdout + done.stderr
    assert f"{out}/rounds.jsonl cannot be written: No space left on device" in done.stdout
    assert f"{out}/results.json cannot be written: No space left on device" in done.stderr
    assert f"go on: bareboat bench run --resume {out}" in done.stdout
    assert "Traceback" not in done.stderr
    kept = [record for record in Folder(out).records() if record.suite == "npb"]
    assert 2 <= len(kept) < 60
    (out / "fill").unlink()
    again = run("--resume", out, "--rounds=30")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(from_json((out / "results.json").read_text()).rows[0].bare) == 30
