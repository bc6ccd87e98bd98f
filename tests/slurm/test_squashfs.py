"""Images that are squashfs files: of the site's store, by the kernel; the user's own, by a FUSE server."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from squash import Step, loops, pack, processes_of, servers
from steps import HELLO, Srun, good, refused, wait_until
from tracing import traced

from slurm.testbed import Testbed

IN_KERNEL, BY_FUSE = "squashfs", "fuse.squashfuse"
SUPERBLOCK, METADATA_HEADER = 96, 2
"""Bytes of a squashfs file before the options of its compression."""
pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def own(packed: Path, shared_path: Path) -> Path:
    """The same file, where the user could have put it."""
    return Path(shutil.copy(packed, shared_path / "own.sqsh"))


@pytest.fixture(params=[IN_KERNEL, BY_FUSE])
def either(request: pytest.FixtureRequest, packed: Path, own: Path) -> tuple[Path, str]:
    return (packed, IN_KERNEL) if request.param == IN_KERNEL else (own, BY_FUSE)


def test_ranks_on_two_nodes_call_the_hosts_mpi(srun: Srun, either: tuple[Path, str]) -> None:
    lines = good(srun("-N2", "-n4", f"--container={either[0]}", HELLO))
    assert sorted(line.split(" on ")[0] for line in lines) == [f"rank {rank} of 4" for rank in range(4)]
    assert all("library MPICH Version: 4.0" in line for line in lines)


def test_the_second_launch_is_planned_no_more(srun: Srun, either: tuple[Path, str]) -> None:
    said = []
    for _ in range(2):
        # On one node, which keeps the plan; of another test's plan it would be the third.
        result = srun("-w", "n1", "-n1", f"--container={either[0]}", HELLO, BAREBOAT_TRACE="1", TZ="UTC0")
        assert result.returncode == 0
        said.append(result.stderr)
    assert "trace: planned" in said[0]
    assert "trace: entered by the cache" in said[1]


def test_the_kernel_mounts_those_of_the_store(
    step: Callable[..., Step], packed: Path, user: pwd.struct_passwd
) -> None:
    running = step("-N1", "-n4", f"--container={packed}")
    running.wait(4)
    # Those of steps that have ended go a moment after srun.
    wait_until(lambda: (len(loops(packed)), servers(user)) == (1, []))
    code, output, errors = running.end()
    assert (code, output.count("PRETTY_NAME"), errors) == (0, 4, "")
    wait_until(lambda: not loops(packed))


def test_a_server_of_the_users_shows_all_others(
    step: Callable[..., Step], own: Path, user: pwd.struct_passwd
) -> None:
    running = step("-N1", "-n4", f"--container={own}")
    running.wait(4)
    wait_until(lambda: (len(loops(own)), len(servers(user))) == (0, 1))
    code, output, errors = running.end()
    assert (code, output.count("PRETTY_NAME"), errors) == (0, 4, "")
    wait_until(lambda: not servers(user))


def test_a_prolog_names_another_image(
    srun: Srun, either: tuple[Path, str], tiny: Path, shared_path: Path
) -> None:
    other, prolog = pack(tiny, shared_path / "other.sqsh"), shared_path / "prolog"
    prolog.write_text(f"#!/bin/sh\necho export SLURM_CONTAINER={other}\n")
    prolog.chmod(0o755)
    shown = good(srun(f"--container={either[0]}", f"--task-prolog={prolog}", "ls", "-l", "/bin/ls"))
    assert shown == good(srun(f"--container={other}", "ls", "-l", "/bin/ls"))
    assert shown[0].endswith("/bin/ls -> busybox")


def test_no_descriptor_reaches_the_program(srun: Srun, packed: Path, own: Path, tiny: Path) -> None:
    for image in (packed, own, tiny):
        # The last is the directory itself.
        shown = good(srun("--mpi=none", f"--container={image}", "ls", "-1", "/proc/self/fd"))
        assert shown == ["0", "1", "2", "3"]


def test_nothing_of_bareboat_runs_beside_the_ranks(
    step: Callable[..., Step], either: tuple[Path, str], user: pwd.struct_passwd
) -> None:
    """Helper and holder are gone once the ranks run; only a FUSE server stays."""
    image, kind = either
    running = step("-N1", "-n2", f"--container={image}")
    running.wait(2)
    wait_until(lambda: not ours(user))
    wait_until(lambda: len(servers(user)) == (kind == BY_FUSE))
    assert running.end()[0] == 0


def ours(user: pwd.struct_passwd) -> list[str]:
    """The user's processes that are bareboat's; of slurmstepd's copies, those that have executed nothing."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name, _, rest = (process / "stat").read_text().partition("(")[2].rpartition(")")
            alive = rest[1] != "Z" and process.stat().st_uid == user.pw_uid
            found += [name] if alive and name.startswith("bareboat") else []
    return found


