"""/run/bareboat on a node: what users can fill is bounded, and what happens to it costs the cache only."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from steps import CACHED, PLANNED, QuietTestbed, Srun, how

from slurm.testbed import Testbed
from slurm.testbed.account import temporary_user

RUN = "/run/bareboat"


@pytest.fixture
def node(cluster: Testbed) -> Iterator[Callable[..., str]]:
    """Runs a shell line as root on n1, where no /run/bareboat is before and after."""

    def run(line: str) -> str:
        done = cluster.enter("n1", ["sh", "-c", line])
        assert done.returncode == 0, done.stderr
        return done.stdout

    away = f"while [ ! -L {RUN} ] && mountpoint -q {RUN}; do umount {RUN}; done; rm -rf {RUN}"
    run(away)
    yield run
    run(away)


@pytest.fixture
def launch(cluster: Testbed, user: pwd.struct_passwd, tiny: Path) -> Callable[..., str]:
    def start(*arguments: str, who: str = user.pw_name) -> str:
        argv = ["srun", "-w", "n1", "-n1", *arguments, f"--container={tiny}", "true"]
        return how(cluster.run(argv, user=who, environment={"BAREBOAT_TRACE": "1"}))

    return start


def test_the_first_step_mounts_a_small_file_system_and_the_next_none(
    launch: Callable[..., str], node: Callable[..., str]
) -> None:
    assert launch() == PLANNED
    assert launch() == CACHED
    lines = [line.split() for line in node("cat /proc/self/mountinfo").splitlines()]
    (mount,) = [line for line in lines if line[4] == RUN]
    assert {"nosuid", "nodev", "noexec"} <= set(mount[5].split(","))
    assert mount[-3] == "tmpfs"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size, inodes = map(int, node(f"stat -f -c '%b %c' {RUN}").split())
    assert 0 < (size - 1) * os.sysconf("SC_PAGE_SIZE") < total / 100
    assert inodes == 32 * 1024
    assert node(f"stat -c '%a %u' {RUN}").split() == ["755", "0"]


@pytest.mark.parametrize(
    "fill",
    [
        "head -c 1T /dev/zero > {own}/fill",
        "python3 -c 'import itertools, os; [os.mknod(f\"{own}/{{i}}\") for i in itertools.count()]'",
    ],
    ids=["bytes", "files"],
)
def test_a_user_who_fills_the_directory_does_not_fill_run(
    srun: Srun, launch: Callable[..., str], node: Callable[..., str], fill: str
) -> None:
    assert launch() == PLANNED
    (own,) = node(f"ls {RUN}").split()
    before = node("stat -f -c '%f %d' /run").split()
    attack = srun("-w", "n1", "-n1", "sh", "-c", fill.format(own=f"{RUN}/{own}"))
    assert "No space left on device" in attack.stderr
    assert node("stat -f -c '%f %d' /run").split() == before
    assert launch() == CACHED
    # Others only lose the cache; the next plan of the user who did it throws away what is too much.
    with temporary_user("bareboat-other") as other:
        assert launch(who=other.pw_name) == PLANNED
        assert launch(who=other.pw_name) == PLANNED
        assert launch("--task-prolog=/bin/true") == PLANNED
        assert launch(who=other.pw_name) == PLANNED
        assert launch(who=other.pw_name) == CACHED


@pytest.mark.parametrize("mounted", [False, True], ids=["cold", "mounted"])
def test_a_full_run_costs_at_most_the_cache(
    cluster: Testbed, launch: Callable[..., str], node: Callable[..., str], *, mounted: bool
) -> None:
    if mounted:
        assert launch() == PLANNED
    node("mount -o remount,size=4m,nr_inodes=100 /run; head -c 8M /dev/zero > /run/fill || true")
    try:
        assert int(node("stat -f -c %a /run")) == 0
        node("i=0; while true > /run/$i; do i=$((i+1)); done 2> /dev/null; true")
        assert launch() == (CACHED if mounted else PLANNED)
        assert launch() == (CACHED if mounted else PLANNED)
    finally:
        node("rm -f /run/fill /run/[0-9]*; mount -o remount,size=50%,nr_inodes=1m /run")
    assert launch() == (CACHED if mounted else PLANNED)
    assert launch() == CACHED


def test_a_run_that_is_read_only_costs_the_cache(
    launch: Callable[..., str], node: Callable[..., str]
) -> None:
    node("mount --bind /run /run; mount -o remount,bind,ro /run")
    try:
        assert launch() == PLANNED
        assert launch() == PLANNED
    finally:
        node("umount /run")
    assert launch() == PLANNED
    assert launch() == CACHED


@pytest.mark.parametrize(
    "squat",
    [
        f"ln -s /tmp {RUN}",
        f"touch {RUN}",
        f"mkdir {RUN}; chown 1 {RUN}",
        f"mkdir {RUN}; chmod 777 {RUN}",
    ],
)
def test_a_directory_that_is_not_roots_alone_is_not_used(
    launch: Callable[..., str], node: Callable[..., str], squat: str
) -> None:
    node(squat)
    assert launch() == PLANNED
    assert launch() == PLANNED
    assert RUN not in node("cat /proc/self/mountinfo")
    # Open MPI leaves a session directory of its own there.
    assert [name for name in node("ls /tmp").split() if not name.startswith("ompi.")] == []


def test_steps_that_start_cold_at_once_mount_one_file_system(
    cluster: Testbed, node: Callable[..., str], user: pwd.struct_passwd, tiny: Path
) -> None:
    """Of two users, eight in all; who came too early for the mount goes without the cache."""
    with temporary_user("bareboat-other") as other:
        for _ in range(3):
            steps = [
                subprocess.Popen(
                    ["srun", "-w", "n1", "-n2", f"--container={tiny}", "true"],
                    user=who.pw_uid,
                    group=who.pw_gid,
                    extra_groups=[],
                    cwd=who.pw_dir,
                    env={"PATH": "/usr/bin:/bin", "HOME": who.pw_dir, **cluster.environment},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for who in (user, other) * 4
            ]
            said = [QuietTestbed.WAITED.sub("", step.communicate(timeout=90)[1]) for step in steps]
            assert [(step.returncode, text) for step, text in zip(steps, said, strict=True)] == [(0, "")] * 8
            lines = node("cat /proc/self/mountinfo").splitlines()
            assert len([line for line in lines if line.split()[4] == RUN]) == 1
            names = set(node(f"ls {RUN}").split())
            assert names <= {str(user.pw_uid), str(other.pw_uid)}
            for name in names:
                assert node(f"stat -c '%a %u' {RUN}/{name}").split() == ["700", name]
                assert len(node(f"ls -A {RUN}/{name}").split()) <= 1
            node(f"umount {RUN}")


def test_under_job_container_tmpfs_plans_are_kept(prefix: Path, tiny: Path, user: pwd.struct_passwd) -> None:
    with QuietTestbed(nodes=1, job_container=True, plugin=prefix) as bed:
        argv = ["srun", "-n1", f"--container={tiny}", "true"]
        ways = [how(bed.run(argv, user=user.pw_name, environment={"BAREBOAT_TRACE": "1"})) for _ in range(3)]
        # A job's mounts are those of its start: the first job of a node came before the mount.
        assert ways == [PLANNED, PLANNED, CACHED]
