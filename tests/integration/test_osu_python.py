"""The OSU programs in Python, by Debian's mpi4py over Open MPI: same tables, checked data, same refusals."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from osu_running import MPIEXEC, RECORDED, Run, widths

from benchmarks.osu_output import OsuInvalid, OsuRefused, OsuUsage, parse_osu
from benchmarks.programs import SOURCES
from benchmarks.suites.osu_programs import OWN_ARGUMENTS, PROGRAMS, PYTHON

DISTURB = """
import runpy, sys
from mpi4py import MPI
class World:
    def __getattr__(self, name): return getattr(MPI.COMM_WORLD, name)
    def Send(self, message, *more):
        if message[1] > 1: message[0][1] = 99
        MPI.COMM_WORLD.Send(message, *more)
    def Isend(self, message, *more):
        if message[1] > 1: message[0][1] = 99
        return MPI.COMM_WORLD.Isend(message, *more)
    def Allreduce(self, message, result, op):
        MPI.COMM_WORLD.Allreduce(message, result, op)
        if message[1] > 1: result[0][1] ^= 1
module = runpy.run_path(sys.argv[1])
module["main"].__globals__["WORLD"] = World()
sys.exit(module["main"](sys.argv[2:]))
"""


def run(ranks: int, *arguments: str, before: tuple[str, ...] = ()) -> Run:
    return subprocess.run(
        [
            *MPIEXEC["openmpi"],
            "-n",
            str(ranks),
            "/usr/bin/python3",
            *before,
            str(SOURCES / PYTHON),
            *arguments,
        ],
        env={"PATH": os.environ["PATH"], "HOME": "/root"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("name", [program.name for program in PROGRAMS if program.python])
def test_as_osu_prints_it(name: str) -> None:
    recorded = (RECORDED / f"{name}.txt").read_text().splitlines()
    done = run(2, name, "-m", "16", "-i", "2", "-x", "1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines.pop(2).startswith("# Language: Python, mpi4py ")
    heads = len([line for line in lines if not line or line.startswith("#")])
    assert lines[:heads] == recorded[:heads]
    rows = zip(lines[heads:], recorded[heads:], strict=False)
    assert all(
        (ours.split()[0], widths(ours)) == (theirs.split()[0], widths(theirs)) for ours, theirs in rows
    )
    assert len(lines) > heads


@pytest.mark.parametrize(("name", "ranks"), [("osu_latency", 2), ("osu_bw", 2), ("osu_allreduce", 3)])
def test_data_is_compared(name: str, ranks: int) -> None:
    arguments = (name, "-c", "-m", "8:32", "-i", "2", "-x", "0", "--digits", "3")
    done = run(ranks, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_osu(done.stdout).validated
    done = run(ranks, *arguments, before=("-c", DISTURB))
    assert done.returncode == 1
    wrong = f"DATA VALIDATION ERROR: {name} exited with status 1 on message size 8."
    assert wrong in done.stderr.splitlines()
    with pytest.raises(OsuInvalid):
        parse_osu(done.stdout, done.stderr)


def test_full_table() -> None:
    done = run(2, "osu_allreduce", "-f", "-m", "8192:16384", "-x", "0", "-i", "3")
    recorded = (RECORDED / "option_allreduce_f.txt").read_text().splitlines()
    assert done.stdout.splitlines()[4] == recorded[3]
    assert parse_osu(done.stdout).tables[0].column("Iterations") == {8192: 3, 16384: 3}


def test_library() -> None:
    done = run(2, "osu_latency", "-m", "1", "-i", "2", *OWN_ARGUMENTS)
    facts = parse_osu(done.stdout).facts
    assert facts["library"].startswith("Open MPI v4.")
    assert re.fullmatch("[0-9a-f]{16}", facts["library digest"])


def test_refusals() -> None:
    done = run(1, "osu_bw")
    assert done.returncode == 1
    with pytest.raises(OsuRefused, match="This test requires exactly two processes"):
        parse_osu(done.stdout, done.stderr)
    done = run(1, "osu_latency", "-W", "3")
    assert done.returncode == 1
    with pytest.raises(
        OsuUsage, match=r"Invalid option \[unrecognized arguments: -W 3\] \(Usage: osu_latency"
    ):
        parse_osu(done.stdout, done.stderr)
    done = run(1, "osu_mbw_mr")
    assert done.returncode == 1
    assert "osu.py: name a test: osu_latency osu_bw osu_allreduce" in done.stderr
