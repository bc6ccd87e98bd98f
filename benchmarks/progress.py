"""Says what runs and what is left: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from benchmarks.shown import printable_lines

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from rich.progress import TaskID


class Progress(Protocol):
    """What a suite tells while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, title: str, total: int) -> None:
        """Announce ``total`` runs."""

    def run(self, what: str) -> None:
        """Say that the next run starts."""

    def note(self, text: str) -> None:
        """Say something that must not be missed, for example a failed run."""


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begin(self, title: str, total: int) -> None:
        return None

    def run(self, what: str) -> None:
        return None

    def note(self, text: str) -> None:
        return None


class PlainLines(Silent):
    """A line at the start, then at most one every ``interval`` seconds, for logs."""

    def __init__(self, write: Callable[[str], None], *, interval: float = 10.0) -> None:
        self._write = write
        self._interval = interval
        self._title = ""
        self._total = 0
        self._started = 0
        self._last = self._began = time.monotonic()

    def begin(self, title: str, total: int) -> None:
        self._title, self._total, self._started = title, total, 0
        self._last = self._began = time.monotonic()
        self._write(f"{title}: {total} runs")

    def run(self, what: str) -> None:
        self._started += 1
        if time.monotonic() - self._last >= self._interval:
            self._last = time.monotonic()
            left = format_left(time.monotonic() - self._began, self._started - 1, self._total)
            self._write(f"{self._title}: run {self._started} of {self._total}{left}: {what}")

    def note(self, text: str) -> None:
        self._write(text)


class Bar:
    """A bar with the time left, on a terminal; gone when the suite ends."""

    def __init__(self, console: Console) -> None:
        from rich import progress as bars

        self._bars = bars.Progress(
            bars.TextColumn("{task.fields[title]}", markup=False),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[what]}", markup=False),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._started = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, title: str, total: int) -> None:
        self._started = 0
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task("", total=total, title=title, what="")

    def run(self, what: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=self._started, what=printable_lines(what))
        self._started += 1

    def note(self, text: str) -> None:
        self._bars.console.print(printable_lines(text), markup=False, highlight=False)


def format_left(seconds: float, done: int, total: int) -> str:
    """How long the rest takes if it goes on as it did: ", about 3 min left".  Pure."""
    if done < 1:
        return ""
    left = seconds / done * (total - done)
    return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"


def make_progress(console: Console) -> Progress:
    """Choose by where the console goes: a bar on a terminal, lines elsewhere."""
    if console.is_terminal:
        return Bar(console)
    return PlainLines(
        lambda text: console.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)
    )
