"""The schedule, srun's arguments, and what becomes of runs that fail, hang or are stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.progress import PlainLines, Silent
from benchmarks.results import Failure
from benchmarks.runner import (
    Allocation,
    Client,
    Step,
    Stopped,
    allocate,
    measure,
    run_step,
    srun_command,
    stop_on_signals,
)
from benchmarks.schedule import Side, Turn, make_schedule

ALLOCATION = Allocation(job_id="7", nodes=("n1", "n2"), cpus_per_node=4, ours=False)


def here(directory: Path, **programs: str) -> Client:
    """A client whose PATH has only these programs (shell scripts): stands for a Slurm that answers so."""
    for name, script in programs.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return Client(environment={"PATH": f"{directory}:/usr/bin:/bin"})


def test_schedule_is_balanced_paired_and_repeatable() -> None:
    turns = make_schedule(["a", "b", "c"], rounds=10, warmup=1, seed=5)
    assert turns == make_schedule(["a", "b", "c"], rounds=10, warmup=1, seed=5)
    assert turns != make_schedule(["a", "b", "c"], rounds=10, warmup=1, seed=6)
    assert len(turns) == 11 * 3 * 2
    firsts, seconds = turns[::2], turns[1::2]
    assert all(
        (a.round, a.cell) == (b.round, b.cell) and a.side != b.side
        for a, b in zip(firsts, seconds, strict=True)
    )
    bare_first = Counter(turn.cell for turn in firsts if turn.round >= 0 and turn.side is Side.BARE)
    assert bare_first == {"a": 5, "b": 5, "c": 5}


def test_schedule_of_nothing() -> None:
    with pytest.raises(BenchError, match="there is nothing to measure"):
        make_schedule([], rounds=1, warmup=0, seed=1)
    with pytest.raises(BenchError, match="0 rounds after 1 of warm-up cannot be run"):
        make_schedule(["a"], rounds=0, warmup=1, seed=1)


def test_srun_command() -> None:
    step = Step(
        nodes=2, ranks=5, image="/images/a", argv=("/bin/true", "x"), limit=30, options=("--mpi=pmi2",)
    )
    assert srun_command(ALLOCATION, step, ("--mem=0",)) == (
        "srun",
        "--jobid=7",
        "--nodes=2",
        "--ntasks=5",
        "--ntasks-per-node=3",
        "--time=2",
        "--kill-on-bad-exit=1",
        "--input=none",
        "--container=/images/a",
        "--mem=0",
        "--mpi=pmi2",
        "/bin/true",
        "x",
    )
    crowded = srun_command(ALLOCATION, Step(nodes=1, ranks=5, image=None, argv=("true",), limit=30))
    assert "--overcommit" in crowded
    assert not any(word.startswith("--container") for word in crowded)


def test_a_run_that_fails_shows_the_end_of_its_output(tmp_path: Path) -> None:
    client = here(tmp_path, srun="echo out; echo 'srun: error: n1: task 0: Exited' >&2; exit 3")
    with pytest.raises(BenchError) as caught:
        run_step(client, ALLOCATION, Step(1, 2, "/images/a", ("app",), limit=30))
    assert str(caught.value) == (
        "app in /images/a (2 ranks on 1 node) failed with exit code 3\n"
        "    out\n"
        "    srun: error: n1: task 0: Exited"
    )


def test_a_run_that_hangs_is_ended(tmp_path: Path) -> None:
    client = here(tmp_path, srun="echo begun; exec sleep 600")
    with pytest.raises(BenchError) as caught:
        run_step(client, ALLOCATION, Step(2, 2, None, ("app",), limit=0.5))
    assert (
        str(caught.value)
        == "app bare (2 ranks on 2 nodes) did not end within 0.5 s and was stopped\n    begun"
    )
    assert "run srun --jobid=7 --nodes=2" in caught.value.hint


def test_no_slurm(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="srun cannot be started: No such file or directory") as caught:
        run_step(
            Client(environment={"PATH": str(tmp_path)}), ALLOCATION, Step(1, 1, None, ("app",), limit=30)
        )
    assert caught.value.hint == "is Slurm's client in PATH?"


def test_an_inherited_container_does_not_reach_the_bare_side(tmp_path: Path) -> None:
    client = here(tmp_path, srun="env")
    environment = {**client.environment, "SLURM_CONTAINER": "/a", "SRUN_CONTAINER": "/b", "KEPT": "1"}
    shown = run_step(Client(environment=environment), ALLOCATION, Step(1, 1, None, ("app",), limit=30)).stdout
    assert "KEPT=1" in shown
    assert "CONTAINER" not in shown


def test_unknown_user() -> None:
    client = Client(environment=os.environ, user="no-such-user")
    with pytest.raises(BenchError, match="there is no user no-such-user on this machine"):
        run_step(client, ALLOCATION, Step(1, 1, None, ("app",), limit=30))


def test_measure_drops_warmup_and_pairs_the_sides() -> None:
    turns = make_schedule(["a"], rounds=3, warmup=2, seed=1)
    calls: list[Side] = []

    def run(cell: str, side: Side) -> int:
        calls.append(side)
        return calls.count(side) * (1 if side is Side.BARE else 10)

    measured = measure(turns, run, str, Silent())
    assert measured.pairs == {"a": ((3, 30), (4, 40), (5, 50))}
    assert (measured.failures, measured.stopped) == ((), "")


def test_a_failing_cell_keeps_its_pairs_and_leaves_the_others_alone() -> None:
    turns = [Turn(n, cell, side) for n in range(3) for cell in "ab" for side in Side]
    runs: Counter[tuple[str, Side]] = Counter()
    said: list[str] = []

    def run(cell: str, side: Side) -> int:
        runs[cell, side] += 1
        if (cell, side, runs[cell, side]) == ("b", Side.CONTAINER, 2):
            raise BenchError("b broke", hint="mend it")
        return 1

    measured = measure(turns, run, str, PlainLines(said.append, interval=3600))
    assert measured.pairs == {"a": ((1, 1),) * 3, "b": ((1, 1),)}
    assert measured.failures == (("b", Failure("b", "b broke", "mend it")),)
    assert runs["b", Side.BARE] == 2
    assert said == ["b is given up: b broke"]


def test_stopping_keeps_complete_pairs() -> None:
    turns = [Turn(n, "a", side) for n in range(5) for side in Side]
    count = 0

    def run(cell: str, side: Side) -> int:
        nonlocal count
        count += 1
        if count == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return count

    with stop_on_signals() as stop:
        measured = measure(turns, run, str, Silent())
        os.kill(os.getpid(), signal.SIGINT)  # a second one while cleaning up changes nothing
    assert measured.pairs == {"a": ((1, 2), (3, 4))}
    assert measured.stopped == "stopped by SIGTERM"
    assert stop.number == signal.SIGTERM


def test_stopping_ends_the_running_step_and_releases_the_allocation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    client = here(
        tmp_path,
        salloc="echo 'salloc: Granted job allocation 42' >&2",
        scontrol='test "$2" = hostnames && echo n1 || echo "JobId=42 NodeList=n1 NumCPUs=4"',
        srun=(
            f"trap 'echo told to end >> {log}; exit 1' TERM\n"
            f"kill -TERM {os.getpid()}\n"
            "sleep 9 > /dev/null & wait"
        ),
        scancel=f'echo "scancel $@" >> {log}',
    )
    with (
        pytest.raises(Stopped, match="stopped by SIGTERM"),
        stop_on_signals(),
        allocate(client, nodes=1, progress=Silent()) as allocation,
    ):
        assert allocation == Allocation("42", ("n1",), 4, ours=True)
        run_step(client, allocation, Step(1, 1, None, ("app",), limit=30))
    assert log.read_text().splitlines()[-2:] == ["told to end", "scancel 42"]


def test_no_nodes_in_time_takes_the_request_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    client = here(
        tmp_path,
        salloc="echo 'salloc: Pending job allocation 43' >&2; exec sleep 600",
        scancel=f'echo "$@" >> {log}',
    )
    with (
        pytest.raises(
            BenchError, match=r"gave no allocation of 2 nodes within 0\.5 s\n    salloc: Pending"
        ) as caught,
        allocate(client, nodes=2, wait=0.5, progress=Silent()),
    ):
        pass
    assert "--salloc-option" in caught.value.hint
    assert log.read_text() == "43\n"


def test_the_present_allocation_is_used_and_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    client = here(
        tmp_path,
        scontrol='test "$2" = hostnames && printf "n1\\nn2\\n" || echo "JobId=9 NodeList=n[1-2] NumCPUs=8"',
        scancel=f'echo "$@" >> {log}',
    )
    inside = Client(environment={**client.environment, "SLURM_JOB_ID": "9"})
    with allocate(inside, nodes=None, progress=Silent()) as allocation:
        assert allocation == Allocation("9", ("n1", "n2"), 4, ours=False)
    with (
        pytest.raises(BenchError, match="--nodes 3 was asked for, but job 9 has 2"),
        allocate(inside, nodes=3, progress=Silent()),
    ):
        pass
    assert not log.exists()


def test_slurm_that_does_not_answer(tmp_path: Path) -> None:
    client = here(
        tmp_path, scontrol="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    )
    inside = Client(environment={**client.environment, "SLURM_JOB_ID": "9"})
    with (
        pytest.raises(
            BenchError, match=r"scontrol --oneliner show job 9 failed with exit code 1\n.*Unable to contact"
        ),
        allocate(inside, nodes=None, progress=Silent()),
    ):
        pass


def test_plain_lines_are_few() -> None:
    said: list[str] = []
    progress = PlainLines(said.append, interval=3600)
    progress.begin("launch", 3)
    for _ in range(3):
        progress.run("x")
    assert said == ["launch: 3 runs"]
    every = PlainLines(said.append, interval=0)
    every.begin("io", 2)
    every.run("first")
    assert said[1:] == ["io: 2 runs", "io: run 1 of 2: first"]


def test_nothing_is_imported_at_start_that_takes_long() -> None:
    import subprocess

    code = (
        "import sys, benchmarks.cli; print([m for m in ('rich', 'subprocess', 'random') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "rich" not in shown
