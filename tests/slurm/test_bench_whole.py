"""Whole runs of ``bareboat bench run``: all four suites at once, and one whose node is lost half way."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from steps import QuietTestbed, wait_until

from benchmarks.cases import BARE, Level
from benchmarks.folder import Folder
from benchmarks.report import from_json
from benchmarks.suites.npb_programs import built_in
from benchmarks.suites.osu_programs import PROGRAMS
from slurm.testbed import Testbed

SUITES = ("--suite", "launch,osu,npb,io")
SETTINGS = {"SlurmdTimeout": "5", "KillWait": "1"}
"""A Slurm that soon sees that a node is gone."""


@pytest.fixture
def out(user: pwd.struct_passwd) -> Iterator[Path]:
    path = Path(user.pw_dir) / "whole"
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_every_case_of_the_four_quick_suites_has_a_row(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, mpich: Path, out: Path
) -> None:
    words = ("--quick", "--rounds=1", "--warmup=0", "--ranks=2", "--engines=none")
    argv = [f"{prefix}/bin/bareboat", "bench", "run", f"--image={mpich}", f"--out={out}", *SUITES, *words]
    done = cluster.run(argv, user=user.pw_name, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert (results.failures, results.stopped) == ((), "")
    outlines = Folder(out).kept().outlines
    titles: dict[str, set[str]] = {}
    for one in outlines:
        titles.setdefault(one.suite, set()).add(one.title)
    both = ("writes of 512 B", "make, look at, rename, remove")
    assert titles == {
        "launch": {"true", "MPI start and end"},
        "osu": {program.name for program in PROGRAMS if program.quick is not None},
        "npb": {program.title for program in built_in(Level.QUICK)},
        "io": {f"{work}, {place}" for work in both for place in ("shared directory", "tmpfs")},
    }
    assert {one.nodes for one in outlines} == {1, 2}
    rows = {(row.suite, row.case, row.nodes, row.ranks, row.side) for row in results.rows}
    assert rows == {
        (one.suite, one.title, one.nodes, one.ranks, side)
        for one in outlines
        for side in one.sides
        if side != BARE
    }
    assert all(row.comparison is not None for row in results.rows), done.stdout
    assert {(len(row.bare), len(row.container)) for row in results.rows} == {(1, 1)}


def test_a_lost_node_leaves_the_rows_that_are_good_and_a_way_on(
    prefix: Path, user: pwd.struct_passwd, plain: Path, out: Path
) -> None:
    words = ("--suite=launch", "--only=true", "--engines=none", "--warmup=0", "--limit=10")
    argv = [f"{prefix}/bin/bareboat", "bench", "run", f"--image={plain}", f"--out={out}", *words]
    with QuietTestbed(nodes=2, plugin=prefix, extra=SETTINGS) as bed:
        process = subprocess.Popen(
            [*argv, "--ranks=2", "--rounds=500"],
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **bed.environment},
            cwd=user.pw_dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
        )
        kept = out / "rounds.jsonl"
        # Two rounds of two shapes on three sides, and what is begun then.
        wait_until(lambda: kept.exists() and kept.read_text().count("\n") > 12)
        with bed.without_slurmd("n2", lost=True):
            # slurmctld would find out by itself, after it has called the node for ten seconds and more.
            down = ["scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=lost"]
            assert bed.run(down).returncode == 0
            stdout, stderr = process.communicate(timeout=90)
        assert process.returncode == 125, stdout + stderr
        assert re.search(r"^ended early: the allocation \(job \d+\) is gone: \w+$", stdout, re.MULTILINE)
        assert f"go on: bareboat bench run --resume {out}\n" in stdout
        before = from_json((out / "results.json").read_text())
        assert {row.nodes for row in before.rows} == {1, 2}
        rounds = min(len(row.bare) for row in before.rows)
        assert 2 <= rounds < 500
        # There are nodes again.
        done = bed.run(
            [*argv[:3], f"--resume={out}", f"--rounds={rounds + 2}"], user=user.pw_name, timeout=90
        )
        assert done.returncode == 0, done.stdout + done.stderr
        after = from_json((out / "results.json").read_text())
        assert [row.bare[:rounds] for row in after.rows] == [row.bare[:rounds] for row in before.rows]
        assert min(len(row.bare) for row in after.rows) > rounds
