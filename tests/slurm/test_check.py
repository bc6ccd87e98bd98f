"""BAREBOAT_CHECK=1: a report a rank, measured on the running program, and a comparison of the nodes."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from steps import HELLO, Run, Srun, good, wait_until

from slurm.testbed import Testbed

LINE = re.compile(
    r"bareboat: (n\d): check: rank (\d+): tasks=(\d+) root=(\S+) userns=(\S+) netns=(\S+) shm=(\S+) "
    r"cma=(\S+) mpi=(\S+) program=(\S+) plan=(\S+)"
)
MOUNT_OVER_ROOT = """
import ctypes, os, sys
library = ctypes.CDLL(None)
files = [os.open(f"/proc/{sys.argv[1]}/ns/{name}", os.O_RDONLY) for name in ("user", "mnt")]
assert not any(library.setns(file, 0) for file in files)
assert not library.mount(b"none", b"/", b"tmpfs", 0, None)
"""
SAME = "same program and same plan on all nodes"


def reports(result: Run) -> dict[int, dict[str, str]]:
    """What each rank's line says."""
    keys = ("node", "rank", "tasks", "root", "userns", "netns", "shm", "cma", "mpi", "program", "plan")
    found = [dict(zip(keys, match, strict=True)) for match in LINE.findall(result.stderr)]
    assert len({one["rank"] for one in found}) == len(found), result.stderr
    return {int(one["rank"]): one for one in found}


def summary(result: Run) -> str:
    """The last word, which compares the nodes."""
    return result.stderr.splitlines()[-1]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.fixture
def check(srun: Srun) -> Srun:
    def run(*arguments: object, **more: str) -> Run:
        return srun(*arguments, BAREBOAT_CHECK="1", **more)

    return run


FOUR = ("-N2", "-n4", "--ntasks-per-node=2")


def test_four_ranks_of_the_hosts_mpich(check: Srun, mpich: Path) -> None:
    result = check(*FOUR, f"--container={mpich}", HELLO)
    assert result.returncode == 0
    assert len(re.findall(r"rank \d of 4 on n[12] library MPICH Version: 4\.0\.2", result.stdout)) == 4
    assert "bareboat" not in result.stdout
    found = reports(result)
    assert {rank: one["node"] for rank, one in found.items()} == {0: "n1", 1: "n1", 2: "n2", 3: "n2"}
    for one in found.values():
        assert one["tasks"] == "4"
        assert (one["root"], one["userns"], one["netns"]) == ("container", "shared", "job")
        assert (one["shm"], one["cma"]) == ("host,writable", "works")
        assert re.fullmatch(r"host:/\S+/libmpich\.so\.12\S*", one["mpi"])
        assert one["program"] == f"{HELLO}:{digest(mpich / HELLO[1:])}"
        assert re.fullmatch(r"[0-9a-f]{12}", one["plan"])
    assert len({one["plan"] for one in found.values()}) == 1
    assert summary(result) == f"bareboat: check: 4 ranks on 2 nodes: {SAME}"
    assert "warning" not in result.stderr


def test_four_ranks_of_open_mpi(check: Srun, image: Callable[[str], Path]) -> None:
    directory = image("deb13-openmpi")
    result = check("--mpi=pmix", *FOUR, f"--container={directory}", HELLO)
    assert len(re.findall(r"library Open MPI v4\.1\.4", result.stdout)) == 4
    found = reports(result)
    assert sorted(found) == [0, 1, 2, 3]
    assert all(re.fullmatch(r"host:/\S+/libmpi\.so\.40\S*", one["mpi"]) for one in found.values())
    assert {one["cma"] for one in found.values()} == {"works"}
    assert summary(result) == f"bareboat: check: 4 ranks on 2 nodes: {SAME}"


def test_the_images_own_mpi_is_told_from_the_hosts(check: Srun, mpich: Path) -> None:
    result = check(*FOUR, f"--container={mpich}", HELLO, BAREBOAT_MPI="image")
    found = reports(result)
    assert sorted(found) == [0, 1, 2, 3]
    assert all(re.fullmatch(r"image:/\S+/libmpich\.so\.12\S*", one["mpi"]) for one in found.values())
    assert "warning" not in result.stderr


