"""The testbed is taken down whatever happened to it, and nothing else is."""

import os
import pwd
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from beds import CLI, TOP, as_user, assert_gone, output
from steps import wait_until

from slurm.errors import SlurmError
from slurm.testbed import Testbed, down, load, processes, state, teardown
from slurm.testbed.daemons import spawn

# -- down, whatever happened


def test_a_testbed_that_does_not_start_says_why_and_leaves_nothing() -> None:
    bed = Testbed(nodes=1, extra={"SelectType": "select/there_is_none"})
    with pytest.raises(SlurmError) as caught:
        bed.up()
    text = str(caught.value)
    assert text.startswith("the testbed does not start: slurmctld ended at once with exit code 1")
    assert "--- the end of slurmctld.log:" in text
    assert "select/there_is_none" in text
    with pytest.raises(SlurmError, match="this testbed is not up"):
        _ = bed.state


@pytest.mark.parametrize(
    "victims",
    [("slurmctld",), ("slurmd n1",), ("munged",), ("munged", "slurmctld", "slurmd n1", "slurmd n2")],
    ids=" ".join,
)
def test_down_after_daemons_were_killed(victims: tuple[str, ...]) -> None:
    bed = Testbed(nodes=2)
    bed.up()
    record = bed.state
    for victim in victims:
        processes.kill(bed.process(victim))
    bed.down()
    assert_gone(record)


def test_down_ends_steps_whose_slurmd_is_dead(user: pwd.struct_passwd) -> None:
    bed = Testbed(nodes=1)
    bed.up()
    record = bed.state
    output(
        bed.run(
            ["sbatch", "--output=/dev/null", "--wrap", "trap '' TERM; echo > orphaned; sleep 1000"],
            user=user.pw_name,
        )
    )
    wait_until(Path(user.pw_dir, "orphaned").exists)
    processes.kill(bed.process("slurmd n1"))
    pin = processes.network_of(str(bed.directory / "nodes/n1/net"))
    assert pin is not None
    left = processes.find(processes.Marks(Path("/nowhere"), frozenset(), frozenset({pin})))
    assert {"slurmstepd", "sleep"} <= {process.role for process in left}
    bed.down()
    assert not any(processes.is_alive(process) for process in left)
    assert_gone(record)


def test_down_spares_what_only_looks_like_ours() -> None:
    bed = Testbed(nodes=1)
    bed.up()
    # A process with a recorded number but another start, and one whose file name is below our directory.
    lookalike = subprocess.Popen(["sleep", "1000"], env={"SLURM_CONF": f"{bed.directory}/slurm.conf"})
    recorded = state.ProcessId("sleep", lookalike.pid, 1)
    marks = processes.Marks(bed.directory, processes.recorded([recorded]), frozenset())
    assert lookalike.pid not in {process.pid for process in processes.find(marks)}
    bed.down()
    assert lookalike.poll() is None
    lookalike.kill()
    lookalike.wait()


def kill_up(name: str, moment: Callable[[], bool]) -> state.State:
    """Start a testbed by the command, SIGKILL that at a moment, and return the record of what is left."""
    command = subprocess.Popen(
        [*CLI, "up", "--name", name], cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(moment)
    command.send_signal(signal.SIGKILL)
    command.wait()
    return load(name)


def moments(name: str) -> dict[str, Callable[[], bool]]:
    directory = state.directory_of(name)
    return {
        "recorded": (directory / "state.json").exists,
        "munge": (directory / "munge/munge.socket").exists,
        "pinned": (directory / "nodes/n1/net").exists,
        "controller": (directory / "slurmctld/slurmctld.pid").exists,
        "slurmd": (directory / "log/slurmd.n1.log").exists,
    }


@pytest.mark.parametrize("moment", ["recorded", "munge", "pinned", "controller", "slurmd"])
def test_down_after_up_was_killed_half_way(moment: str) -> None:
    name = f"half{os.getpid()}"
    record = kill_up(name, moments(name)[moment])
    usable = teardown.is_usable(name)
    down(name)
    assert not usable
    assert_gone(record)


@pytest.mark.parametrize("same", [True, False], ids=["same-name", "other-name"])
def test_up_clears_away_what_a_killed_up_left(same: bool) -> None:
    name = f"half{os.getpid()}"
    record = kill_up(name, moments(name)["pinned"])
    with Testbed(nodes=1, name=name if same else None) as bed:
        assert output(bed.run(["srun", "hostname"])) == ["n1"]
        assert same or not state.directory_of(name).exists()
        assert not any(processes.is_alive(process) for process in record.processes)
        record = bed.state
    assert_gone(record)


def test_up_clears_away_what_another_boot_left() -> None:
    name = f"boot{os.getpid()}"
    directory = state.directory_of(name)
    with Testbed(nodes=1) as bed:
        # The same processes and addresses as those of a testbed that is up: they must not be touched.
        directory.mkdir()
        state.save(replace(bed.state, name=name, boot_id="another"))
        with Testbed(nodes=1):
            assert not directory.exists()
        assert output(bed.run(["srun", "hostname"])) == ["n1"]


def test_several_ups_at_once_take_what_is_theirs() -> None:
    ups = [
        subprocess.Popen([*CLI, "up", "--nodes", "1"], cwd=TOP, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    texts = [up.communicate(timeout=60)[0] for up in ups]
    started = [text.split()[2] for text in texts if " is up: 1 nodes" in text]
    records = [load(name) for name in started]
    for name in started:
        down(name)
    assert len(set(started)) == 3
    assert len({record.index for record in records}) == 3
    assert len({record.port for record in records}) == 3


def test_only_root_takes_a_testbed_down(testbed: Testbed, user: pwd.struct_passwd) -> None:
    text, hint = as_user(user, lambda: down(testbed.name))
    assert text == f"the testbed {testbed.name} is root's, not user {user.pw_uid}'s"
    assert hint == "use sudo"
    assert output(testbed.run(["srun", "hostname"])) == ["n1"]


def test_down_without_a_record_finds_daemons_and_cables_by_their_marks() -> None:
    bed = Testbed(nodes=1)
    bed.up()
    record = bed.state
    (bed.directory / "state.json").write_text("{")
    bed.down()
    assert_gone(record)


def test_down_spares_a_testbed_of_the_same_name_in_another_root(testbed: Testbed, shared_path: Path) -> None:
    # A container that shares network and processes with the host, but has a /var/lib of its own.
    inside = f"mount --bind {shared_path} /var/lib && cd {TOP} && exec {{}}"
    command = " ".join([*CLI[:3], "testbed"])
    script = f"{command} up --nodes 1 --name {testbed.name} && {command} down --name {testbed.name}"
    argv = ["unshare", "--mount", "sh", "-c", inside.format(f"sh -c '{script}'")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert f"The testbed {testbed.name} is gone." in output(done)
    assert set(output(testbed.run(["srun", "-N2", "hostname"]))) == {"n1", "n2"}


def test_a_process_started_but_not_yet_recorded_is_found(tmp_path: Path) -> None:
    process = spawn(["sleep", "1000"], tmp_path, tmp_path / "log")
    found = processes.find(processes.Marks(tmp_path, frozenset(), frozenset()))
    assert [one.pid for one in found] == [process.pid]
    assert processes.kill_all(processes.Marks(tmp_path, frozenset(), frozenset())) == 1
    process.wait()
