"""strace, attached to a daemon before a step starts; it follows the step."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
