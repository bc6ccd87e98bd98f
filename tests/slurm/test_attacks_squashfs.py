"""What users try with a running container of a squashfs image, and with its FUSE server."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from squash import Step, loops, pack, processes_of, servers
from steps import Srun, good, refused, wait_until

from launcher.host import find_libexec
from slurm.testbed import Testbed

EPERM, EACCES = "Operation not permitted", "Permission denied"
FLAGS = ("ro", "nosuid", "nodev")
QUICK = ("-noI", "-noD", "-noF", "-noX")
OPEN_TREE, OPEN_TREE_CLONE = 428, 1

pytestmark = pytest.mark.usefixtures("nodes_stay")


@pytest.fixture
def trusted(whole: Path, place: Path) -> Path:
    return pack(whole, place / "whole.sqsh", *QUICK)


@pytest.fixture
def own(trusted: Path, shared_path: Path, user: pwd.struct_passwd) -> Path:
    """The same file, the user's own."""
    path = Path(shutil.copy(trusted, shared_path / "own.sqsh"))
    os.chown(path, user.pw_uid, user.pw_gid)
    return path


@pytest.fixture
def tried(attack: Path, user: pwd.struct_passwd) -> Callable[..., list[str]]:
    """What the user gets from the attacker's program, outside of any container."""

    def run(*arguments: object, program: Path = attack) -> list[str]:
        argv = [str(program), *map(str, arguments)]
        done = subprocess.run(
            argv,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.splitlines()

    return run


def rank(running: Step) -> int:
    """The pid of a step's one rank."""
    return min(processes_of(running)[0])


def test_the_flags_of_the_sites_images_are_locked(
    step: Callable[..., Step], trusted: Path, user: pwd.struct_passwd, tried: Callable[..., list[str]]
) -> None:
    running = step("-N1", "--chdir=/", f"--container={trusted}")
    running.wait()
    pid = rank(running)
    (line,) = (line for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if " / / " in line)
    assert " - squashfs " in line  # no overlay, whose flags would be the user's
    within = ("within", pid)
    for flag in FLAGS:
        assert tried(*within, "clear", flag, "/") == [f"clear {flag} /: {EPERM}"]
        assert tried(*within, "recast", flag, "/") == [f"recast {flag} /: {EPERM}"]
    assert tried(*within, "remount", "/") == [f"remount /: {EPERM}", f"reconfigure /: {EPERM}"]
    root = f"/proc/{pid}/root"
    assert tried("open", f"{root}/mark", f"{root}/null") == [
        f"open {root}/mark: done",
        f"open {root}/null: {EACCES}",
    ]
    # From outside, where no_new_privs is not set.
    assert tried("ids", program=Path(f"{root}/setuid"))[0].startswith(f"uid {user.pw_uid} {user.pw_uid} ")
    assert "CapEff 0000000000000000" in tried("ids", program=Path(f"{root}/capable"))[0]
    assert running.end()[0] == 0


@pytest.fixture
def unlocked(trusted: Path, shared_path: Path) -> Iterator[int]:
    """A detached mount of the image as root would make it without store.c's lock_flags."""
    point = shared_path / "point"
    point.mkdir()
    subprocess.run(["mount", "-o", "loop,ro,nosuid,nodev", trusted, point], check=True)
    fd = ctypes.CDLL(None).syscall(OPEN_TREE, -100, bytes(point), OPEN_TREE_CLONE)
    subprocess.run(["umount", point], check=True)
    yield fd
    os.close(fd)
    wait_until(lambda: not loops(trusted))


def test_without_the_lock_they_could_be_taken_off(
    unlocked: int, trusted: Path, user: pwd.struct_passwd, shared_path: Path, tried: Callable[..., list[str]]
) -> None:
    program = shared_path / "program"
    program.write_bytes(b"bareboat-program\0001\0root-squashfs\0" + bytes(trusted) + b"\0\0end\0")
    enter = shutil.copy(Path(find_libexec(), "bareboat-enter"), shared_path)
    with subprocess.Popen(
        [enter, "--hold", program, "alone", str(unlocked)],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        pass_fds=[unlocked],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.read(4) == bytes(4)  # BB_ENTERED
        for flag in FLAGS:
            assert tried("within", holder.pid, "clear", flag, "/") == [f"clear {flag} /: done"]
        null = f"/proc/{holder.pid}/root/null"
        assert tried("open", null) == [f"open {null}: done"]
        holder.kill()


# Owners


@pytest.mark.parametrize("closed", ["file", "root"])
def test_files_of_nobody_here(srun: Srun, whole: Path, place: Path, shared_path: Path, closed: str) -> None:
    (whole / "file").write_text("theirs\n")
    (whole / "file").chmod(0o700)
    for directory, names, files in os.walk(whole):
        for name in (".", *names, *files):
            os.chown(Path(directory, name), 12345, 12345, follow_symlinks=False)
    if closed == "root":
        whole.chmod(0o700)
    image = pack(whole, place / "whole.sqsh", *QUICK)
    command = ("-N1", "--chdir=/", "--container")
    own = shutil.copy(image, shared_path / "own.sqsh")
    assert good(srun(*command, own, "cat", "/file")) == ["theirs"]
    result = srun(*command, image, "cat", "/file")
    if closed == "file":
        assert (result.returncode, f"cat: can't open '/file': {EACCES}\n" in result.stderr) == (1, True)
    else:
        said = refused(result)[0]
        assert said == f"error: cannot read the image {image}: its root directory is closed to you"


# The FUSE server and its mount


def test_another_user_cannot_read_a_users_mount(
    step: Callable[..., Step], own: Path, user: pwd.struct_passwd, other: pwd.struct_passwd
) -> None:
    running = step("-N1", "--chdir=/", f"--container={own}")
    running.wait()
    root = os.open(f"/proc/{rank(running)}/root", os.O_PATH)
    read = ["cat", f"/proc/self/fd/{root}/mark", f"/proc/{rank(running)}/root/mark"]
    for who, expected in ((user, ("the image's\n" * 2, "")), (other, ("", EACCES))):
        done = subprocess.run(
            read,
            pass_fds=[root],
            user=who.pw_uid,
            group=who.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == expected[0]
        assert done.stderr.count(EACCES) == (2 if expected[1] else 0)
    os.close(root)
    assert running.end()[0] == 0


def test_a_server_that_its_user_stops_ends_with_the_step(
    step: Callable[..., Step], own: Path, user: pwd.struct_passwd, cluster: Testbed
) -> None:
    running = step("-N1", "--chdir=/", f"--container={own}")
    running.wait()
    (server,) = servers(user)
    os.kill(server, signal.SIGSTOP)
    running.go.touch()  # the rank now wants a program that it has not read yet, or waits for it
    cluster.run(["scancel", "--user", user.pw_name])
    running.process.communicate(timeout=120)
    wait_until(lambda: not processes_of(running)[0])
    os.kill(server, signal.SIGCONT)  # under proctrack/linuxproc, it is not the step's; else it has ended
    wait_until(lambda: not servers(user))


@pytest.fixture
def server(user: pwd.struct_passwd) -> Iterator[Callable[[str], str]]:
    """Makes a configuration of the user's that names a script as the FUSE server; returns its path."""
    config, script = Path(user.pw_dir, "own.toml"), Path(user.pw_dir, "server.sh")

    def write(text: str) -> str:
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        config.write_text(f'[image]\nsquashfuse = "{script}"\n')
        return str(config)

    yield write
    for path in (config, script):
        path.unlink(missing_ok=True)


def test_a_server_of_the_users_choice_runs_as_the_user(
    srun: Srun, own: Path, user: pwd.struct_passwd, server: Callable[[str], str]
) -> None:
    said = Path(user.pw_dir, "said")
    config = server(f'{{ id -u; id -G; env; }} > {said}; exec squashfuse_ll "$@"')
    assert good(srun("-N1", "--chdir=/", f"--container={own}", "cat", "/mark", BAREBOAT_CONFIG=config)) == [
        "the image's"
    ]
    uid, groups, *_environment = said.read_text().splitlines()
    assert (int(uid), groups.split()[0]) == (user.pw_uid, str(user.pw_gid))
    # Nor does root's part ask it.
    config = server("exit 1")
    (message, *_) = refused(srun("-N1", f"--container={own}", "true", BAREBOAT_CONFIG=config))
    assert message == f"error: cannot read the squashfs image {own}: Transport endpoint is not connected"


def test_a_server_that_never_answers_can_be_cancelled(
    own: Path, user: pwd.struct_passwd, cluster: Testbed, server: Callable[[str], str]
) -> None:
    """What waits for it ends; the stopped server is its user's, like any process that left the step."""
    pids = Path(user.pw_dir, "pids")
    config = server(f"echo $$ >> {pids}; kill -STOP $$")
    process = subprocess.Popen(
        ["srun", "-N1", f"--container={own}", "true"],
        user=user.pw_uid,
        group=user.pw_gid,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, "BAREBOAT_CONFIG": config, **cluster.environment},
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: pids.exists() and bool(pids.read_text()))
    wait_until(lambda: bool(waiting(user)))
    cluster.run(["scancel", "--user", user.pw_name])
    process.communicate(timeout=60)
    wait_until(lambda: not waiting(user))
    os.kill(int(pids.read_text()), signal.SIGKILL)
    pids.unlink()


def waiting(user: pwd.struct_passwd) -> list[str]:
    """The user's processes that mount for the planner or hold a container."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if process.stat().st_uid == user.pw_uid and words[1:2] in ([b"--show"], [b"--hold"]):
                found.append(process.name)
    return found
