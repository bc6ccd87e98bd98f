"""``bareboat bench run`` on a real Slurm of two nodes, as an unprivileged user: its good ends and its bad."""

from __future__ import annotations

import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.folder import Folder
from benchmarks.records import Record
from benchmarks.report import from_json
from benchmarks.results import Results
from slurm.testbed import Testbed

Done = subprocess.CompletedProcess[str]
BenchRun = Callable[..., Done]

NPB_RESULT = """

 CG Benchmark Completed.
 Class           =                        S
 Size            =                     1400
 Iterations      =                       15
 Time in seconds =                     0.03
 Total processes =                        2
 Active processes=                        2
 Mop/s total     =                  1965.02
 Mop/s/process   =                   982.51
 Operation type  =           floating point
 Verification    =               {verification}
 Version         =                    3.4.1
"""
OSU_RESULT = """
# OSU MPI {name} Test v7.5
# Datatype: MPI_CHAR.
# Size       {column}
8                           {value}
"""


@pytest.fixture
def home(user: pwd.struct_passwd) -> Iterator[Path]:
    """The user's home; what a test leaves in it is taken away."""
    path = Path(user.pw_dir)
    before = set(path.iterdir())
    yield path
    for new in set(path.iterdir()) - before:
        shutil.rmtree(new, ignore_errors=True)


@pytest.fixture
def run(cluster: Testbed, prefix: Path, user: pwd.struct_passwd, home: Path) -> BenchRun:
    """Runs ``bareboat bench run ARGS`` in the user's home; all jobs are gone afterwards."""

    def begin(*arguments: object, before: tuple[str, ...] = ()) -> Done:
        argv = [*before, f"{prefix}/bin/bareboat", "bench", "run", *map(str, arguments)]
        done = cluster.run(argv, user=user.pw_name, cwd=str(home), timeout=240)
        assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
        return done

    return begin


@pytest.fixture
def site(shared_path: Path) -> Callable[..., Path]:
    """Makes programs of a site, as scripts: ``site(osu_latency="lines of a shell script")``."""
    shared_path.chmod(0o777)

    def make(**programs: str) -> Path:
        for name, lines in programs.items():
            path = shared_path / name.replace("__", ".")
            path.write_text(f"#!/bin/sh\n{lines}\n")
            path.chmod(0o755)
        return shared_path

    return make


def osu(name: str, column: str, value: float) -> str:
    """A script whose first rank prints a table as OSU's program would."""
    table = OSU_RESULT.format(name=name, column=column, value=value)
    return f'[ "$SLURM_PROCID" = 0 ] || exit 0\ncat <<END{table}END'


GOOD = osu("Latency", "Avg Latency(us)", 1.25)
ONE_NODE = ("--quick", "--suite=osu", "--nodes=1", "--warmup=0", "--rounds=2")


def results_of(out: Path) -> Results:
    return from_json((out / "results.json").read_text())


def records_of(out: Path, suite: str) -> tuple[Record, ...]:
    return tuple(record for record in Folder(out).records() if record.suite == suite)


