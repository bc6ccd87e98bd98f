"""strace, attached to a daemon before a step starts; it follows the step."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from steps import wait_until


@contextmanager
def traced(pid: int, log: Path, *options: str) -> Iterator[None]:
    """Trace a process and what it starts into ``log``, as strace's ``options`` say."""
    command = ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(log), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        while f"TracerPid:\t{tracer.pid}" not in Path(f"/proc/{pid}/status").read_text():
            assert tracer.poll() is None, tracer.communicate()
        yield
    finally:
        # Asked to end, strace waits for a stop of each thread, and for ever for one that ends just then.
        tracer.kill()
        tracer.communicate(timeout=60)


@contextmanager
def stopping(pids: Sequence[int], log: Path, call: str, *options: str) -> Iterator[None]:
    """Stop the first process below some that makes a system call, with SIGSTOP; it stays so afterwards.

    ``options`` are strace's, which may say what call it is.
    """
    rule = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGSTOP:when=1"]
    command = ["strace", "-f", "-qq", *rule, *options, "-o", str(log), *(f"-p{pid}" for pid in pids)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)

    def attached() -> bool:
        assert tracer.poll() is None
        tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/status")]
        return all(f"TracerPid:\t{tracer.pid}\n" in task.read_text() for task in tasks)

    try:
        wait_until(attached)
        yield
    finally:
        tracer.terminate()
        tracer.communicate(timeout=60)


def stopped(log: Path) -> int:
    """Wait until a process was stopped; its number."""
    wait_until(lambda: "--- stopped by SIGSTOP ---" in log.read_text())
    found = re.findall(r"^(\d+) .*stopped by SIGSTOP", log.read_text(), re.MULTILINE)
    return int(found[0])
