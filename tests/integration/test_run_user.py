"""`bareboat run` by a user who is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import HELLO, Run, make_tiny, out, snapshot

from launcher.host import find_libexec


@pytest.fixture
def tiny(shared_path: Path) -> Path:
    return make_tiny(shared_path)


@pytest.fixture
def prefix(shared_path: Path) -> Iterator[Path]:
    """The compiled programs where every user can reach them; this tree may be root's alone."""
    target = shared_path / "prefix/libexec/bareboat"
    target.mkdir(parents=True)
    for name in ("bareboat-enter", "noop"):
        shutil.copy(Path(find_libexec(), name), target / name)
    yield shared_path / "prefix"


def as_user(account: pwd.struct_passwd, prefix: Path, *arguments: object, **variables: str) -> Run:
    """Run the command in a child that becomes ``account`` after everything is imported."""
    import launcher.apply
    import launcher.explain
    import launcher.launch
    import launcher.messages
    from launcher import _core, cli  # noqa: F401

    launcher.messages.known_errors()
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        try:
            for (_, write), number in zip(pipes, (1, 2), strict=True):
                os.dup2(write, number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.initgroups(account.pw_name, account.pw_gid)
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            os.chdir(account.pw_dir)
            os.environ.clear()
            os.environ.update({"HOME": account.pw_dir, "PATH": "/usr/bin:/bin", **variables})
            sys.argv = ["bareboat", *map(str, arguments)]
            sys.prefix = str(prefix)
            cli.main()
        except SystemExit as error:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.code if isinstance(error.code, int) else 1)
        finally:
            os._exit(99)
    texts = []
    for _, write in pipes:
        os.close(write)
    for read, _ in pipes:
        with os.fdopen(read, encoding="utf-8") as pipe:
            texts.append(pipe.read())
    _, status = os.waitpid(child, 0)
    return subprocess.CompletedProcess(tuple(map(str, arguments)), os.waitstatus_to_exitcode(status), *texts)


def test_a_user_runs_mpi_in_an_image_that_is_roots(
    user: pwd.struct_passwd, prefix: Path, mpich: Path
) -> None:
    done = as_user(user, prefix, "run", mpich, "--", HELLO)
    assert "library MPICH Version: 4.0.2" in out(done)


def test_a_user_is_that_user_at_home_and_nothing_more(
    user: pwd.struct_passwd, prefix: Path, plain: Path
) -> None:
    script = "id -u; id -g; id -un; pwd; echo x > made; cat made; cat /etc/shadow || echo closed"
    done = as_user(user, prefix, "run", plain, "--", "sh", "-c", script)
    home = user.pw_dir
    expected = [str(user.pw_uid), str(user.pw_gid), user.pw_name, home, "x", "closed"]
    assert done.stdout.split() == expected
    assert Path(home, "made").stat().st_uid == user.pw_uid


def test_other_groups_count_and_have_no_number(
    user: pwd.struct_passwd, group: str, prefix: Path, plain: Path
) -> None:
    """Without root, a user namespace has one gid (user_namespaces(7)); the plan says what that means."""
    file = Path(user.pw_dir, "theirs")
    file.write_text("by the group\n")
    shutil.chown(file, "root", group)
    file.chmod(0o640)
    script = f"id -G; cat {file}; chgrp {group} ~/made || echo refused"
    Path(user.pw_dir, "made").touch()
    os.chown(Path(user.pw_dir, "made"), user.pw_uid, user.pw_gid)
    done = as_user(user, prefix, "run", plain, "--", "sh", "-c", script)
    assert done.stdout.splitlines() == [f"{user.pw_gid} 65534", "by the group", "refused"]
    assert f"your groups {group} show as 65534 inside" in out(as_user(user, prefix, "plan", plain))


def test_a_user_starts_a_root_without_mount_points(user: pwd.struct_passwd, prefix: Path, tiny: Path) -> None:
    before = snapshot(tiny)
    assert out(as_user(user, prefix, "run", tiny, "--", "sh", "-c", "ls -d /proc/self; pwd")).split() == [
        "/proc/self",
        user.pw_dir,
    ]
    assert snapshot(tiny) == before
