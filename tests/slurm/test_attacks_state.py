"""What a user tries against what steps share: kept plans, the holder, its messages, slurmstepd's copies."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from steps import CACHED, PLANNED, Run, Srun, good, how, wait_until

from slurm.testbed import Testbed

pytestmark = pytest.mark.usefixtures("nodes_stay")


# Kept plans


@pytest.fixture
def node(cluster: Testbed) -> Callable[..., Run]:
    """Runs a shell line on n1, outside Slurm, as root or as somebody in the kept plans' directory."""

    def run(line: str, who: pwd.struct_passwd | None = None) -> Run:
        drop = (
            ()
            if who is None
            else ("setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups")
        )
        return cluster.enter("n1", [*drop, "sh", "-c", f"cd /run/bareboat && {line}"])

    return run


def launch(srun: Srun, image: Path, *program: str, code: int = 0) -> tuple[str, str]:
    """How it came about, and what the program said."""
    done = srun("-w", "n1", "-n1", f"--container={image}", *program, BAREBOAT_TRACE="1")
    return how(done), done.stdout


def test_a_forged_plan_forges_its_owners_steps_only(
    *,
    srun: Srun,
    cluster: Testbed,
    node: Callable[..., Run],
    hostile: Path,
    user: pwd.struct_passwd,
    other: pwd.struct_passwd,
) -> None:
    twin = hostile.with_name("twin")
    shutil.copytree(hostile, twin, symlinks=True)
    (twin / "mark").write_text("the forger's\n")
    node("rm -rf ./*")
    assert launch(srun, hostile, "cat", "/mark") == (PLANNED, "the image's\n")
    assert launch(srun, hostile, "cat", "/mark") == (CACHED, "the image's\n")
    place = f"{user.pw_uid}"
    (name,) = node(f"ls {place}").stdout.split()
    # By its owner, who could have named the other image as well.
    forged = node(
        f"sed -i 's|root-dir.{hostile}|root-dir\\x00{twin}|' {place}/{name} && chmod 600 {place}/{name}", user
    )
    assert (forged.returncode, forged.stderr) == (0, "")
    assert launch(srun, hostile, "cat", "/mark") == (CACHED, "the forger's\n")
    argv = ["srun", "-w", "n1", f"--container={hostile}", "cat", "/mark"]
    assert cluster.run(argv, user=other.pw_name).stdout == "the image's\n"
    # Privileges are not in it: what it says is done as its owner.
    script = "attack ids; attack open /etc/shadow"
    node("rm -rf ./*")
    assert launch(srun, hostile, "sh", "-c", script)[0] == PLANNED
    (name,) = node(f"ls {place}").stdout.split()
    forged = node(
        f"sed -i 's|no-new-privs|env-unset.AAAA|; s|env-unset.AAAA|env-unset\\x00A|' {place}/{name}", user
    )
    _, said = launch(srun, hostile, "sh", "-c", script)
    assert f" CapEff {'0' * 16} " in said


def test_the_directory_of_another_user_is_closed(
    srun: Srun, node: Callable[..., Run], hostile: Path, user: pwd.struct_passwd, other: pwd.struct_passwd
) -> None:
    node("rm -rf ./*")
    assert launch(srun, hostile, "true")[0] == PLANNED
    theirs = str(user.pw_uid)
    for line in (f"ls {theirs}", f"touch {theirs}/x", f"chmod 777 {theirs}"):
        done = node(line, other)
        assert done.returncode != 0
        assert "Permission denied" in done.stderr or "Operation not permitted" in done.stderr
    # Nobody can be there before root's part: neither by a directory nor by a link, nor move one away.
    for line in ("mkdir 4242", "ln -s /tmp 4242", f"mv {theirs} 4242", f"rmdir {theirs}"):
        done = node(line, other)
        assert done.returncode != 0
        assert "Permission denied" in done.stderr or "Operation not permitted" in done.stderr
    assert launch(srun, hostile, "true")[0] == CACHED


@pytest.mark.parametrize(
    "plant",
    [
        "ln -s {top} {uid}",
        "mkdir -m 777 {uid} && chown {other} {uid}",
        "mkdir -m 755 {uid} && chown {uid} {uid} && chmod 755 {uid}",
        "touch {uid}",
    ],
    ids=["a link", "another owner's", "open to others", "a file"],
)
def test_what_stands_in_the_place_of_the_directory_is_not_used(
    *,
    srun: Srun,
    node: Callable[..., Run],
    hostile: Path,
    user: pwd.struct_passwd,
    other: pwd.struct_passwd,
    plant: str,
) -> None:
    """Only root could put it there; still nothing is read from it or written to it."""
    top = hostile.with_name("elsewhere")
    top.mkdir()
    top.chmod(0o777)
    uid = user.pw_uid
    launch(srun, hostile, "true")
    planted = node(f"rm -rf {uid} && " + plant.format(top=top, uid=uid, other=other.pw_uid))
    assert (planted.returncode, planted.stderr) == (0, "")
    try:
        for _ in range(2):
            assert launch(srun, hostile, "true")[0] == PLANNED
        assert list(top.iterdir()) == []
        assert node(f"find {uid}/ -mindepth 1").stdout == ""
    finally:
        node(f"rm -rf {uid}")


# The holder, and the copies of slurmstepd


