"""One command, run to its end or ended: never left behind, whatever it prints and whenever we are stopped."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.errors import BenchError

MOST = 64 << 20
"""Bytes that a command may print; none that is measured prints a hundredth of it."""

_GRACE = 15.0
"""Seconds that a command has to end after it was told to: srun, to end its step."""

_AT_ONCE = 3600.0
"""Seconds that epoll waits at most before it is called again: it cannot count 25 days."""

_LAST = 2.0
"""Seconds for what was killed to be gone."""


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str | None,
    identity: tuple[int, int, list[int]] | None,
    limit: float,
) -> tuple[int | None, str, str]:
    """Run a command; its exit code is None if it reached its limit.  It never outlives this call.

    identity: user, group and further groups to run as.  Raises OSError where it cannot be started, BenchError
    where it prints without an end.
    """
    with signals_held_back() as came:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=directory,
            # Ctrl-C is ours to pass on: srun would only ask for a second one.
            start_new_session=True,
            user=identity[0] if identity else None,
            group=identity[1] if identity else None,
            extra_groups=identity[2] if identity else None,
        )
    with process, _Printed(process, command[0]) as printed:
        try:
            for number in came:
                signal.raise_signal(number)
            ended = printed.wait(limit)
        except BaseException:
            _end(process, printed)
            raise
        if not ended:
            _end(process, printed)
        return process.returncode if ended else None, *printed.texts()


@contextlib.contextmanager
def signals_held_back() -> Iterator[list[int]]:
    """Note the signals that come meanwhile; whoever asked for it raises them again."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class _Printed:
    """What a process prints, and whether it has ended."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        assert process.stdout is not None and process.stderr is not None
        self._process, self._name = process, name
        self._found = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        self._open = selectors.DefaultSelector()
        for number in self._found:
            self._open.register(number, selectors.EVENT_READ)

    def __enter__(self) -> _Printed:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wait(self, limit: float, *, drop: bool = False) -> bool:
        """Read until it has ended and nobody holds its outputs; False where that takes longer than the limit.

        drop: more than MOST is read and forgotten.  Raises BenchError for that otherwise.
        """
        until = time.monotonic() + limit
        while self._open.get_map():
            for key, _ in self._open.select(min(max(0.0, until - time.monotonic()), _AT_ONCE)):
                self._read(key.fd, drop=drop)
            if time.monotonic() > until:
                return False
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def texts(self) -> tuple[str, str]:
        """What was read, with the ends of lines as ours; bytes that are no UTF-8 are replaced."""
        stdout, stderr = (
            bytes(found).decode(errors="replace").replace("\r\n", "\n") for found in self._found.values()
        )
        return stdout, stderr

    def _read(self, number: int, *, drop: bool) -> None:
        got = os.read(number, 1 << 16)
        if not got:
            self._open.unregister(number)
        elif len(self._found[number]) + len(got) <= MOST:
            self._found[number] += got
        elif not drop:
            raise BenchError(
                f"{self._name} printed more than {MOST >> 20} MiB and was ended",
                hint="let the program print less, or to a file",
            )


def _end(process: subprocess.Popen[bytes], printed: _Printed) -> None:
    """Tell a command to end (srun then kills its step), and see to it that it and its children do."""
    with signals_held_back() as came:
        process.terminate()
        if not printed.wait(_GRACE, drop=True):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()  # it may have left that group
            printed.wait(_LAST, drop=True)
    for number in came:
        signal.raise_signal(number)