def test_without_mpi_and_alone(check: Srun, plain: Path) -> None:
    result = check("-n1", f"--container={plain}", "sleep", "1")
    assert (result.returncode, result.stdout) == (0, "")
    (one,) = reports(result).values()
    assert (one["mpi"], one["cma"], one["root"]) == ("none", "alone", "container")
    assert one["program"].startswith("/usr/bin/sleep:")
    assert summary(result) == f"bareboat: check: 1 rank on 1 node: {SAME}"


@pytest.fixture
def own_images(cluster: Testbed, tiny: Path) -> Iterator[Callable[[str], str]]:
    """Copies of the tiny image at one path of each node's own /tmp; n2's is changed by a shell line."""
    name = f"/tmp/bareboat-check-{os.getpid()}"

    def make(change: str) -> str:
        for node in ("n1", "n2"):
            assert cluster.enter(node, ["cp", "-a", str(tiny), name]).returncode == 0
        assert cluster.enter("n2", ["sh", "-c", f"cd {name} && {change}"]).returncode == 0
        return name

    yield make
    for node in ("n1", "n2"):
        assert cluster.enter(node, ["rm", "-r", name]).returncode == 0


def test_a_program_that_differs_between_nodes(
    check: Srun, own_images: Callable[[str], str], tiny: Path
) -> None:
    name = own_images("echo another build >> bin/busybox")
    result = check(*FOUR, f"--container={name}", "sleep", "2", BAREBOAT_WITHOUT="tmp")
    assert (result.returncode, result.stdout) == (0, "")
    found = reports(result)
    first, other = found[0]["program"], found[2]["program"]
    assert first == f"/bin/busybox:{digest(tiny / 'bin/busybox')}" != other
    assert (first, other) == (found[1]["program"], found[3]["program"])
    assert summary(result) == (
        f"bareboat: warning: check: 4 ranks on 2 nodes: the program differs between nodes: {first} on n1, "
        f"{other} on n2; results may be wrong or ranks may hang; put the same image on every node"
    )


def test_a_plan_that_differs_between_nodes(check: Srun, own_images: Callable[[str], str]) -> None:
    name = own_images("mkdir etc && echo other:x:4242:4242:::/bin/sh > etc/passwd")
    result = check(*FOUR, f"--container={name}", "sleep", "2", BAREBOAT_WITHOUT="tmp")
    found = reports(result)
    assert found[0]["plan"] == found[1]["plan"] != found[2]["plan"] == found[3]["plan"]
    assert len({one["program"] for one in found.values()}) == 1
    assert summary(result) == (
        f"bareboat: warning: check: 4 ranks on 2 nodes: the plan differs between nodes: "
        f"{found[0]['plan']} on n1, {found[2]['plan']} on n2; their images, host libraries or configurations "
        "differ; compare what `bareboat plan IMG -- app` prints on them"
    )


def test_a_program_that_ends_at_once(check: Srun, plain: Path) -> None:
    """Whether somebody is quick enough to see it or not, the exit code stays, and the last line counts."""
    result = check(*FOUR, f"--container={plain}", "sh", "-c", "exit 3")
    assert result.returncode == 3
    unseen = re.findall(
        r"check: rank \d: tasks=4 unseen=ended it ended before it could be looked at\n", result.stderr
    )
    assert len(unseen) + len(reports(result)) <= 4
    assert re.fullmatch(
        r"bareboat: check: (4 ranks on|[1-3] of 4 ranks on|none of 4 ranks could|no rank's line came here).*",
        summary(result),
    )


def _processes(user: pwd.struct_passwd, word: str) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-u", user.pw_name, "-f", word], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