def test_a_warm_launch_executes_one_program_of_bareboat(
    cluster: Testbed, srun: Srun, either: tuple[Path, str], shared_path: Path
) -> None:
    """No Python and no shell; of an image that is in no store, the FUSE server besides."""
    image, kind = either
    arguments = ("-w", "n1", "-n1", f"--container={image}", "/bin/true")
    good(srun(*arguments))
    log = shared_path / "execs"
    with traced(cluster.process("slurmd n1").pid, log, "-e", "trace=execve"):
        good(srun(*arguments))
    executed = re.findall(r'execve\("([^"]*)".* = 0$', log.read_text(), re.MULTILINE)
    server = ["squashfuse_ll"] if kind == BY_FUSE else []
    assert [Path(path).name for path in executed] == ["slurmstepd", "bareboat-hold", *server, "true"]


def test_the_first_rank_reads_ahead_while_the_container_is_made(
    cluster: Testbed, srun: Srun, packed: Path, shared_path: Path
) -> None:
    arguments = ("-w", "n1", "-n2", f"--container={packed}", HELLO)
    good(srun(*arguments))

    def calls(delayed: str) -> list[str]:
        log = shared_path / delayed
        rules = ("trace=fadvise64,setns,openat2,pivot_root", f"inject={delayed}:delay_enter=1000000")
        with traced(cluster.process("slurmd n1").pid, log, "-e", rules[0], "-e", rules[1]):
            good(srun(*arguments))
        lines = log.read_text().splitlines()
        (reader,) = {line.split()[0] for line in lines if "fadvise64(" in line}
        return [line for line in lines if line.split()[0] == reader]

    mine = calls("pivot_root")
    before = "\n".join(mine[: next(at for at, line in enumerate(mine) if "setns(" in line)])
    for path in (HELLO, "/lib64/ld-linux-x86-64.so.2", "/etc/ld.so.cache", "/libc.so.6"):
        assert re.search(rf'{path}", {{flags=O_RDONLY(?!.* = -1)', before)
    # The host's takes its place.
    assert "libmpich.so" not in before
    # Once the container stands, no rank waits for more.
    assert "".join(calls("fadvise64")).count("fadvise64(") < before.count("fadvise64(")


def test_many_steps_on_one_image(either: tuple[Path, str], user: pwd.struct_passwd, cluster: Testbed) -> None:
    image, _ = either
    job = Path(user.pw_dir, "many.sh")
    job.write_text(
        "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do\n"
        f"srun -N1 -n4 --overlap --container={image} echo started & done; wait\n"
    )
    result = cluster.run(["salloc", "-N1", "-n4", "sh", str(job)], user=user.pw_name, timeout=200)
    assert result.stdout.splitlines() == ["started"] * 32, result.stderr
    assert "bareboat" not in result.stderr
    wait_until(lambda: not loops(image) and not servers(user))


@pytest.mark.parametrize("victim", ["rank", "slurmstepd", "srun"])
def test_nothing_stays_of_a_step_that_was_killed(
    step: Callable[..., Step],
    either: tuple[Path, str],
    user: pwd.struct_passwd,
    cluster: Testbed,
    victim: str,
) -> None:
    image, _ = either
    running = step("-N1", "-n2", f"--container={image}")
    running.wait(2)
    (ranks, daemons) = processes_of(running)
    assert (len(ranks), len(daemons)) == (2, 1)
    if victim == "srun":
        running.process.kill()
    for pid in ranks if victim == "rank" else daemons if victim == "slurmstepd" else ():
        os.kill(pid, signal.SIGKILL)
    if victim != "rank":
        cluster.run(["scancel", "--user", user.pw_name, "--signal=KILL"])
    running.process.communicate(timeout=120)
    for pid in ranks:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_of(running)[0])
    wait_until(lambda: not loops(image) and not servers(user))


