"""What launcher.check says of real processes in real namespaces, without Slurm."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.program import Operation, Verb, encode

SLEEP = "/usr/bin/sleep"
STEPD = "/usr/bin/python3"
TOP = Path(__file__).parents[2]
RUN = "import os, sys; os.dup2(50, 3); from launcher.check import main; main(sys.argv[1:])"


@pytest.fixture
def start(user: pwd.struct_passwd) -> Iterator[Callable[..., int]]:
    """Starts a process as the user, behind a wrapper perhaps, and gives its pid once it sleeps."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*wrapper: str, script: str = "exec sleep 100", **environment: str) -> int:
        line = f"echo ready; {script}"
        process = subprocess.Popen(
            [*wrapper, "sh", "-c", line],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", **environment},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while Path(f"/proc/{process.pid}/exe").readlink() != Path(SLEEP):
            assert process.poll() is None
        return process.pid

    yield run
    for process in started:
        process.kill()
        process.communicate()


def look(user: pwd.struct_passwd, pids: list[int], *binds: tuple[str, str], ranks: int = 0) -> list[str]:
    """The lines about these processes; the container is the one of the first."""
    root, users = Path("/").stat(), Path(f"/proc/{pids[0]}/ns/user").stat()
    stepd = Path(STEPD).stat()
    numbers = (root.st_dev, root.st_ino, users.st_ino, stepd.st_dev, stepd.st_ino, ranks or len(pids))
    program = os.memfd_create("program")
    mounts = [Operation(Verb.BIND, (source, target, "ro")) for source, target in binds]
    os.write(program, encode([Operation(Verb.ROOT_DIR, ("/",)), *mounts]))
    os.dup2(program, 50, inheritable=True)
    try:
        done = subprocess.run(
            # Descriptor 3 may be anything of pytest's here.
            [
                sys.executable,
                "-c",
                RUN,
                *map(str, numbers),
            ],
            input="".join(f"{rank} {pid}\n" for rank, pid in enumerate(pids)),
            capture_output=True,
            text=True,
            env={"SLURMD_NODENAME": "n1", "PATH": "/usr/bin:/bin"},
            pass_fds=(50,),
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd=TOP,
            timeout=60,
            check=False,
        )
    finally:
        os.close(program)
        os.close(50)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr
    return done.stderr.splitlines()


def values(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", line))


def test_two_processes_that_share_everything(start: Callable[..., int], user: pwd.struct_passwd) -> None:
    lines = look(user, [start(), start()])
    assert len(lines) == 2
    digest = hashlib.sha256(Path(SLEEP).read_bytes()).hexdigest()[:12]
    for rank, line in enumerate(lines):
        assert line.startswith(f"bareboat: n1: check: rank {rank}: tasks=2 ")
        found = values(line)
        assert (found["root"], found["userns"], found["netns"]) == ("container", "shared", "job")
        assert (found["shm"], found["cma"], found["mpi"]) == ("host,writable", "works", "none")
        assert found["program"] == f"{SLEEP}:{digest}"


def warnings(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line.startswith("bareboat: n1: warning: check: "))


def test_a_user_namespace_of_its_own_costs_cma(start: Callable[..., int], user: pwd.struct_passwd) -> None:
    lines = look(user, [start("unshare", "-U"), start("unshare", "-U")])
    found = [values(line) for line in lines if ": check: rank" in line and "warning" not in line]
    assert [one["userns"] for one in found] == ["shared", "own"]
    # Each has the other's memory in another user namespace.
    assert [one["cma"] for one in found] == ["EPERM", "EPERM"]
    text = warnings(lines)
    assert "rank 0: it cannot read another rank's memory (EPERM), which works outside" in text
    assert "rank 1: it has a user namespace of its own" in text


def test_another_network_and_root(start: Callable[..., int], user: pwd.struct_passwd) -> None:
    lines = look(user, [start(), start("unshare", "-rn")])
    text = warnings(lines)
    assert "rank 1: its network namespace is not the job's" in text
    assert values(lines[1])["netns"] == "other"


@pytest.mark.parametrize(
    ("change", "shm", "said"),
    [
        ("mount -t tmpfs none /dev/shm", "other,writable", "its /dev/shm is not the host's"),
        ("mount -t tmpfs -o ro none /dev/shm", "other,EROFS", "it cannot write to /dev/shm (EROFS)"),
        ("mount -t tmpfs none /dev", "missing", "its /dev/shm is missing"),
    ],
)
def test_another_shared_memory(
    start: Callable[..., int], user: pwd.struct_passwd, change: str, shm: str, said: str
) -> None:
    pid = start("unshare", "-rm", script=f"{change}; exec sleep 100")
    lines = look(user, [pid])
    assert values(lines[0])["shm"] == shm
    assert values(lines[0])["cma"] == "alone"
    assert said in warnings(lines)


def test_whose_mpi_it_is(start: Callable[..., int], user: pwd.struct_passwd, shared_path: Path) -> None:
    (found,) = Path("/usr/lib").glob("*-linux-*/libmpich.so.12")
    library = str(found.resolve())
    pid = start(LD_PRELOAD=library)
    assert values(look(user, [pid])[0])["mpi"] == f"image:{library}"
    lines = look(user, [pid], (library, library))
    assert values(lines[0])["mpi"] == f"host:{library}"
    assert warnings(lines) == ""
    other = shared_path / "libmpich.so.12"
    other.symlink_to("/usr/bin/true")
    lines = look(user, [pid], (str(other), "/opt/libmpich.so.12"))
    assert values(lines[0])["mpi"] == f"image:{library}"
    assert f"rank 0: it runs with the MPI {library}, and not with the host's as planned" in warnings(lines)
    assert values(look(user, [pid], ("/usr", "/usr"))[0])["mpi"] == f"mount:{library}"


def test_a_rank_that_has_ended(start: Callable[..., int], user: pwd.struct_passwd) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    lines = look(user, [start(), gone.pid])
    assert "bareboat: n1: check: rank 1: tasks=2 unseen=ended it ended before it could be looked at" in lines
    assert [values(line)["cma"] for line in lines if "rank 0" in line] == ["unknown"]


def test_a_program_that_cannot_be_read(user: pwd.struct_passwd, shared_path: Path) -> None:
    """It is not dumpable (execve(2)), as are ranks that have not executed their program yet."""
    hidden = shared_path / "hidden"
    hidden.write_bytes(Path(SLEEP).read_bytes())
    hidden.chmod(0o111)
    with subprocess.Popen([hidden, "100"], user=user.pw_uid, group=user.pw_gid) as process:
        try:
            (line,) = look(user, [process.pid])
        finally:
            process.kill()
    assert "check: rank 0: tasks=1 unseen=denied its program does not let itself be looked at" in line


def test_ranks_beyond_the_limit_are_counted(start: Callable[..., int], user: pwd.struct_passwd) -> None:
    lines = look(user, [start()], ranks=45)
    assert lines[-1] == "bareboat: n1: check: 44 more ranks of this node were not looked at"