def start(cluster: Testbed, user: pwd.struct_passwd, *arguments: str, **more: str) -> subprocess.Popen[str]:
    variables = {"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, "BAREBOAT_CHECK": "1", **more}
    return subprocess.Popen(
        ["srun", *arguments],
        user=user.pw_uid,
        group=user.pw_gid,
        cwd=user.pw_dir,
        env={**variables, **cluster.environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_rank_that_is_killed_meanwhile(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    process = start(cluster, user, "-N1", "-n2", f"--container={plain}", "sleep", "7.75")
    wait_until(lambda: len(_processes(user, r"^\S*sleep 7\.75$")) == 2)
    os.kill(_processes(user, r"^\S*sleep 7\.75$")[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert "Traceback" not in errors
    assert re.search(r"bareboat: check: ([12] of )?2 ranks", errors)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_checker_that_dies_or_hangs_is_no_matter(
    cluster: Testbed, mpich: Path, user: pwd.struct_passwd, number: signal.Signals
) -> None:
    """In an image whose MPI the program could still load, the checker waits for that."""
    process = start(cluster, user, "-N1", "-n2", f"--container={mpich}", "sh", "-c", "sleep 4; exit 5")
    wait_until(lambda: bool(_processes(user, "launcher.check")))
    os.kill(_processes(user, "launcher.check")[0], number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("bareboat: check: ")
    wait_until(lambda: not _processes(user, "launcher.check"))


def test_a_step_that_is_cancelled_takes_the_checker_along(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    process = start(cluster, user, "-N2", "-n4", "--job-name=checked", f"--container={plain}", "sleep", "300")
    wait_until(lambda: len(_processes(user, r"^\S*sleep 300$")) == 4)
    cluster.run(["scancel", "--name=checked", "--user", user.pw_name])
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    wait_until(lambda: not _processes(user, r"launcher\.(check|compare)"))


def test_a_step_can_be_cancelled_before_there_is_anything_to_check(
    cluster: Testbed, plain: Path, user: pwd.struct_passwd
) -> None:
    """The helper holds the first rank's standard error while it plans, for which srun must not wait."""
    fifo = Path(user.pw_dir, "hangs.toml")
    os.mkfifo(fifo, 0o644)
    arguments = ("-N1", "-n2", "--job-name=checked", f"--container={plain}", "true")
    process = start(cluster, user, *arguments, BAREBOAT_CONFIG=str(fifo))
    wait_until(lambda: bool(_processes(user, "launcher.step")))
    cluster.run(["scancel", "--name=checked", "--user", user.pw_name])
    wait_until(lambda: not _processes(user, "slurmstepd"))
    wait_until(lambda: not _processes(user, "launcher.step"))
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM


def test_without_its_python_no_output_is_lost(check: Srun, srun: Srun, prefix: Path, plain: Path) -> None:
    arguments = ("-w", "n1", "-n1", f"--container={plain}", "sh", "-c", "echo out; echo err >&2")
    assert srun(*arguments).stderr == "err\n"
    python = prefix / "venv/bin/python"
    python.rename(python.with_name("moved"))
    try:
        result = check(*arguments)
    finally:
        python.with_name("moved").rename(python)
    assert (result.returncode, result.stdout) == (0, "out\n")
    assert result.stderr == "err\n"


def test_an_interrupt_is_sruns(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    """As from a terminal, to all processes in front; the last line still comes."""
    process = start(cluster, user, "-N1", "-n2", f"--container={plain}", "sleep", "301")
    wait_until(lambda: len(_processes(user, r"^\S*sleep 301$")) == 2)
    for _ in range(60):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
        if process.poll() is not None:
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors.splitlines()[-1].startswith("bareboat: check: ")


def test_in_a_terminal(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    done = cluster.run(
        ["script", "-qec", f"srun --pty --container={plain} sh -c 'tty; sleep 1'", "/dev/null"],
        user=user.pw_name,
        environment={"BAREBOAT_CHECK": "1"},
    )
    assert done.returncode == 0
    assert re.search(r"/dev/pts/\d+\r?\n", done.stdout)
    assert LINE.search(done.stdout)
    assert "no rank's line came here" in done.stdout


def test_several_programs(check: Srun, plain: Path, user: pwd.struct_passwd) -> None:
    Path(user.pw_dir, "multi.conf").write_text("0,2 /usr/bin/sleep 1\n1,3 /usr/bin/env sleep 1\n")
    result = check(*FOUR, "--multi-prog", f"--container={plain}", "multi.conf")
    assert result.returncode == 0
    programs = {rank: one["program"].partition(":")[0] for rank, one in reports(result).items()}
    # env(1) executes the program that it is given; what is told is what runs in the end.
    assert programs == dict.fromkeys(range(4), "/usr/bin/sleep")
    assert summary(result) == (
        "bareboat: check: 4 ranks on 2 nodes: each program is the same file on all nodes"
    )


def test_output_and_labels_stay_as_they_are(check: Srun, srun: Srun, plain: Path) -> None:
    command = ("-n2", "--label", f"--container={plain}", "sh", "-c", "cat; echo to stderr >&2; sleep 1")
    plainly, checked = srun(*command, input="in\n"), check(*command, input="in\n")
    assert plainly.returncode == checked.returncode == 0
    assert sorted(plainly.stdout.splitlines()) == sorted(checked.stdout.splitlines()) == ["0: in", "1: in"]
    others = [line for line in checked.stderr.splitlines() if "bareboat: " not in line]
    assert sorted(others) == sorted(plainly.stderr.splitlines()) == ["0: to stderr", "1: to stderr"]
    assert summary(checked) == f"bareboat: check: 2 ranks on 1 node: {SAME}"


def test_lines_in_a_file_are_not_compared(check: Srun, plain: Path, user: pwd.struct_passwd) -> None:
    result = check("-n1", "--error=err.txt", f"--container={plain}", "sleep", "1")
    assert result.stderr == (
        "bareboat: check: no rank's line came here, so nothing was compared: the step did not start, its "
        "ranks ended too soon, or -e, -o or --pty leads their standard error elsewhere\n"
    )
    assert LINE.match(Path(user.pw_dir, "err.txt").read_text())


def test_a_step_of_a_batch_script(cluster: Testbed, plain: Path, user: pwd.struct_passwd) -> None:
    script = f"#!/bin/sh\nsrun -N2 -n2 --container={plain} sleep 1\n"
    command = ["sbatch", "--wait", "-N2", "--output=batch.out"]
    done = cluster.run(command, user=user.pw_name, input=script, environment={"BAREBOAT_CHECK": "1"})
    assert done.returncode == 0
    lines = Path(user.pw_dir, "batch.out").read_text().splitlines()
    assert [bool(LINE.fullmatch(line)) for line in lines] == [True, True, False]
    assert lines[-1] == f"bareboat: check: 2 ranks on 2 nodes: {SAME}"


@pytest.mark.parametrize("value", ["", "0"])
def test_it_can_be_off(srun: Srun, plain: Path, value: str) -> None:
    assert good(srun(f"--container={plain}", "true", BAREBOAT_CHECK=value)) == []


def test_another_value_is_refused(srun: Srun, plain: Path) -> None:
    result = srun(f"--container={plain}", "true", BAREBOAT_CHECK="yes")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "bareboat: error: BAREBOAT_CHECK is 'yes', which says neither yes nor no; set it to 1 or 0\n"
    )
    # Without a container, it is nothing of ours.
    assert good(srun("true", BAREBOAT_CHECK="yes")) == []


def test_the_cache_serves_checked_and_traced_launches_alike(
    srun: Srun, cluster: Testbed, mpich: Path
) -> None:
    cluster.enter("n1", ["sh", "-c", "rm -rf /run/bareboat/*/*"])
    arguments = ("-w", "n1", f"--container={mpich}", HELLO)
    assert srun(*arguments).returncode == 0
    traced = srun(*arguments, BAREBOAT_TRACE="1", BAREBOAT_CHECK="1")
    assert "trace: entered by the cache in" in traced.stderr
    assert "trace: entered by the cache in" in srun(*arguments, BAREBOAT_TRACE="1").stderr


def test_a_rank_refuses_another_root(cluster: Testbed, tiny: Path, user: pwd.struct_passwd) -> None:
    """Between the making of the container and the second rank's join, its owner mounts over the root."""
    prolog = Path(user.pw_dir, "prolog.sh")
    prolog.write_text(
        f"#!/bin/sh\n[ $SLURM_PROCID = 0 ] || while [ ! -e {user.pw_dir}/go ]; do sleep 0.1; done\n"
    )
    prolog.chmod(0o755)
    arguments = (
        "-N1",
        "-n2",
        "--kill-on-bad-exit=1",
        f"--task-prolog={prolog}",
        f"--container={tiny}",
        "sleep",
        "302",
    )
    process = start(cluster, user, *arguments)
    wait_until(lambda: len(_processes(user, r"^\S*sleep 302$")) == 1)
    (rank,) = _processes(user, r"^\S*sleep 302$")
    done = subprocess.run(
        [sys.executable, "-c", MOUNT_OVER_ROOT, str(rank)],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    Path(user.pw_dir, "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert (
        "bareboat: n1: cannot use the container whose root is not the one that was made for this step: Stale "
        "file handle; a process of this user or of root mounted something over it before this rank joined"
    ) in errors