def test_a_server_that_is_killed_fails_the_step_and_nothing_hangs(
    step: Callable[..., Step], own: Path, user: pwd.struct_passwd
) -> None:
    running = step("-N1", "-n1", f"--container={own}")
    running.wait()
    (server,) = servers(user)
    os.kill(server, signal.SIGKILL)
    code, _, errors = running.end()
    assert code != 0
    assert "Transport endpoint is not connected" in errors or "Bus error" in errors


def test_another_image_under_the_same_name_is_seen(srun: Srun, own: Path, tiny: Path) -> None:
    command = (
        "-N1",
        "-n1",
        f"--container={own}",
        "/bin/sh",
        "-c",
        "[ -e /etc/os-release ] && echo big || echo tiny",
    )
    assert good(srun(*command)) == ["big"]
    assert good(srun(*command)) == ["big"]
    pack(tiny, own)
    assert good(srun(*command)) == ["tiny"]


@pytest.mark.parametrize("compression", ["gzip", "xz", "lz4", "zstd", "lzo"])
def test_compressions(srun: Srun, tiny: Path, store: Path, shared_path: Path, compression: str) -> None:
    file = pack(tiny, store / f"{compression}.sqsh", "-comp", compression)
    assert good(srun("-N1", f"--container={file}", "/bin/pwd", cwd="/tmp")) == ["/tmp"]
    shutil.move(file, shared_path / "own.sqsh")
    assert good(srun("-N1", f"--container={shared_path}/own.sqsh", "/bin/pwd", cwd="/tmp")) == ["/tmp"]


def test_without_a_loop_device_an_image_of_the_store_is_shown_by_fuse(
    cluster: Testbed, srun: Srun, tiny: Path, store: Path
) -> None:
    file = pack(tiny, store / "tiny.sqsh")
    assert cluster.enter("n1", ["mount", "--bind", "/dev/null", "/dev/loop-control"]).returncode == 0
    try:
        result = srun("-w", "n1", "-n2", f"--container={file}", "/bin/pwd", cwd="/tmp")
    finally:
        assert cluster.enter("n1", ["umount", "/dev/loop-control"]).returncode == 0
    assert (result.returncode, result.stdout) == (0, "/tmp\n/tmp\n")
    assert result.stderr == (
        "bareboat: n1: warning: the kernel does not show this image of the store, a FUSE server does, "
        "which is slower: cannot get a loop device: Inappropriate ioctl for device\n"
    )
    file.unlink()


def test_a_compression_that_the_kernel_does_not_know_is_shown_by_fuse(
    srun: Srun, tiny: Path, store: Path
) -> None:
    """An LZ4 whose stream has another version: the kernel refuses it, squashfuse does not look."""
    file = pack(tiny, store / "lz4.sqsh", "-comp", "lz4")
    with file.open("r+b") as image:
        image.seek(SUPERBLOCK + METADATA_HEADER)
        assert image.read(4) == struct.pack("<I", 1)
        image.seek(SUPERBLOCK + METADATA_HEADER)
        image.write(struct.pack("<I", 2))
    result = srun("-w", "n1", "-n2", f"--container={file}", "/bin/pwd", cwd="/tmp")
    assert (result.returncode, result.stdout) == (0, "/tmp\n/tmp\n")
    assert result.stderr == (
        "bareboat: n1: warning: the kernel does not show this image of the store, a FUSE server does, "
        f"which is slower: cannot mount the squashfs image {file} "
        "(the kernel says: squashfs image failed sanity check): Invalid argument\n"
    )
    file.unlink()


def test_a_compression_that_nobody_knows_is_named(srun: Srun, tiny: Path, store: Path) -> None:
    """What the kernel says of it is in tests/integration/test_store_faults.py."""
    file = pack(tiny, store / "lzma.sqsh", "-comp", "lzma")
    (said,) = refused(srun("-N1", f"--container={file}", "/bin/pwd"))
    assert said.startswith(
        f"error: cannot read the squashfs image {file} "
        "(its FUSE server says: Squashfs image uses lzma compression, this version supports only "
    )
    file.unlink()


def test_a_file_that_is_cut_short_is_named(srun: Srun, packed: Path, store: Path, shared_path: Path) -> None:
    for file in (store / "cut.sqsh", shared_path / "cut.sqsh"):
        file.write_bytes(packed.read_bytes()[: 1 << 20])
        file.chmod(0o644)
        (said,) = refused(srun("-N1", f"--container={file}", "/bin/true"))
        assert said.startswith(f"error: cannot read the squashfs image {file} (its FUSE server says: ")
        file.unlink()
