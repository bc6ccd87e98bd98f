"""srun's arguments, and what becomes of runs that fail, hang or are stopped."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.progress import PlainLines, Silent
from benchmarks.runner import (
    Allocation,
    Client,
    Step,
    Stopped,
    allocate,
    run_step,
    srun_command,
    stop_on_signals,
)

ALLOCATION = Allocation(job_id="7", nodes=("n1", "n2"), cpus_per_node=4, ours=False)


def here(directory: Path, **programs: str) -> Client:
    """A client whose PATH has only these programs (shell scripts): stands for a Slurm that answers so."""
    for name, script in programs.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return Client(environment={"PATH": f"{directory}:/usr/bin:/bin"})


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
    assert srun_command(ALLOCATION, replace(step, directory="/w"))[-4:] == (
        *("--mpi=pmi2", "--chdir=/w", "/bin/true", "x"),
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


def test_a_run_that_loses_a_node_has_failed_whatever_srun_ends_with(tmp_path: Path) -> None:
    client = here(tmp_path, srun="echo 1.25; echo 'srun: error: Node failure on n2' >&2")
    with pytest.raises(BenchError) as caught:
        run_step(client, ALLOCATION, Step(2, 2, None, ("app",), limit=30))
    assert str(caught.value) == (
        "app bare (2 ranks on 2 nodes) lost a node\n    1.25\n    srun: error: Node failure on n2"
    )


def test_a_step_has_variables_and_a_title_of_its_own(tmp_path: Path) -> None:
    client = here(tmp_path, srun='test "$OWN" = 1 || exit 4; echo said >&2')
    step = Step(1, 1, None, ("app",), limit=30, variables=(("OWN", "1"),), title="app by peer")
    assert run_step(client, ALLOCATION, step).stderr == "said\n"
    with pytest.raises(BenchError, match=r"^app by peer \(1 rank on 1 node\) failed with exit code 4"):
        run_step(client, ALLOCATION, replace(step, variables=()))


def test_a_step_without_slurm_runs_where_it_is_told_to(tmp_path: Path) -> None:
    """The client's directory is that of the results, a user's program runs where the user is."""
    there = tmp_path / "there"
    there.mkdir()
    client = replace(here(tmp_path), directory="/", bareboat=str(tmp_path / "bareboat"))
    here(tmp_path, bareboat='shift 3\nexec "$@"')
    alone = replace(ALLOCATION, launcher=())
    for image in (None, "/images/a"):
        step = Step(1, 1, image, ("pwd",), limit=30)
        assert run_step(client, alone, step).stdout == "/\n"
        assert run_step(client, alone, replace(step, directory=str(there))).stdout == f"{there}\n"


def test_several_ranks_that_nothing_starts_are_refused() -> None:
    step = Step(1, 4, None, ("app",), limit=30)
    with pytest.raises(BenchError, match=r"^app bare \(4 ranks on 1 node\) was not started: ") as caught:
        run_step(Client({}), replace(ALLOCATION, launcher=()), step)
    assert str(caught.value).endswith("there is neither Slurm nor an mpiexec")
    assert caught.value.hint == "install the host's MPI with its mpiexec, or measure one rank: --ranks 1"


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
    assert re.fullmatch(r"--name=bareboat-bench-[0-9a-f]{8}\n", log.read_text())


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
        pytest.raises(BenchError, match="3 nodes are needed, but job 9 has 2"),
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


def test_a_signal_without_a_name(tmp_path: Path) -> None:
    client = here(tmp_path, srun="kill -40 $$")
    with pytest.raises(BenchError, match=r"^app bare \(1 rank on 1 node\) failed with signal 40$"):
        run_step(client, ALLOCATION, Step(1, 1, None, ("app",), limit=30))


def test_nothing_is_imported_at_start_that_takes_long() -> None:
    import subprocess

    code = (
        "import sys, benchmarks.cli; print([m for m in ('rich', 'subprocess', 'random') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "rich" not in shown
