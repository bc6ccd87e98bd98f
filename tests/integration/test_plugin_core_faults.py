"""What the plugin takes from the core, each system call failing once: the cache, its guards, join and settle.

tests/c/drive_core.c does what the plugin's helper and ranks do, without Slurm.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_scene import ENTERED, HARMLESS, Scene, assert_told, can_fail, find_hold, heard, make_scene, view
from faults import PLAUSIBLE, Command, calls_of, inject, inject_each

TOP = Path(__file__).parents[2]
OVERSIZE = "0" * 32


@pytest.fixture(scope="session")
def driver() -> str:
    path = TOP / "build/c/drive_core"
    subprocess.run(
        ["make", "-s", "-C", str(TOP / "tests/c"), "../../build/c/drive_core"], check=True, timeout=120
    )
    return str(path)


class Cache:
    """A cache directory of the user's and what the driver says of it."""

    def __init__(self, driver: str, path: Path, user: pwd.struct_passwd) -> None:
        self.driver, self.path, self.user = driver, path, user

    def reset(self, *, full: bool = False) -> None:
        """Two entries, and, for ``full``, what takes all the room that there is for entries."""
        subprocess.run(["rm", "-rf", str(self.path)], check=True)
        self.path.mkdir(mode=0o700)
        os.chown(self.path, self.user.pw_uid, self.user.pw_gid)
        self.run("one", "first")
        self.run("two", "old")
        if full:
            with (self.path / OVERSIZE).open("wb") as file:
                file.truncate(15 << 20)

    def command(self, *arguments: str) -> Command:
        return Command([self.driver, "cache", str(self.path), *arguments], self.user)

    def run(self, *arguments: str) -> list[str]:
        done = self.command(*arguments).run()
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode().splitlines()

    def names(self) -> set[str]:
        return {path.name for path in self.path.iterdir()} - {OVERSIZE}


@pytest.fixture
def cache(driver: str, shared_path: Path, user: pwd.struct_passwd) -> Cache:
    made = Cache(driver, shared_path / "cache", user)
    made.reset()
    return made


def test_each_call_that_reads_the_cache_fails_once(cache: Cache) -> None:
    """A miss at worst."""
    command = cache.command("one")
    assert cache.run("one") == ["hit first"]
    before = cache.names()
    calls = [
        call for call in can_fail(calls_of(command, start=str(cache.path))) if "write(1" not in call.line
    ]
    assert {"openat", "read"} <= {call.name for call in calls}
    for outcome in inject_each(command, calls):
        opened = outcome.call.name == "openat" and outcome.call.path() == str(cache.path)
        if outcome.code == 125:
            text = outcome.err.removeprefix("bareboat: ").removesuffix("\n")
            assert text.endswith(f" the cache {cache.path}: {os.strerror(outcome.error)}"), outcome
        else:
            assert (outcome.code, outcome.err, opened) == (0, "", False), outcome
            expected = b"hit first\n" if outcome.call.name in HARMLESS else b"miss\n"
            assert outcome.out == expected, outcome
    assert cache.names() == before
    assert cache.run("one") == ["hit first"]


def test_each_call_that_keeps_a_plan_fails_once(cache: Cache) -> None:
    """The old plan, the new one or none; nothing in between, and nothing is left."""
    cache.reset(full=True)
    command = cache.command("two", "second")
    calls = [
        call for call in can_fail(calls_of(command, start=str(cache.path))) if "write(1" not in call.line
    ]
    assert {"getdents64", "linkat", "unlinkat", "writev"} <= {call.name for call in calls}
    cache.reset()
    names = cache.names()
    assert len(names) == 2
    for call in calls:
        cache.reset(full=True)
        outcome = inject(command, call, PLAUSIBLE.get(call.name, errno.EIO))
        after = cache.run("two")
        if outcome.out.endswith(b"\nkept\n"):
            assert after == ["hit second"], outcome
        elif outcome.code == 125:
            assert after == ["hit old"], outcome
        else:
            assert after in (["hit old"], ["miss"]), outcome
        assert cache.names() <= names, outcome
        # Whatever the directory lists behind what fills it has to go.
        assert cache.run("one") in (["hit first"], ["miss"])


