"""`srun --container=IMG app` on a real Slurm of two nodes: the main job, and what stays Slurm's."""

from __future__ import annotations

import os
import pty
import pwd
import re
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from steps import HELLO, LATENCY, Srun, good

from slurm.testbed import Testbed

# -- the main job


def test_ranks_on_two_nodes_call_the_hosts_mpi(srun: Srun, mpich: Path) -> None:
    lines = good(srun("-N2", "-n4", "--ntasks-per-node=2", f"--container={mpich}", HELLO))
    found = sorted(re.findall(r"rank (\d) of 4 on (n[12]) library MPICH Version: 4\.0\.2", "\n".join(lines)))
    assert found == [("0", "n1"), ("1", "n1"), ("2", "n2"), ("3", "n2")]


def test_the_images_own_mpi_when_asked_for(srun: Srun, mpich: Path) -> None:
    lines = good(srun("-N2", "-n4", f"--container={mpich}", HELLO, BAREBOAT_MPI="image"))
    assert len(lines) == 4
    assert all(
        re.fullmatch(r"rank \d of 4 on n[12] library MPICH Version:\s+4\.2\.1", line) for line in lines
    )


def test_the_ranks_of_a_node_share_their_namespaces(srun: Srun, mpich: Path) -> None:
    script = "echo $(hostname) $(readlink /proc/self/ns/user) $(readlink /proc/self/ns/mnt)"
    lines = good(srun("-N2", "-n6", "--ntasks-per-node=3", f"--container={mpich}", "sh", "-c", script))
    outside = good(srun("-N2", "-n2", "sh", "-c", script))
    assert len(lines) == 6
    assert len(set(lines)) == 2
    assert not {line.split()[1] for line in lines} & {line.split()[1] for line in outside}


def test_ranks_of_a_node_read_each_others_memory(srun: Srun, mpich: Path) -> None:
    lines = good(srun("-N1", "-n3", f"--container={mpich}", HELLO, "--cma"))
    assert [line for line in lines if "cma" in line] == [line for line in lines if "cma ok" in line] != []


def test_bytes_between_nodes_cross_the_cable(cluster: Testbed, srun: Srun, mpich: Path) -> None:
    payload = 1 << 20
    rounds = 20
    before = cluster.counters("n1")
    command = (LATENCY, "latency", "-m", f"{payload}:{payload}", "-i", rounds)
    # Debian 12's MPICH can hang in MPI_Finalize after rendezvous messages over TCP, bare as well.
    good(srun("-N2", "-n2", f"--container={mpich}", *command, UCX_RNDV_THRESH="inf"))
    after = cluster.counters("n1")
    assert after.sent_bytes - before.sent_bytes > payload * rounds
    assert after.received_bytes - before.received_bytes > payload * rounds


def test_the_same_with_open_mpi_and_pmix(srun: Srun, image: Callable[[str], Path]) -> None:
    directory = image("deb13-openmpi")
    arguments = ("--mpi=pmix", "-N2", "-n4", "--ntasks-per-node=2", f"--container={directory}")
    lines = good(srun(*arguments, HELLO))
    found = sorted(re.findall(r"rank (\d) of 4 on (n[12]) library Open MPI v4\.1\.4", "\n".join(lines)))
    assert found == [("0", "n1"), ("1", "n1"), ("2", "n2"), ("3", "n2")]
    assert "cma ok" in "\n".join(
        good(srun("--mpi=pmix", "-N1", "-n2", f"--container={directory}", HELLO, "--cma"))
    )


def test_open_mpi_of_the_image_speaks_pmix_with_slurm(srun: Srun, image: Callable[[str], Path]) -> None:
    directory = image("deb13-openmpi")
    result = srun("--mpi=pmix", "-N2", "-n2", f"--container={directory}", HELLO, BAREBOAT_MPI="image")
    lines = [line for line in result.stdout.splitlines() if line.startswith("rank")]
    assert len(lines) == 2
    assert all("of 2" in line and "library Open MPI v5.0" in line for line in lines)


