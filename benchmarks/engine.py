"""Runs cases in turns, round by round, and hands on a record of each run.  The only loop of all suites."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.cases import BARE, Case, Reading
from benchmarks.errors import BenchError
from benchmarks.progress import Progress
from benchmarks.records import Record
from benchmarks.runner import Hung, Output, Stopped
from benchmarks.schedule import Turn, make_schedule
from benchmarks.stats import median

TRIES = 2
"""So many failures in a row, and a side of a case is given up; one alone may be the machine's."""

CellKey = tuple[str, str]
"""Suite and key of a case."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often.

    seconds: no further round is begun that would end later, None: all rounds are run; slack: seconds after
    these, from which on no run is begun either, so that runs that hang make no round endless.
    """

    rounds: int
    warmup: int
    seed: int
    seconds: float | None = None
    slack: float = 0.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why it ended early ("": it did not), and whether that is a failure: a budget used up is none."""

    text: str = ""
    failed: bool = False


@dataclass(slots=True)
class Tally:
    """Failures in a row of each side of each case; what has too many is set aside.

    Sides are judged with bare, so that a case whose bare side fails has nothing left to run.  Each session
    tries once more what those before it had set aside: its cause may be gone.
    """

    _failed: Counter[tuple[CellKey, str]] = field(default_factory=Counter)
    _again: set[tuple[CellKey, str]] = field(default_factory=set)
    _session: int = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tally:
        """Count what is on record."""
        tally = cls()
        for record in records:
            tally.note(record)
        return tally

    def begin(self, session: int) -> None:
        """Give each side that is set aside a new try, where this session is another one than until now."""
        if session != self._session:
            self._session = session
            self._again = {key for key, count in self._failed.items() if count >= TRIES}

    def note(self, record: Record) -> bool:
        """Count a run; True where it makes its side one that is set aside."""
        self.begin(record.session)
        key = (record.suite, record.case), record.side
        self._failed[key] = self._failed[key] + 1 if record.error else 0
        self._again.discard(key)
        return self._failed[key] >= TRIES

    def is_aside(self, cell: CellKey, side: str) -> bool:
        """Is this side given up?"""
        return self.is_lost(cell, side) and (cell, side) not in self._again

    def is_lost(self, cell: CellKey, side: str) -> bool:
        """Was this side given up, and has not run well since?"""
        return self._failed[cell, side] >= TRIES

    def runs(self, case: Case, side: str) -> bool:
        """Is neither this side given up, nor all that it would be compared with?"""
        cell = case.suite, case.key
        if self.is_aside(cell, BARE) or self.is_aside(cell, side):
            return False
        return side != BARE or any(not self.is_aside(cell, other) for other in case.commands if other != BARE)


def run_cases(
    cases: Sequence[Case],
    pace: Pace,
    known: Sequence[Record],
    *,
    session: int,
    start: Callable[[Case, str], Output],
    keep: Callable[[Record], None],
    check: Callable[[], None],
    progress: Progress,
) -> Ending:
    """Run all turns that ``known`` does not hold.

    The first ``warmup`` rounds of each session are dropped: after a pause as well, caches are cold.  A round
    of a case that was cut off is run anew as a whole, so that its sides stay close in time.  A failed run is
    recorded, and the others go on; ``check`` is asked then, and raises BenchError where nothing can be run
    any more.  Stopped ends it, and what is recorded stays.
    """
    by_key = {(case.suite, case.key): case for case in cases}
    turns = _missing(make_turns(by_key, pace), by_key, known)
    if not any(turn.round >= 0 for turn in turns):
        return Ending()
    tally = Tally.of(known)
    tally.begin(session)
    clock = _Clock(pace)
    number = -pace.warmup - 1
    progress.begin("measuring", len(turns))
    try:
        for turn in turns:
            if turn.round != number:
                number = turn.round
                if not clock.has_room():
                    done = max(0, number)
                    return Ending(f"the time that was given is used up after {done} of {pace.rounds} rounds")
            if clock.is_over():
                where = f"in round {number + 1} of {pace.rounds}" if number >= 0 else "in the warm-up"
                return Ending(f"the time that was given is used up {where}, which is cut off")
            case = by_key[turn.cell]
            progress.run(f"{case.suite}: {case.key}, {turn.side}")
            if not tally.runs(case, turn.side):
                continue
            record = _run(case, turn, session, start)
            if record.error:
                # What failed with its allocation says nothing of the program, and is run anew.
                check()
            keep(record)
            if tally.note(record):
                why = record.error.partition("\n")[0]
                progress.note(f"{case.suite}: {case.key}, {turn.side} is set aside: {why}")
    except Stopped as stopped:
        return Ending(str(stopped), failed=True)
    except BenchError as error:
        progress.note(str(error))
        return Ending(str(error), failed=True)
    return Ending()


def make_turns(cases: dict[CellKey, Case], pace: Pace) -> tuple[Turn[CellKey, str], ...]:
    """The order of all runs; the same for the same cases and pace.  Pure."""
    return make_schedule(
        tuple(cases),
        lambda cell: tuple(cases[cell].commands),
        rounds=pace.rounds,
        warmup=pace.warmup,
        seed=pace.seed,
    )


def complete_rounds(
    records: Iterable[Record], sides: Callable[[CellKey], Iterable[str]]
) -> dict[tuple[CellKey, int], dict[str, Record]]:
    """Counted rounds of cases whose sides have all run in one session, failed or not.  Pure.

    A side that was set aside before counts as run.
    """
    rounds: dict[tuple[CellKey, int, int], dict[str, Record]] = {}
    tally = Tally()
    gone: dict[tuple[CellKey, int, int], set[str]] = {}
    for record in records:
        cell = record.suite, record.case
        tally.begin(record.session)
        if record.round >= 0:
            place = cell, record.round, record.session
            rounds.setdefault(place, {})[record.side] = record
            gone.setdefault(place, set()).update(
                side for side in sides(cell) if tally.is_aside(cell, side) or tally.is_aside(cell, BARE)
            )
        tally.note(record)
    return {
        (cell, number): found
        for (cell, number, session), found in rounds.items()
        if set(sides(cell)) <= found.keys() | gone[cell, number, session]
    }


def _missing(
    turns: Sequence[Turn[CellKey, str]], cases: dict[CellKey, Case], known: Sequence[Record]
) -> list[Turn[CellKey, str]]:
    def sides(cell: CellKey) -> Iterable[str]:
        return cases[cell].commands if cell in cases else ()

    done = complete_rounds(known, sides)
    left = [turn for turn in turns if turn.round >= 0 and (turn.cell, turn.round) not in done]
    cells = {turn.cell for turn in left}
    return [turn for turn in turns if turn.round < 0 and turn.cell in cells] + left


def _run(case: Case, turn: Turn[CellKey, str], session: int, start: Callable[[Case, str], Output]) -> Record:
    began, clock = time.time(), time.perf_counter()
    common = (session, turn.round, case.suite, case.key, turn.side, round(began, 3))
    try:
        try:
            output = start(case, turn.side)
            reading = case.parse(output)
        except Hung as hung:
            output, reading = hung.output, _salvage(case, hung)
    except BenchError as error:
        seconds = round(time.perf_counter() - clock, 4)
        return Record(*common, seconds, error=str(error), hint=error.hint)
    return Record(*common, round(output.seconds, 4), reading.figures, reading.facts, reading.notes)


def _salvage(case: Case, hung: Hung) -> Reading:
    """The result of a run that hung after it was printed: some MPIs do not return from MPI_Finalize at times.

    Raises the error of the run where there is none.
    """
    if case.whole:
        raise hung
    try:
        reading = case.parse(hung.output)
    except BenchError:
        raise hung from None
    return replace(reading, notes=(*reading.notes, "hung after its result was printed, and was ended"))


class _Clock:
    """Is there room for one more round, if it takes as long as those until now in the median?"""

    def __init__(self, pace: Pace) -> None:
        self._seconds, self._slack = pace.seconds, pace.slack
        self._began = self._last = time.monotonic()
        self._rounds: list[float] = []
        self._asked = False

    def has_room(self) -> bool:
        now = time.monotonic()
        if self._asked:
            self._rounds.append(now - self._last)
        self._asked, self._last = True, now
        likely = median(self._rounds) if self._rounds else 0.0
        return self._seconds is None or now - self._began + likely <= self._seconds

    def is_over(self) -> bool:
        """Is even the time over that a last round may take longer?"""
        return self._seconds is not None and time.monotonic() - self._began > self._seconds + self._slack