def test_a_plan_of_which_only_a_part_could_be_written_is_not_kept(cache: Cache) -> None:
    command = cache.command("two", "second")
    calls = calls_of(command, start=str(cache.path))
    cache.reset()
    (write,) = [call for call in calls if call.name == "writev"]
    outcome = inject(command, write, errno.ENOSPC, instead="retval=7")
    assert outcome.out.endswith(b"\nnot kept\n")
    assert cache.run("two") == ["hit old"]


@pytest.fixture
def scene(shared_path: Path, user: pwd.struct_passwd, image: Callable[[str], Path]) -> Iterator[Scene]:
    with make_scene(shared_path, user, image("deb13-mpich")) as made:
        yield made


def stamp(path: Path) -> str:
    now = path.lstat()
    return f"{now.st_dev} {now.st_ino} {now.st_size} {now.st_mtime_ns} {now.st_ctime_ns}"


def test_a_guard_that_cannot_be_asked_does_not_hold(
    driver: str, shared_path: Path, user: pwd.struct_passwd
) -> None:
    file, link, gone = shared_path / "file", shared_path / "link", shared_path / "gone"
    file.touch()
    link.symlink_to(file)
    records = ["bareboat-entry", "1", "cache"]
    for kind, path in (("same", file), ("link", link), ("there", file), ("absent", gone)):
        records += ["guard", kind, str(path), stamp(path) if kind in {"same", "link"} else ""]
    records += ["program", "bareboat-program", "1", "root-dir", "/image", "end"]
    entry = shared_path / "entry"
    entry.write_text("".join(record + "\0" for record in records))
    command = Command([driver, "guards", str(entry)], user)
    assert command.run().stdout == b"holds\n"
    calls = [call for call in calls_of(command, start=str(file)) if call.path()]
    assert len(calls) == 4
    for outcome in inject_each(command, calls):
        assert outcome.out.decode() == f"broken {outcome.call.path()}\n", outcome


@contextmanager
def holder(scene: Scene) -> Iterator[tuple[str, ...]]:
    """A container that is held; its process and the numbers of its namespaces and root, as arguments."""
    process = subprocess.Popen(
        [find_hold(), "--hold", str(scene.program), "alone", "-1"],
        user=scene.user.pw_uid,
        group=scene.user.pw_gid,
        extra_groups=(),
        cwd="/",
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = process.stdout.read(ENTERED.size)
        assert heard(told) == [(0, "")]
        yield tuple(map(str, ENTERED.unpack(told)[4:]))
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(timeout=60) == 0


def test_each_call_of_a_rank_that_joins_fails_once(driver: str, scene: Scene) -> None:
    with holder(scene) as (pid, *numbers):
        look = [f"/proc/self/{name}" for name in ("mountinfo", "environ", "status")]
        argv = [driver, "join", str(scene.program), pid, *numbers, "/bin/cat", *look, "/run/link", "here"]
        command = Command(argv, scene.user)
        whole = view(command.run().stdout)
        assert {"generated", "where the step is", "NoNewPrivs:\t1", "D=e"} <= set(whole)
        calls = can_fail(calls_of(command, start=f"/proc/{pid}/ns/user"))
        assert {"chdir", "openat", "prctl", "setns"} <= {call.name for call in calls}
        for outcome in inject_each(command, calls[:-1]):
            if outcome.call.name in HARMLESS:
                assert (outcome.code, outcome.err, view(outcome.out)) == (0, "", whole), outcome
            else:
                assert (outcome.code, outcome.out) == (125, b""), outcome
                assert_told(outcome, re.sub(r"^bareboat: |\n$", "", outcome.err))