@pytest.mark.parametrize("mpi_type", ["pmix", "none"])
def test_ranks_that_would_start_alone_do_not_start(srun: Srun, mpich: Path, mpi_type: str) -> None:
    result = srun(f"--mpi={mpi_type}", "-N2", "-n2", f"--container={mpich}", HELLO)
    assert (result.returncode, result.stdout) == (125, "")
    said = (
        rf"^bareboat: n[12]: {{}}: under --mpi={mpi_type}\S*, each of the 2 ranks of MPICH 4\.0\.2 "
        r"starts alone, as rank 0 of 1"
    )
    assert re.search(said.format("error") + "$", result.stderr, re.MULTILINE)
    assert re.search(
        r"hint: use srun --mpi=pmi2; BAREBOAT_MPI=force starts them all the same$",
        result.stderr,
        re.MULTILINE,
    )
    # A program without MPI does not mind.
    assert good(srun(f"--mpi={mpi_type}", "-n2", f"--container={mpich}", "true")) == []
    # A kept plan is not one for every type.
    assert len(good(srun("-N2", "-n2", f"--container={mpich}", HELLO))) == 2
    again = srun(f"--mpi={mpi_type}", "-N2", "-n2", f"--container={mpich}", HELLO)
    assert again.returncode == 125
    forced = srun(f"--mpi={mpi_type}", "-N2", "-n2", f"--container={mpich}", HELLO, BAREBOAT_MPI="force")
    assert re.findall(r"rank (\d) of (\d)", forced.stdout) == [("0", "1")] * 2
    assert re.search(said.format("warning") + "; use srun --mpi=pmi2;", forced.stderr, re.MULTILINE)


# -- what stays Slurm's


def test_exit_codes_are_the_programs(srun: Srun, plain: Path) -> None:
    assert srun(f"--container={plain}", "sh", "-c", "exit 42").returncode == 42
    assert srun(f"--container={plain}", "true").returncode == 0


def test_signals_are_the_programs(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "sh", "-c", "kill -USR1 $$")
    assert result.returncode == 128 + signal.SIGUSR1
    assert "User defined signal 1" in result.stderr


def test_standard_input_and_labels(srun: Srun, plain: Path) -> None:
    lines = good(srun("-n2", "--label", f"--container={plain}", "cat", input="from outside\n"))
    assert sorted(lines) == ["0: from outside", "1: from outside"]


def test_multi_prog(srun: Srun, plain: Path, user: pwd.struct_passwd) -> None:
    Path(user.pw_dir, "multi.conf").write_text("0 /bin/echo first\n1-2 /bin/echo other %t\n")
    lines = good(srun("-n3", "--multi-prog", f"--container={plain}", "multi.conf"))
    assert sorted(lines) == ["first", "other 1", "other 2"]


def test_a_terminal(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    main, side = pty.openpty()
    try:
        process = subprocess.Popen(
            ["srun", "--pty", f"--container={plain}", "sh", "-c", "tty; cat /etc/debian_version"],
            stdin=side,
            stdout=side,
            stderr=side,
            user=user.pw_uid,
            group=user.pw_gid,
            cwd=user.pw_dir,
            env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
        )
        os.close(side)
        assert process.wait(timeout=60) == 0
        text = b""
        while select.select([main], [], [], 0.5)[0]:
            try:
                text += os.read(main, 4096)
            except OSError:
                break
    finally:
        os.close(main)
    assert re.match(rb"/dev/pts/\d+\r\n13\.", text)


def test_a_step_without_the_flag_is_outside(srun: Srun) -> None:
    host = Path("/etc/debian_version").read_text().strip()
    assert good(srun("cat", "/etc/debian_version")) == [host]
    assert good(srun("cat", "/etc/debian_version", SLURM_CONTAINER="/left/behind")) == [host]


def test_no_variables_but_slurms(srun: Srun, plain: Path) -> None:
    result = srun(
        "--export=NONE", f"--container={plain}", "sh", "-c", "echo [$MINE]; cat /etc/debian_version", MINE="x"
    )
    lines = good(result)
    assert lines[0] == "[]"
    assert lines[1].startswith("13.")


def test_no_new_privileges(srun: Srun, plain: Path) -> None:
    assert good(srun(f"--container={plain}", "grep", "NoNewPrivs", "/proc/self/status")) == ["NoNewPrivs:\t1"]
