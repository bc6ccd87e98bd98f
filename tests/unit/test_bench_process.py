"""A command is never left behind: not by its limit, its children, what it prints, or a signal to us."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks import process, programs
from benchmarks.errors import BenchError
from benchmarks.progress import Silent
from benchmarks.runner import Client, Stopped, allocate, stop_on_signals


def run(script: str, limit: float = 30.0) -> tuple[int | None, str, str]:
    return process.run(
        ("sh", "-c", script), environment=os.environ, directory=None, identity=None, limit=limit
    )


def is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_what_is_no_text_is_replaced() -> None:
    assert run(r"printf 'a\377b\r\nc'; echo d >&2; exit 3") == (3, "a\N{REPLACEMENT CHARACTER}b\nc", "d\n")


def test_output_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST", 1 << 20)
    with pytest.raises(BenchError, match="sh printed more than 1 MiB and was ended"):
        run("exec yes")


def test_a_child_that_holds_the_output_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.5)
    code, said, _ = run("trap '' TERM; sleep 600 & echo $!", limit=1.0)
    assert code is None
    assert is_gone(int(said))


def test_stopping_while_a_hung_command_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes when the command has been told to end, and does not want to."""
    monkeypatch.setattr(process, "_GRACE", 0.5)
    own = tmp_path / "pid"
    script = f"trap 'kill -INT {os.getpid()}' TERM; echo $$ > {own}; while :; do sleep 0.05; done"
    with pytest.raises(Stopped), stop_on_signals():
        run(script, limit=1.0)
    assert is_gone(int(own.read_text()))


def test_a_compiler_that_hangs_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GRACE", 0.5)
    monkeypatch.setattr(programs, "_LIMIT", 1.0)
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/pid\nwait\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BenchError, match=rf"`{compiler} .*` was ended after 1 s"):
        programs.compile_plain(("bareboat_io",), tmp_path)
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("where", ["salloc", "scancel"])
def test_no_allocation_is_left_behind(tmp_path: Path, where: str) -> None:
    """Stopped after the grant and before we know the job, or while it is released."""
    log = tmp_path / "log"
    scripts = {
        "salloc": "echo 'salloc: Granted job allocation 42' >&2",
        "scontrol": 'test "$2" = hostnames && echo n1 || echo "JobId=42 NodeList=n1 NumCPUs=4"',
        "scancel": "true",
    }
    scripts[where] += f"; kill -TERM {os.getpid()}; sleep 0.2"
    scripts["scancel"] += f'; echo "$@" >> {log}'
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    client = Client(environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    with pytest.raises(Stopped), stop_on_signals() as stop, allocate(client, nodes=1, progress=Silent()):
        pass
    assert stop.number == signal.SIGTERM
    assert log.read_text().startswith("--name=bareboat-bench-" if where == "salloc" else "42")