def test_three_suites_go_into_one_directory_and_on(run: BenchRun, mpich: Path, home: Path) -> None:
    out = home / "first"
    only = "--only=true,osu_latency,ep.S"
    suites = ("--suite=launch,osu,npb", only, "--quick", "--ranks=2", "--warmup=0")
    done = run("--image", mpich, "--rounds", 1, "--out", out, *suites)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} >= {
        *("programs", "report.html", "results.csv", "results.json", "rounds.jsonl", "setting.json")
    }
    for said in ("true, 2 nodes, 2 ranks", "osu_latency, 2 nodes, 2 ranks, 64 KiB", "ep.S, 1 node, 2 ranks"):
        assert said in done.stdout
    for said in ("inside a node, bare: MPICH Version: 4.0.2", "n1, n2 are one machine", f"results: {out}"):
        assert said in done.stdout
    first = results_of(out)
    assert {row.suite for row in first.rows} == {"launch", "osu", "npb"}
    assert {row.nodes for row in first.rows} == {1, 2}
    assert first.failures == ()
    transports = {(facts.place, facts.side): facts.transport for facts in first.sides}
    assert transports["between nodes", "bare"] == transports["between nodes", "container"]
    assert transports["between nodes", "bare"] == "network interfaces (TCP)"
    assert transports["inside a node", "container"] == "shared memory; cross-memory attach ok"
    assert first.setting.command[:3] == ("bareboat", "bench", "run")
    assert "--out" not in first.setting.command
    assert {name for name, _ in first.setting.versions} >= {"bareboat", "Slurm", "compiler of bare"}
    assert [node.host for node in first.setting.machine] == ["n1", "n2"]
    assert all(node.binding and node.kernel for node in first.setting.machine)

    done = run("--resume", out, "--rounds", 2, "--limit", 60)
    assert done.returncode == 0, done.stdout + done.stderr
    second = results_of(out)
    assert {len(row.bare) for row in second.rows} == {2}
    assert [row.bare[0] for row in second.rows] == [row.bare[0] for row in first.rows]
    assert second.setting.job_id.startswith(f"{first.setting.job_id}, ")

    done = run("--resume", out, "--image", "/images/other")
    assert done.returncode == 125
    assert f"{out} was measured with another --image: {mpich}, not /images/other" in done.stderr
    assert "hint: leave the option out, or measure into a new directory" in done.stderr
    done = run("--image", mpich, "--out", out)
    assert (done.returncode, f"{out} is not empty" in done.stderr) == (125, True)


