"""A user in more groups than the kernel takes into one map: 340 lines, and less than a page of text."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from steps import QuietTestbed

from slurm.testbed import Testbed
from slurm.testbed.account import temporary_user

MANY = 350
"""More than the 340 lines that a map may have (user_namespaces(7))."""


def group_name(gid: int) -> str:
    return f"bareboat-test-{gid}"


@contextmanager
def groups(user: str, gids: Sequence[int]) -> Iterator[None]:
    """Put a user into many more groups."""
    made = []
    try:
        for gid in gids:
            name = group_name(gid)
            subprocess.run(["groupadd", "-g", str(gid), "-U", user, name], check=True, timeout=60)
            made.append(name)
        yield
    finally:
        for name in made:
            subprocess.run(["groupdel", name], check=True, timeout=60)


def warning(mapped: int) -> str:
    return (
        f"bareboat: n1: warning: of your groups only {mapped} are mapped, as many as the kernel takes: "
        "the others count when files are opened, but show as 65534, and chgrp to them fails; "
        "to have another one among them, start the step with sg(1)\n"
    )


MAPPED = {
    3000: 340,
    # 4095 bytes hold one line of 12, "1000 1000 1", and so many of 24, "2000000000 2000000000 1".
    2_000_000_000: 1 + (4095 - 12) // 24,
}
"""How many groups one map holds, by the first of many gids."""


@pytest.fixture(scope="module")
def bed(prefix: Path) -> Iterator[Testbed]:
    """A Slurm of its own, which keeps the groups of these uids for a while; later users get the same uids."""
    with QuietTestbed(nodes=1, plugin=prefix) as testbed:
        yield testbed


@pytest.fixture(scope="module")
def members() -> Iterator[dict[int, pwd.struct_passwd]]:
    """A user for each: Slurm keeps the groups of a uid for a while."""
    with ExitStack() as stack:
        yield {first: stack.enter_context(temporary_user(f"bareboat-{first}")) for first in MAPPED}


@pytest.mark.parametrize("first", MAPPED)
def test_as_many_as_the_kernel_takes_are_mapped(
    bed: Testbed, members: dict[int, pwd.struct_passwd], tiny: Path, shared_path: Path, first: int
) -> None:
    """The other groups go on to open files, and each of them is mapped where it is the primary one."""
    member, mapped = members[first], MAPPED[first]
    last = first + MANY - 1
    files = {gid: shared_path / str(gid) for gid in (first, last)}
    with groups(member.pw_name, range(first, last + 1)):
        for gid, file in files.items():
            file.write_text("for the group\n")
            os.chown(file, 0, gid)
            file.chmod(0o040)
        own = shared_path / "own"
        own.touch()
        os.chown(own, member.pw_uid, member.pw_gid)

        def step(*command: object) -> subprocess.CompletedProcess[str]:
            argv = ["srun", "-w", "n1", "-n2", f"--container={tiny}", *map(str, command)]
            return bed.run(argv, user=member.pw_name, environment={"BAREBOAT_MOUNTS": str(shared_path)})

        shown = step("wc", "-l", "/proc/self/gid_map")
        assert (shown.returncode, shown.stderr) == (0, warning(mapped))
        assert shown.stdout == f"{mapped} /proc/self/gid_map\n" * 2
        listed = step("busybox", "id", "-G").stdout.splitlines()[0].split()
        assert listed[:mapped] == [str(gid) for gid in (member.pw_gid, *range(first, first + mapped - 1))]
        assert set(listed[mapped:]) == {"65534"}
        assert step("cat", *files.values()).stdout == "for the group\n" * 4
        assert step("busybox", "chgrp", first, own).stderr == warning(mapped)
        assert own.stat().st_gid == first
        refused = step("busybox", "chgrp", last, own)
        assert refused.stderr.count("Invalid argument") == 2
        assert own.stat().st_gid == first
        command = f"exec srun -w n1 --container={tiny} busybox id -g"
        other = bed.run(["sg", group_name(last), "-c", command], user=member.pw_name)
        assert (other.stdout, other.stderr) == (f"{last}\n", warning(mapped))