def as_user(user: pwd.struct_passwd, *argv: object) -> str:
    done = subprocess.run(
        list(map(str, argv)),
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.rstrip("\n")


def processes(user: pwd.struct_passwd, name: str, *, own: bool) -> list[int]:
    """Processes by the start of their command line: the user's, or root's that came of slurmstepd."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = Path(directory, "cmdline").read_bytes()
            mine = f"\nUid:\t{user.pw_uid if own else 0}\t" in Path(directory, "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mine and name.encode() in words.partition(b" ")[0]:
            found.append(int(directory.name))
    return found


@contextmanager
def held_up(cluster: Testbed, user: pwd.struct_passwd, image: Path) -> Iterator[subprocess.Popen[str]]:
    """A step whose second rank waits in its prolog, with a container that stands."""
    go = Path(user.pw_dir, "go")
    prolog = Path(user.pw_dir, "prolog.sh")
    prolog.write_text(f"#!/bin/sh\n[ $SLURM_PROCID = 0 ] || while [ ! -e {go} ]; do sleep 0.1; done\n")
    prolog.chmod(0o755)
    process = subprocess.Popen(
        ["srun", "-w", "n1", "-n2", f"--task-prolog={prolog}", f"--container={image}", "cat", "/mark"],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        cwd=user.pw_dir,
        env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: bool(processes(user, "bareboat-hold", own=True)))
    yield process
    go.touch()
    process.communicate(timeout=60)
    go.unlink()


def test_copies_of_slurmstepd_cannot_be_traced_or_entered(
    cluster: Testbed, hostile: Path, attack: Path, user: pwd.struct_passwd
) -> None:
    with held_up(cluster, user, hostile):
        (holder,) = processes(user, "bareboat-hold", own=True)
        # The user may enter what is the user's.
        assert as_user(user, attack, "within", holder, "open", "/mark") == "open /mark: done"
        copies = processes(user, "slurmstepd", own=True)
        roots = [pid for pid in processes(user, "slurmstepd", own=False) if cluster_of(pid) == cluster.name]
        assert copies
        assert roots
        for pid in (*copies, *roots):
            assert as_user(user, attack, "trace", pid) == f"trace {pid}: Operation not permitted"
            for name in ("ns/user", "root", "fd/0", "mem", "environ"):
                path = f"/proc/{pid}/{name}"
                assert as_user(user, attack, "open", path) == f"open {path}: Permission denied"
            # Nor with the capabilities of the step's own namespace, which the ranks join.
            said = as_user(user, attack, "within", holder, "trace", pid)
            assert said == f"trace {pid}: Operation not permitted"


def cluster_of(pid: int) -> str:
    """The testbed that a process of root's belongs to."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    return environment.partition("/var/lib/bareboat-testbed/")[2].partition("/")[0]


def test_a_holder_that_its_user_stops_and_changes_harms_only_the_step(
    cluster: Testbed, hostile: Path, attack: Path, user: pwd.struct_passwd
) -> None:
    with held_up(cluster, user, hostile) as process:
        (holder,) = processes(user, "bareboat-hold", own=True)
        os.kill(holder, signal.SIGSTOP)
        assert as_user(user, attack, "within", holder, "umount", "/proc") == "umount /proc: done"
        os.kill(holder, signal.SIGCONT)
        Path(user.pw_dir, "go").touch()
        output, errors = process.communicate(timeout=60)
        assert (output, errors, process.returncode) == ("the image's\n" * 2, "", 0)


@pytest.mark.parametrize(
    ("told", "pid", "namespaces", "said"),
    [
        ("1", "0", ("0", "0"), f"bareboat: n1: cannot {'O' * 63} {'P' * 1023}: Operation not permitted"),
        ("7", "0", ("0", "0"), f"bareboat: n1: cannot {'O' * 63} {'P' * 1023}: Operation not permitted"),
        (
            "0",
            "slurmd",
            ("0", "0"),
            "bareboat: n1: cannot open the namespace /proc/{pid}/ns/user: Permission denied",
        ),
        (
            "0",
            "holder",
            ("0", "0"),
            (
                "bareboat: n1: cannot join the namespace of the holder, which is another one by now and was "
                "0: Stale file handle; a process of this user or of root ended the one that held it, or "
                "spoke in its name; start the step again, and if it stays so, look for who does that on "
                "this node"
            ),
        ),
    ],
    ids=["an error without ends", "an unknown word", "root's namespaces", "other namespaces"],
)
def test_messages_in_the_holders_name(
    *,
    srun: Srun,
    cluster: Testbed,
    hostile: Path,
    attack: Path,
    user: pwd.struct_passwd,
    told: str,
    pid: str,
    namespaces: tuple[str, str],
    said: str,
) -> None:
    """The forger waits for a holder and writes to its standard output, which is the user's to open."""
    if pid == "slurmd":
        pid = str(cluster.process("slurmd n1").pid)
        user_ns, mnt_ns = (str(Path(f"/proc/{pid}/ns/{kind}").stat().st_ino) for kind in ("user", "mnt"))
        namespaces = (user_ns, mnt_ns)
        said = said.format(pid=pid)
    heard: list[str] = []
    for _ in range(30):
        forger = subprocess.Popen(
            [attack, "forge", told, pid, *namespaces],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert forger.stdout is not None
        assert forger.stdout.readline() == "ready\n"
        done = srun("-w", "n1", f"--container={hostile}", "cat", "/mark")
        forger.kill()
        forger.communicate()
        # srun's own line may come into the middle of a long one.
        text = re.sub(r"srun: error: n1: task 0: Exited with exit code 125\n", "", done.stderr)
        text = re.sub(r"/proc/\d+/ns/user, which is \d+ by", "of the holder, which is another one by", text)
        heard = [line for line in text.splitlines() if line.startswith("bareboat:")]
        assert done.returncode == (125 if heard else 0)
        assert done.stdout == ("" if heard else "the image's\n")
        if heard:
            break
    assert heard == [said]
    assert good(srun("-w", "n1", f"--container={hostile}", "cat", "/mark")) == ["the image's"]
