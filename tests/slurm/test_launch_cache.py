"""The program cache: hits where nothing that decided has changed, misses where something has, nothing stale.

BAREBOAT_TRACE=1 says whether a launch was planned or took its program from the node's cache.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from steps import CACHED, HELLO, PLANNED, QuietTestbed, Srun, how, wait_until
from tracing import traced

from slurm.testbed import Testbed


@pytest.fixture
def launch(srun: Srun) -> Callable[..., str]:
    def start(*arguments: object, **variables: str) -> str:
        return how(srun("-w", "n1", "-n1", *arguments, BAREBOAT_TRACE="1", **variables))

    return start


@pytest.fixture
def node_cache(cluster: Testbed, user: pwd.struct_passwd) -> Iterator[Callable[..., str]]:
    """Runs a shell line as root in /run/bareboat on n1, which is emptied before and after."""

    def run(line: str) -> str:
        done = cluster.enter("n1", ["sh", "-c", f"mkdir -p /run/bareboat && cd /run/bareboat && {line}"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("rm -rf ./*")
    yield run
    run("rm -rf ./*")


def test_the_second_launch_is_planned_no_more(
    launch: Callable[..., str], node_cache: Callable[..., str], mpich: Path, user: pwd.struct_passwd
) -> None:
    assert launch(f"--container={mpich}", HELLO) == PLANNED
    assert launch(f"--container={mpich}", HELLO) == CACHED
    listing = node_cache("stat -c '%a %u %n' . [0-9]* [0-9]*/*").splitlines()
    assert listing[0].split()[:2] == ["755", "0"]
    assert listing[1].split() == ["700", str(user.pw_uid), str(user.pw_uid)]
    assert len(listing) == 3
    assert listing[2].split()[:2] == ["600", str(user.pw_uid)]


def test_a_launch_can_ask_to_be_planned_anew(
    launch: Callable[..., str], node_cache: Callable[..., str], mpich: Path
) -> None:
    for _ in range(2):
        assert launch(f"--container={mpich}", HELLO, BAREBOAT_REPLAN="1") == PLANNED
    assert len(node_cache("ls [0-9]*").split()) == 1
    # Only "1" asks for it; another value is another request, whose plan is kept.
    assert launch(f"--container={mpich}", HELLO, BAREBOAT_REPLAN="0") == PLANNED
    assert launch(f"--container={mpich}", HELLO, BAREBOAT_REPLAN="0") == CACHED


def test_what_differs_from_step_to_step_is_no_miss(
    launch: Callable[..., str],
    node_cache: Callable[..., str],
    srun: Srun,
    mpich: Path,
    shared_path: Path,
) -> None:
    shared_path.chmod(0o777)
    assert launch(f"--container={mpich}", HELLO) == PLANNED
    assert launch("--chdir=/var/cache", f"--container={mpich}", HELLO) == CACHED
    assert launch(f"--chdir={shared_path}", f"--container={mpich}", HELLO) == CACHED
    assert launch(f"--container={mpich}", HELLO, TMPDIR=str(shared_path)) == CACHED
    assert launch(f"--container={mpich}", HELLO, "--env", "ANOTHER", ANOTHER="x") == CACHED
    (shared_path / "unrelated").write_text("new\n")
    assert launch(f"--container={mpich}", HELLO) == CACHED
    lines = srun("-w", "n1", f"--chdir={shared_path}", f"--container={mpich}", "pwd").stdout.split()
    assert lines == [str(shared_path)]
    lines = srun("-w", "n1", "--chdir=/usr", f"--container={mpich}", "pwd").stdout.split()
    assert lines == ["/usr"]


def test_what_the_request_says_is_part_of_it(
    launch: Callable[..., str], node_cache: Callable[..., str], mpich: Path, shared_path: Path
) -> None:
    assert launch(f"--container={mpich}", HELLO) == PLANNED
    assert launch(f"--container={mpich}", "true") == PLANNED
    assert launch(f"--container={mpich}", HELLO, BAREBOAT_MPI="image") == PLANNED
    assert launch(f"--container={mpich}", HELLO, BAREBOAT_WITHOUT="tmp") == PLANNED
    assert launch(f"--container={mpich}", HELLO, BAREBOAT_MOUNTS=f"{shared_path}:/mnt") == PLANNED
    assert launch(f"--container={mpich}/.", HELLO) == PLANNED
    assert launch(f"--container={mpich}", HELLO) == CACHED


@pytest.fixture
def own(tiny: Path) -> Path:
    """An image that a test may change."""
    for name in ("etc", "opt"):
        (tiny / name).mkdir()
    (tiny / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    shutil.copy(tiny / "bin/busybox", tiny / "opt/true")
    return tiny


def changes(own: Path) -> dict[str, Callable[[], object]]:
    def retarget() -> None:
        (own / "bin/true").unlink()
        (own / "bin/true").symlink_to("/opt/true")

    def replace() -> None:
        shutil.copy(own / "bin/busybox", own / "bin/new")
        (own / "bin/new").rename(own / "bin/busybox")

    return {
        "the program in place": lambda: os.utime(own / "bin/busybox"),
        "the program replaced": replace,
        "a link retargeted": retarget,
        "passwd": lambda: (own / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n"),
        "environment": lambda: (own / "etc/environment").write_text("A=b\n"),
        "loader cache": lambda: shutil.copy("/etc/ld.so.cache", own / "etc/ld.so.cache"),
    }


@pytest.mark.parametrize(
    "what",
    [
        "the program in place",
        "the program replaced",
        "a link retargeted",
        "passwd",
        "environment",
        "loader cache",
    ],
)
def test_a_change_of_the_image_is_seen(
    launch: Callable[..., str], node_cache: Callable[..., str], own: Path, what: str
) -> None:
    assert launch(f"--container={own}", "true") == PLANNED
    assert launch(f"--container={own}", "true") == CACHED
    changes(own)[what]()
    assert launch(f"--container={own}", "true") == PLANNED
    assert launch(f"--container={own}", "true") == CACHED


def test_a_change_of_the_configuration_is_seen(
    launch: Callable[..., str], node_cache: Callable[..., str], own: Path, shared_path: Path
) -> None:
    config = shared_path / "site.toml"
    config.write_text("[view]\ntmp = true\n")
    assert launch(f"--container={own}", "true", BAREBOAT_CONFIG=str(config)) == PLANNED
    assert launch(f"--container={own}", "true", BAREBOAT_CONFIG=str(config)) == CACHED
    config.write_text("[view]\ntmp = false\n")
    assert launch(f"--container={own}", "true", BAREBOAT_CONFIG=str(config)) == PLANNED


LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


@pytest.mark.parametrize("what", [Path("/etc/ld.so.cache"), LIBRARIES / "libmpich.so.12", LIBRARIES / "ucx"])
def test_a_change_of_the_host_is_seen(
    launch: Callable[..., str], node_cache: Callable[..., str], mpich: Path, shared_path: Path, what: Path
) -> None:
    """Loader cache, library and directory of plugins: copies on n1, so that this host stays as it is."""
    copy = shared_path / "copy"
    subprocess.run(["cp", "-a", what.resolve(), copy], check=True)
    node_cache(f"mount --bind {copy} {what.resolve()}")
    try:
        assert launch(f"--container={mpich}", HELLO) == PLANNED
        assert launch(f"--container={mpich}", HELLO) == CACHED
        (copy / "libnew.so").touch() if copy.is_dir() else os.utime(copy)
        assert launch(f"--container={mpich}", HELLO) == PLANNED
        assert launch(f"--container={mpich}", HELLO) == CACHED
    finally:
        node_cache(f"umount {what.resolve()}")


def test_another_installation_is_another_request(
    launch: Callable[..., str], node_cache: Callable[..., str], prefix: Path, own: Path
) -> None:
    assert launch(f"--container={own}", "true") == PLANNED
    assert launch(f"--container={own}", "true") == CACHED
    plugin = prefix / "lib/slurm/bareboat.so"
    shutil.copy2(plugin, plugin.with_name("new"))
    plugin.with_name("new").rename(plugin)
    assert launch(f"--container={own}", "true") == PLANNED
    assert launch(f"--container={own}", "true") == CACHED


def test_a_mount_of_the_host_takes_effect_without_a_miss(
    srun: Srun, node_cache: Callable[..., str], own: Path, shared_path: Path
) -> None:
    config = shared_path / "site.toml"
    config.write_text("[view]\nnetwork-types = ['ramfs']\n")
    script = "[ ! -e /mnt/file ] || cat /mnt/file"

    def look() -> tuple[str, str]:
        arguments = ("-w", "n1", "-n1", f"--container={own}", "sh", "-c", script)
        result = srun(*arguments, BAREBOAT_CONFIG=str(config), BAREBOAT_TRACE="1")
        return how(result), result.stdout

    assert look() == (PLANNED, "")
    node_cache("mount -t ramfs none /mnt && echo here > /mnt/file")
    try:
        assert look() == (CACHED, "here\n")
    finally:
        node_cache("umount /mnt")
    assert look() == (CACHED, "")


def test_a_configuration_of_several_programs_is_another_request(
    launch: Callable[..., str], node_cache: Callable[..., str], own: Path
) -> None:
    """Even where the file is also a program."""
    name = own / "opt/both"
    name.write_text("#!/bin/true\n0 /bin/true\n")
    name.chmod(0o755)
    assert launch(f"--container={own}", name) == PLANNED
    assert launch(f"--container={own}", name) == CACHED
    assert launch(f"--container={own}", "--multi-prog", name) == PLANNED


def test_the_containers_run_stays_its_own(srun: Srun, mpich: Path) -> None:
    """Whatever the step's directories are: the host's MPI is mounted below /run."""
    for path in ("/run", "//run", "/no/../run/", "/run/bareboat", "/" + "a" * 300):
        variables = {"TMPDIR": path, "PMIX_SYSTEM_TMPDIR": path}
        result = srun("-w", "n1", "-n1", f"--container={mpich}", HELLO, **variables)
        assert result.returncode == 0, result.stderr
    result = srun("-w", "n1", "-n1", "--chdir=/run", f"--container={mpich}", HELLO)
    assert (result.returncode, result.stderr) == (0, "")


def test_what_was_replaced_is_said_in_every_step_that_asks_for_it(
    srun: Srun, image: Callable[[str], Path], shared_path: Path
) -> None:
    config = shared_path / "announce.toml"
    config.write_text("[mpi]\nannounce = true\n")
    arguments = ("-N2", "-n4", f"--container={image('deb13-mpich')}", HELLO)
    library = r"/usr/lib/x86_64-linux-gnu/libmpich\.so\.[0-9.]+"
    line = (
        r"bareboat: n1: the host's MPI takes the place of the image's: "
        rf"MPICH 4\.2\.1 \({library}\) -> MPICH 4\.0\.2 \({library}\)\n"
    )
    for variables in ({"BAREBOAT_ANNOUNCE": "1"}, {"BAREBOAT_CONFIG": str(config)}):
        for _ in range(2):
            result = srun(*arguments, **variables)
            assert result.returncode == 0
            assert re.fullmatch(line, result.stderr), result.stderr
    silent = srun(*arguments, BAREBOAT_CONFIG=str(config), BAREBOAT_ANNOUNCE="0")
    assert (silent.returncode, silent.stderr) == (0, "")


def test_a_warning_is_heard_in_every_step(srun: Srun, node_cache: Callable[..., str], own: Path) -> None:
    for _ in range(2):
        result = srun("-w", "n1", f"--container={own}", "nosuchprogram")
        assert "cannot run 'nosuchprogram': it is not in the container's PATH" in result.stderr


@pytest.mark.parametrize(
    "damage",
    [
        "for f in $U/*; do truncate -s 40 $f; done",
        "for f in $U/*; do truncate -s -1 $f; done",
        "for f in $U/*; do : > $f; done",
        "for f in $U/*; do printf 0 | dd of=$f bs=1 seek=16 conv=notrunc status=none; done",  # the version
        "for f in $U/*; do mv $f x; ln -s /run/bareboat/x $f; done",
        "chmod 755 $U",
        "chown 0 $U/*; chmod 666 $U/*",
        "chown 0 $U",
        "rm -r $U; touch $U",
        "rm -r $U; ln -s /tmp $U",
    ],
)
def test_what_is_damaged_or_forged_is_not_used(
    launch: Callable[..., str],
    node_cache: Callable[..., str],
    own: Path,
    user: pwd.struct_passwd,
    damage: str,
) -> None:
    assert launch(f"--container={own}", "true") == PLANNED
    assert launch(f"--container={own}", "true") == CACHED
    node_cache(f"U={user.pw_uid}; {damage}")
    assert launch(f"--container={own}", "true") == PLANNED


def test_a_run_that_cannot_be_written_only_costs_the_cache(
    launch: Callable[..., str], node_cache: Callable[..., str], cluster: Testbed, own: Path
) -> None:
    assert launch(f"--container={own}", "true") == PLANNED
    node_cache("mount -t tmpfs -o ro none /run/bareboat")
    try:
        assert launch(f"--container={own}", "true") == PLANNED
        assert launch(f"--container={own}", "true") == PLANNED
    finally:
        assert cluster.enter("n1", ["umount", "/run/bareboat"]).returncode == 0
    assert launch(f"--container={own}", "true") == CACHED


def test_a_directory_that_was_never_given_away_is_made_anew(
    launch: Callable[..., str], node_cache: Callable[..., str], own: Path, user: pwd.struct_passwd
) -> None:
    node_cache(f"mkdir -m 700 {user.pw_uid}")
    assert launch(f"--container={own}", "true") == PLANNED
    assert launch(f"--container={own}", "true") == CACHED


def test_two_cold_steps_at_once(
    cluster: Testbed, node_cache: Callable[..., str], own: Path, user: pwd.struct_passwd
) -> None:
    argv = ["srun", "-w", "n1", "-n4", f"--container={own}", "true"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment}
    steps = [
        subprocess.Popen(argv, user=user.pw_uid, group=user.pw_gid, cwd=user.pw_dir, env=environment)
        for _ in range(4)
    ]
    assert [step.wait(timeout=90) for step in steps] == [0] * 4
    assert len(node_cache("ls [0-9]*").split()) == 1


def test_a_warm_launch_executes_one_program_of_bareboat(
    cluster: Testbed, node_cache: Callable[..., str], launch: Callable[..., str], own: Path, shared_path: Path
) -> None:
    """No Python, no shell: bareboat-hold alone (docs/decisions/0006)."""
    assert launch(f"--container={own}", "/opt/true") == PLANNED
    log = shared_path / "execs"
    with traced(cluster.process("slurmd n1").pid, log, "-e", "trace=execve"):
        assert launch(f"--container={own}", "/opt/true") == CACHED
    executed = re.findall(r'execve\("([^"]*)".* = 0$', log.read_text(), re.MULTILINE)
    assert [Path(path).name for path in executed] == ["slurmstepd", "bareboat-hold", "true"]


def test_groups_are_the_users_own_inside(
    group: str, prefix: Path, plain: Path, shared_path: Path, user: pwd.struct_passwd
) -> None:
    file = shared_path / "file"
    file.touch()
    os.chown(file, user.pw_uid, user.pw_gid)
    # A Slurm of its own: slurmctld remembers a user's groups for ten minutes, if it is not told otherwise.
    with QuietTestbed(nodes=2, plugin=prefix, extra={"GroupUpdateTime": "1"}) as bed:
        outside = bed.run(["id", "-G"], user=user.pw_name).stdout
        assert len(outside.split()) == 2
        script = f"id -G; chgrp {group} {file}; cat /proc/self/setgroups"
        argv = ["srun", "-N2", "-n2", f"--container={plain}", "sh", "-c", script]
        done = bed.run(argv, user=user.pw_name)
        assert sorted(done.stdout.splitlines()) == sorted([outside.strip(), "deny"] * 2), done.stderr
        assert file.group() == group
        # The node's own table of groups stays as it is: what changes is Slurm's credential.
        table = shutil.copy("/etc/group", shared_path / "group")
        assert bed.enter("n1", ["mount", "--bind", str(table), "/etc/group"]).returncode == 0
        argv = ["srun", "-w", "n1", f"--container={plain}", "true"]
        trace = {"BAREBOAT_TRACE": "1"}
        assert how(bed.run(argv, user=user.pw_name, environment=trace)) == PLANNED
        assert how(bed.run(argv, user=user.pw_name, environment=trace)) == CACHED
        subprocess.run(["gpasswd", "-d", user.pw_name, group], check=True, capture_output=True)
        wait_until(lambda: how(bed.run(argv, user=user.pw_name, environment=trace)) == PLANNED)
