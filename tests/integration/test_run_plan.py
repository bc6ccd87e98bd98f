"""`bareboat plan`, `bareboat doctor`, and the entry that Slurm's plugin calls."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from launching import HELLO, Run, bareboat, out, snapshot, start

from launcher.apply import check
from launcher.entry import decode_entry
from launcher.errors import BareboatError
from launcher.program import Verb, decode


def test_a_plan_changes_nothing_and_says_what_a_run_does(mpich: Path) -> None:
    before = snapshot(mpich / "etc")
    document = json.loads(out(bareboat("plan", "--json", mpich, "--", HELLO)))
    text = out(bareboat("plan", mpich, "--", HELLO))
    # What the kernel has of a directory, it has from the last launch.
    assert "Read while the container is made" not in text
    assert snapshot(mpich / "etc") == before
    targets = [op["args"][1] for op in document["operations"] if op["verb"] == "bind"]
    assert document["mpi"]["verdict"] == "native"
    assert document["program"]["path"] == HELLO
    for target in targets:
        assert target in text
    check = " ".join(f"[ -e {target} ] &&" for target in targets)
    assert out(bareboat("run", mpich, "--", "sh", "-c", f"{check} echo all")) == "all\n"


def test_a_plan_that_nobody_reads_ends_quietly(plain: Path) -> None:
    command = f"{sys.executable} -m launcher.cli plan {plain} | true"
    done = start(["sh", "-c", command], "/", {})
    assert (done.returncode, done.stderr) == (0, "")


def step(*argv: str, cwd: str = "/", **variables: str) -> Run:
    return start([sys.executable, "-I", "-m", "launcher.step", "--", *argv], cwd, variables)


def test_the_plugins_entry_writes_the_program(mpich: Path) -> None:
    done = step(HELLO, SLURM_CONTAINER=str(mpich), SLURM_JOB_ID="1", SLURM_STEP_ID="0")
    entry = decode_entry(os.fsencode(out(done)))
    operations = decode(entry.program)
    assert entry.cacheable
    assert operations[0].args == (str(mpich),)
    assert any(op.verb is Verb.BIND and op.args[1].startswith("/run/bareboat/mpi/") for op in operations)


def test_the_plugins_entry_warns_of_a_program_that_slurm_will_not_find(plain: Path) -> None:
    done = step("nope", SLURM_CONTAINER=str(plain), SLURM_JOB_ID="1", SLURM_STEP_ID="0")
    assert done.returncode == 0
    assert done.stderr.startswith("bareboat: warning: cannot run 'nope': it is not in the container's PATH")


def test_the_plugins_entry_binds_the_spool_of_a_batch_script(plain: Path, shared_path: Path) -> None:
    spool = shared_path / "job00007"
    spool.mkdir()
    (spool / "slurm_script").write_text("#!/bin/nosuch\n")
    (spool / "slurm_script").chmod(0o700)
    done = step(
        *(str(spool / "slurm_script"),),
        **{"SLURM_CONTAINER": str(plain), "SLURM_JOB_ID": "7", "BAREBOAT_WITHOUT": "tmp"},
    )
    assert done.returncode == 0
    entry = decode_entry(os.fsencode(done.stdout))
    bound = [op.args for op in decode(entry.program) if op.verb is Verb.BIND]
    assert ("%{spool}", "%{spool}", "rw,optional,unless-shown") in bound
    assert (entry.cacheable, entry.guards) == (False, ())
    assert "its interpreter /bin/nosuch is not in the container" in done.stderr


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "SLURM_CONTAINER is not set: there is no image to run"),
        ({"SLURM_CONTAINER": "/none"}, "the image /none does not exist"),
        (
            {"SLURM_CONTAINER": "/etc/passwd"},
            "/etc/passwd is not an image: it is a file of no known image format",
        ),
        ({"SLURM_CONTAINER": "/etc", "SLURM_JOB_ID": "x"}, "SLURM_JOB_ID is 'x', which is not a number"),
    ],
)
def test_the_plugins_entry_says_what_failed(variables: dict[str, str], text: str) -> None:
    done = step("true", **variables)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"bareboat: error: {text}\n")


def test_the_core_refuses_what_is_no_program() -> None:
    with pytest.raises(
        BareboatError, match=r"cannot read the program at record 1: not a program of bareboat"
    ) as caught:
        check(b"nonsense\0")
    assert isinstance(caught.value.__cause__, OSError)


def test_the_doctor_finds_this_host_fit() -> None:
    done = bareboat("doctor", SLURM_CONF="/none")
    lines = {line[8:].split("  ")[0]: line.split()[0] for line in done.stdout.splitlines() if line[:1] != " "}
    for name in ("kernel", "user namespaces", "overlay", "bareboat-enter", "configuration", "host MPI"):
        assert lines[name] == "ok"
    assert done.stderr == ""
