"""The loop of ``bench run``: what is run, in which order, what fails, and what goes on."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from bench_cases import bench_case, bench_record

from benchmarks.cases import BARE, CONTAINER, Case
from benchmarks.engine import TRIES, Ending, Pace, complete_rounds, run_cases
from benchmarks.errors import BenchError
from benchmarks.progress import Silent
from benchmarks.records import Record
from benchmarks.runner import Hung, Output, Stopped, stop_on_signals

A, B = bench_case("a"), bench_case("b", "cold")
PACE = Pace(rounds=3, warmup=1, seed=1)


@dataclass
class Machine:
    """Runs cases without a machine: prints 1, unless told otherwise for the n-th run of a side of a case."""

    prints: dict[tuple[str, str, int], str | Exception] = field(default_factory=dict)
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: list[Record] = field(default_factory=list)
    checks: int = 0
    ending: Ending = field(default_factory=Ending)

    def start(self, case: Case, side: str) -> Output:
        number = self.runs[case.title, side]
        self.runs[case.title, side] += 1
        said = self.prints.get((case.title, side, number), "1")
        if isinstance(said, Exception):
            raise said
        return Output(said, "", 0.1)

    def check(self) -> None:
        self.checks += 1

    def go(
        self,
        *cases: Case,
        known: tuple[Record, ...] = (),
        session: int = 0,
        pace: Pace = PACE,
        check: Callable[[], None] | None = None,
    ) -> str:
        self.ending = run_cases(
            cases,
            pace,
            known,
            session=session,
            start=self.start,
            keep=self.kept.append,
            check=check or self.check,
            progress=Silent(),
        )
        return self.ending.text


def test_every_round_has_every_side_of_every_case_next_to_each_other() -> None:
    machine = Machine()
    assert machine.go(A, B) == ""
    assert set(machine.runs.values()) == {4}
    assert len(machine.runs) == 5
    assert [record.round for record in machine.kept] == sorted(record.round for record in machine.kept)
    for number in range(-1, 3):
        there = [record.case for record in machine.kept if record.round == number]
        assert len(there) == 5
        # The sides of a case run one after the other, whatever other cases there are.
        assert sum(one != other for one, other in pairwise(there)) == 1


def test_a_failure_alone_is_kept_and_the_case_goes_on() -> None:
    machine = Machine({("a", CONTAINER, 2): "garbage"})
    assert machine.go(A) == ""
    assert machine.runs == {("a", BARE): 4, ("a", CONTAINER): 4}
    (failed,) = [record for record in machine.kept if record.error]
    assert (failed.error, failed.hint, failed.figures, failed.round) == (
        "no number: garbage",
        "print one",
        (),
        1,
    )
    assert machine.checks == 1


def test_a_side_that_keeps_failing_is_set_aside_and_the_others_go_on() -> None:
    machine = Machine({("b", "cold", number): BenchError("hangs") for number in range(9)})
    assert machine.go(A, B) == ""
    assert machine.runs["b", "cold"] == TRIES
    assert {machine.runs[key] for key in machine.runs if key != ("b", "cold")} == {4}


def test_without_bare_there_is_nothing_to_compare_with() -> None:
    machine = Machine({("a", BARE, number): BenchError("is not there") for number in range(9)})
    assert machine.go(A, B) == ""
    assert machine.runs["a", BARE] == TRIES
    assert machine.runs["a", CONTAINER] <= TRIES
    assert machine.runs["b", CONTAINER] == 4


def test_with_no_other_side_left_bare_is_not_run_either() -> None:
    machine = Machine({("a", CONTAINER, number): BenchError("is not there") for number in range(9)})
    assert machine.go(A) == ""
    assert machine.runs["a", BARE] <= TRIES


def test_it_goes_on_with_what_is_missing_after_a_warm_up() -> None:
    first = Machine({("b", CONTAINER, 2): Stopped(2)})
    assert first.go(A, B) == "stopped by SIGINT"
    second = Machine()
    assert second.go(A, B, known=tuple(first.kept), session=1) == ""
    both = [*first.kept, *second.kept]
    rounds = complete_rounds(
        both, {("osu", A.key): (BARE, CONTAINER), ("osu", B.key): tuple(B.commands)}.__getitem__
    )
    assert len(rounds) == 6
    # The round that was cut off is run anew as a whole, so that its sides are of one session.
    assert all(len({record.session for record in sides.values()}) == 1 for sides in rounds.values())
    assert any(record.round == -1 for record in second.kept)
    third = Machine()
    assert third.go(A, B, known=tuple(both), session=2) == ""
    assert third.kept == []


def test_what_was_set_aside_has_one_new_try_in_each_session() -> None:
    known = tuple(bench_record(number, CONTAINER, None, case=A) for number in range(TRIES))
    broken = Machine({("a", CONTAINER, number): BenchError("lacks a library") for number in range(9)})
    assert broken.go(A, B, known=known, session=1) == ""
    assert broken.runs["a", CONTAINER] == 1
    mended = Machine()
    assert mended.go(A, B, known=(*known, *broken.kept), session=2) == ""
    assert mended.runs["a", CONTAINER] == PACE.warmup + PACE.rounds
    assert not any(record.error for record in mended.kept)


def test_a_round_without_a_side_that_was_aside_stays_complete() -> None:
    cells = {("osu", B.key): tuple(B.commands)}
    first = Machine({("b", "cold", number): BenchError("lacks a library") for number in range(9)})
    first.go(B)
    assert len(complete_rounds(first.kept, cells.__getitem__)) == 3
    again = Machine()
    assert (again.go(B, known=tuple(first.kept), session=1), again.kept) == ("", [])
    second = Machine()
    second.go(B, known=tuple(first.kept), session=1, pace=Pace(5, 1, 1))
    assert sorted({record.round for record in second.kept}) == [-1, 3, 4]
    assert second.runs["b", "cold"] == 3
    assert len(complete_rounds([*first.kept, *second.kept], cells.__getitem__)) == 5


def test_a_round_that_is_cut_off_before_the_new_try_is_not_complete() -> None:
    known = [bench_record(number, "cold", None, case=B) for number in range(TRIES)]
    ran = [bench_record(2, side, 1.0, case=B, session=1) for side in (BARE, CONTAINER)]
    assert complete_rounds([*known, *ran], lambda _: tuple(B.commands)) == {}
    failed = bench_record(2, "cold", None, case=B, session=1)
    assert len(complete_rounds([*known, *ran, failed], lambda _: tuple(B.commands))) == 1


def test_more_rounds_are_added() -> None:
    first, second = Machine(), Machine()
    first.go(A)
    second.go(A, known=tuple(first.kept), session=1, pace=Pace(5, 0, 1))
    assert sorted({record.round for record in second.kept}) == [3, 4]


def test_when_nothing_can_run_any_more_the_reason_is_given() -> None:
    def gone() -> None:
        raise BenchError("the allocation (job 7) is gone: NODE_FAIL")

    machine = Machine({("a", BARE, 1): BenchError("srun failed")})
    assert machine.go(A, check=gone) == "the allocation (job 7) is gone: NODE_FAIL"
    assert not any(record.error for record in machine.kept)
    assert machine.ending.failed


def test_no_round_is_begun_that_would_end_too_late() -> None:
    machine = Machine()
    assert (
        machine.go(A, pace=Pace(rounds=3, warmup=0, seed=1, seconds=-1.0))
        == "the time that was given is used up after 0 of 3 rounds"
    )
    assert (machine.kept, machine.ending.failed) == ([], False)


def test_a_round_of_runs_that_hang_is_cut_off_after_the_time_and_its_slack() -> None:
    machine = Machine()

    def slow(case: Case, side: str) -> Output:
        time.sleep(1.1)
        return Output("1", "", 1.1)

    machine.start = slow  # type: ignore[method-assign]
    pace = Pace(rounds=3, warmup=0, seed=1, seconds=0.5, slack=0.5)
    assert machine.go(A, B, pace=pace) == (
        "the time that was given is used up in round 1 of 3, which is cut off"
    )
    assert (len(machine.kept), machine.ending.failed) == (1, False)
    assert complete_rounds(machine.kept, lambda _: (BARE, CONTAINER)) == {}
    # What a round takes longer within the slack is no reason to cut it off.
    whole = Machine()
    assert whole.go(A, pace=replace(pace, slack=600.0, rounds=1)) == ""


def test_a_result_before_a_hang_is_one_unless_the_end_is_measured() -> None:
    hung = Hung("a did not end within 1 s and was stopped", Output("2", "", 1.0))
    machine = Machine({("a", BARE, 1): hung, ("a", CONTAINER, 1): Hung("c", Output("half a li", "", 1.0))})
    machine.go(A)
    first = {record.side: record for record in machine.kept if record.round == 0}
    assert first[BARE].figures[0].value == 2
    assert first[BARE].notes == ("hung after its result was printed, and was ended",)
    assert (first[CONTAINER].figures, first[CONTAINER].error) == ((), "c")
    whole = replace(A, whole=True)
    machine = Machine({("a", BARE, 1): hung})
    machine.go(whole)
    assert [record.error for record in machine.kept if record.error] == [str(hung)]


@pytest.mark.parametrize("cut", [0, 1])
def test_rounds_of_two_sessions_are_not_joined(cut: int) -> None:
    sides = [BARE, CONTAINER]
    records = [bench_record(0, sides[cut], 1.0), bench_record(0, sides[1 - cut], 1.0, session=1)]
    assert complete_rounds(records, lambda _: (BARE, CONTAINER)) == {}


@pytest.mark.parametrize("said", ["0", "-1", "nan", "1e999"])
def test_a_figure_of_which_there_is_no_ratio_is_a_failed_run(said: str) -> None:
    machine = Machine({("a", CONTAINER, 1): said})
    machine.go(A)
    (failed,) = [record for record in machine.kept if record.error]
    assert "only values above 0 can be compared" in failed.error


def test_a_signal_ends_it_and_a_second_one_changes_nothing() -> None:
    machine = Machine()

    def start(case: Case, side: str) -> Output:
        if len(machine.kept) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return machine.start(case, side)

    with stop_on_signals() as stop:
        ending = run_cases(
            [A],
            PACE,
            (),
            session=0,
            start=start,
            keep=machine.kept.append,
            check=machine.check,
            progress=Silent(),
        )
        os.kill(os.getpid(), signal.SIGINT)  # while cleaning up
    assert (ending.text, ending.failed, stop.number) == ("stopped by SIGTERM", True, signal.SIGTERM)
    assert len(machine.kept) == 4