def test_ctrl_c_keeps_what_is_measured(
    run: BenchRun, site: Callable[..., Path], mpich: Path, home: Path
) -> None:
    out = home / "stopped"
    programs = site(osu_latency=f"sleep 1\n{GOOD}")
    options = ("--image", mpich, "--osu", programs, "--out", out, "--quick", "--suite=osu", "--nodes=1")
    stopped = ("timeout", "--preserve-status", "--signal=INT", "40")
    done = run(*options, "--rounds=50", "--warmup=0", before=stopped)
    assert done.returncode == 128 + signal.SIGINT, done.stdout + done.stderr
    assert "ended early: stopped by SIGINT" in done.stdout
    assert f"go on: bareboat bench run --resume {out}" in done.stdout
    kept = len(results_of(out).rows[0].bare)
    assert kept >= 1
    done = run("--resume", out, "--rounds", kept + 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(results_of(out).rows[0].bare) == kept + 1


def test_bad_programs_are_set_aside_and_good_ones_go_on(
    run: BenchRun, site: Callable[..., Path], mpich: Path, home: Path
) -> None:
    out = home / "bad"
    programs = site(
        osu_latency=GOOD,
        osu_bw="exec sleep 60",
        osu_allreduce="echo garbage",
        osu_alltoall='[ "$SLURM_PROCID" = 0 ] && exec sleep 60\necho rank 1 cannot go on >&2\nexit 7',
    )
    done = run("--image", mpich, "--osu", programs, "--out", out, "--limit", 6, "--ranks=2", *ONE_NODE)
    assert done.returncode == 125, done.stdout + done.stderr
    results = results_of(out)
    assert [(row.case, row.bare) for row in results.rows] == [("osu_latency", (1.25, 1.25))]
    said = {failure.metric: failure.text for failure in results.failures}
    assert f"{programs} does not hold osu_put_latency" in results.notes
    shape = "1 node, 2 ranks, bare"
    assert (
        f"{programs}/osu_bw bare (2 ranks on 1 node) did not end within 6 s" in said[f"osu: osu_bw, {shape}"]
    )
    assert said[f"osu: osu_allreduce, {shape}"].startswith("line 1 is no row, as no heading was before it")
    assert "failed with exit code" in said[f"osu: osu_alltoall, {shape}"]
    assert "rank 1 cannot go on" in said[f"osu: osu_alltoall, {shape}"]
    assert "osu: osu_bw, 1 node, 2 ranks, bare is set aside: " in done.stderr


def test_a_wrong_verification_is_no_figure(
    run: BenchRun, site: Callable[..., Path], mpich: Path, home: Path
) -> None:
    out = home / "wrong"
    lines = '[ "$SLURM_PROCID" = 0 ] || exit 0\ncat <<END{}END'
    # Wrong in the container alone, as by a broken library there.
    programs = site(
        cg__S__x='[ "$SLURM_PROCID" = 0 ] || exit 0\nif [ -e /opt/bareboat-tests ]; then\n'
        + lines.format(NPB_RESULT.format(verification="UNSUCCESSFUL"))
        + "\nelse\n"
        + lines.format(NPB_RESULT.format(verification="  SUCCESSFUL"))
        + "\nfi",
        mg__S__x=lines.format(NPB_RESULT.replace("CG", "MG").format(verification="  SUCCESSFUL")),
    )
    options = ("--quick", "--suite=npb", "--nodes=1", "--ranks=2", "--warmup=0", "--rounds=2")
    done = run("--image", mpich, "--npb", programs, "--out", out, *options)
    assert done.returncode == 125, done.stdout + done.stderr
    results = results_of(out)
    assert [row.case for row in results.rows] == ["mg.S"]
    (failure,) = results.failures
    assert failure.metric == "npb: cg.S, 1 node, 2 ranks, container"
    assert failure.text.startswith(
        "CG of class S computed a wrong result: its verification says UNSUCCESSFUL"
    )
    wrong = [record for record in records_of(out, "npb") if record.error]
    assert {record.figures for record in wrong} == {()}


def test_programs_of_another_mpi_are_refused(
    run: BenchRun, mpich: Path, shared_path: Path, home: Path
) -> None:
    from slurm.testbed.images import host_programs

    shutil.copy(host_programs("openmpi") / "mpi_hello", shared_path / "osu_latency")
    done = run("--image", mpich, "--osu", shared_path, "--out", home / "foreign", *ONE_NODE)
    assert done.returncode == 125
    assert (
        f"bareboat: error: there is nothing to measure: {shared_path}/osu_latency was built with another "
        "MPI: it needs libmpi.so.40, and the host's MPICH 4.0.2 is libmpich.so.12\n"
    ) in done.stderr
    assert "--host-mpi PREFIX" in done.stderr


def test_an_allocation_that_is_taken_away_ends_it_with_the_rows_that_are_good(
    cluster: Testbed, run: BenchRun, site: Callable[..., Path], mpich: Path, home: Path
) -> None:
    out = home / "lost"
    programs = site(
        osu_latency=f'[ "$SLURM_PROCID" = 0 ] || exit 0\nif [ -e "$0.lose" ]; then scancel "$SLURM_JOB_ID"; '
        f"exec sleep 5; fi\n{GOOD}"
    )
    options = ("--quick", "--suite=osu", "--nodes=1", "--warmup=0")
    done = run("--image", mpich, "--osu", programs, "--out", out, "--rounds=2", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (programs / "osu_latency.lose").touch()
    done = run("--resume", out, "--rounds=4")
    assert done.returncode == 125, done.stdout + done.stderr
    assert "ended early: the allocation (job " in done.stdout
    assert " is gone: " in done.stdout
    assert len(results_of(out).rows[0].bare) == 2
    (programs / "osu_latency.lose").unlink()
    run("--resume", out, "--rounds=3")
    assert len(results_of(out).rows[0].bare) == 3


def test_an_image_without_mpi_takes_launches_alone(run: BenchRun, plain: Path, home: Path) -> None:
    options = ("--quick", "--nodes=1", "--warmup=0", "--rounds=1")
    done = run("--image", plain, "--suite=osu", "--out", home / "none", *options)
    assert done.returncode == 125
    assert (
        f"the image {plain} has no MPI library: only the launch and io suites can be run in it" in done.stderr
    )
    done = run("--image", plain, "--suite=launch", "--out", home / "launches", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MPI is not measured: the image" in done.stderr
    assert {row.case for row in results_of(home / "launches").rows} == {"true"}
