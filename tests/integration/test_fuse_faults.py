"""Every system call that shows a squashfs image by FUSE fails once; the server is missing, or fails."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest
from fault_scene import HARMLESS, NEVER_FAIL
from faults import Command, calls_of, inject_each
from launching import make_tiny

from launcher.apply import find_enter
from launcher.program import Operation, Verb, encode

SERVER = "/usr/bin/squashfuse_ll"
MAKES = {"socketpair", "pipe2", "wait4", "sendmsg", "fsopen", "fsconfig", "fsmount"}
TOLD = re.compile(r"bareboat: cannot [a-zA-Z][^:]*: ([^;:]+)(; .*)?\n")


@pytest.fixture
def packed(shared_path: Path) -> Path:
    tiny, file = make_tiny(shared_path), shared_path / "tiny.sqsh"
    subprocess.run(["mksquashfs", str(tiny), str(file), "-quiet", "-no-progress"], check=True, timeout=60)
    file.chmod(0o644)
    return file


def command(packed: Path, user: pwd.struct_passwd, server: str = SERVER) -> Command:
    program = packed.with_name("program")
    operations = (Operation(Verb.ROOT_SQUASHFS, (str(packed), server)), Operation(Verb.NO_NEW_PRIVS, ()))
    program.write_bytes(encode(operations))
    return Command([find_enter(), str(program), "--", "/bin/ls", "/bin/ls"], user)


def test_each_call_that_shows_an_image_fails_once(packed: Path, user: pwd.struct_passwd) -> None:
    whole = command(packed, user)
    assert whole.run().returncode == 0
    calls = [call for call in calls_of(whole, start=str(packed)) if call.name not in NEVER_FAIL]
    assert {call.name for call in calls} >= MAKES
    for outcome in inject_each(whole, calls):
        if outcome.code == 0:
            assert outcome.call.name in {*HARMLESS, "wait4"} or outcome.call.path() == "/dev/null", outcome
            assert outcome.err == "", outcome
        else:
            assert outcome.code in {125, 126}, outcome
            assert (told := TOLD.fullmatch(outcome.err)), outcome
            assert told[1] == os.strerror(outcome.error), outcome


def test_a_server_that_is_missing_or_no_server_is_named(packed: Path, user: pwd.struct_passwd) -> None:
    for server, words in (
        ("/nowhere/squashfuse_ll", "it cannot be executed: No such file or directory"),
        ("/etc/passwd", "it cannot be executed: Permission denied"),
    ):
        done = command(packed, user, server).run()
        assert done.returncode == 125
        assert (
            f"cannot read the squashfs image {packed} (its FUSE server says: {words})" in done.stderr.decode()
        )
    done = command(packed, user, "/bin/true").run()
    assert done.returncode == 125
    assert f"cannot read the squashfs image {packed}: " in done.stderr.decode()
    done = command(packed, user, "").run()
    assert done.returncode == 125
    assert f"cannot find a FUSE server for the image {packed}: " in done.stderr.decode()
