"""Cases and what their runs print, for tests of the engine and of what it keeps."""

from __future__ import annotations

from benchmarks.cases import BARE, CONTAINER, Case, Command, Facts, Figure, Reading
from benchmarks.errors import BenchError
from benchmarks.folder import Kept, outline
from benchmarks.records import Record
from benchmarks.results import Setting
from benchmarks.runner import Output
from benchmarks.stats import Better

SETTING = Setting("/images/app", "7", ("n1", "n2"), 2, 6, 1, 20260)


def read_number(output: Output) -> Reading:
    """The number that a run printed, or an error."""
    try:
        value = float(output.stdout)
    except ValueError as error:
        raise BenchError(f"no number: {output.stdout}", hint="print one") from error
    return Reading((Figure("time", value, "us", Better.LOWER, 8),), Facts(output.stderr))


def bench_case(title: str, *sides: str, suite: str = "osu", nodes: int = 1) -> Case:
    """A case of bare, the container, and any further sides."""
    commands = {side: Command((title, side)) for side in (BARE, CONTAINER, *sides)}
    return Case(suite, title, nodes, 2, commands, read_number)


def bench_record(
    number: int,
    side: str,
    value: float | None,
    *,
    case: Case | None = None,
    session: int = 0,
    facts: Facts | None = None,
    size: int | None = 8,
) -> Record:
    """A run that gave a value, or (None) failed."""
    case = case or bench_case("a")
    figures = () if value is None else (Figure("time", value, "us", Better.LOWER, size),)
    error, hint = ("it broke", "mend it") if value is None else ("", "")
    return Record(
        session,
        number,
        case.suite,
        case.key,
        side,
        1.0,
        0.5,
        figures,
        facts or Facts("MPICH 4", "abc", "shared memory"),
        error=error,
        hint=hint,
    )


def bench_kept(*cases: Case) -> Kept:
    """What a folder keeps of a measurement of these cases."""
    return Kept(SETTING, {"image": "/images/app"}, tuple(outline(case) for case in cases))
