"""What records come to: pairs, facts, verdicts of all rows together, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import bench_case, bench_kept, bench_record

from benchmarks.analysis import analyse, format_bytes, read_results
from benchmarks.cases import BARE, CONTAINER, Facts
from benchmarks.folder import Folder
from benchmarks.records import Record
from benchmarks.report import from_json, to_json
from benchmarks.stats import Outcome

A = bench_case("a")
SLOW = tuple(bench_record(number, BARE, 1.0 + number / 1000) for number in range(12)) + tuple(
    bench_record(number, CONTAINER, 1.5 + number / 1000) for number in range(12)
)


def probe(side: str, nodes: int, facts: Facts) -> Record:
    return Record(0, -1, "probe", str(nodes), side, 1.0, 0.1, facts=facts)


def test_a_row_has_the_pairs_of_each_round() -> None:
    warm_up = (bench_record(-1, BARE, 99.0), bench_record(-1, CONTAINER, 99.0))
    results = analyse(bench_kept(A), (*warm_up, *SLOW))
    (row,) = results.rows
    assert (row.metric, row.suite, row.case, row.figure) == ("a, 1 node, 2 ranks, 8 B", "osu", "a", "time")
    assert row.bare[:2] == (1.0, 1.001) and row.container[0] == 1.5 and len(row.bare) == 12
    assert str(row.verdict) == "slower by 50 %"
    assert from_json(to_json(results)) == results


def test_a_failed_run_takes_its_round_away_and_is_told() -> None:
    broken = (*SLOW, bench_record(12, BARE, 1.0), bench_record(12, CONTAINER, None))
    results = analyse(bench_kept(A), (*broken, bench_record(13, BARE, 1.0), bench_record(13, CONTAINER, 1.5)))
    assert len(results.rows[0].bare) == 13
    assert results.failures == ()
    assert results.notes == (
        "1 of 14 runs of osu: a, 1 node, 2 ranks, container failed, and their rounds are left out: it broke",
    )


def test_what_was_set_aside_is_a_failure_beside_the_rows_that_are_good() -> None:
    lost = [
        bench_record(number, side, value)
        for number in (12, 13)
        for side, value in ((BARE, 1.0), (CONTAINER, None))
    ]
    results = analyse(bench_kept(A), (*SLOW, *lost))
    assert len(results.rows[0].bare) == 12
    (failure,) = results.failures
    assert (failure.metric, failure.text, failure.hint) == (
        "osu: a, 1 node, 2 ranks, container",
        "it broke",
        "mend it",
    )


def test_a_side_that_never_ran_well_is_a_failure() -> None:
    (failure,) = analyse(
        bench_kept(A), [bench_record(0, BARE, 1.0), bench_record(0, CONTAINER, None)]
    ).failures
    assert failure.metric == "osu: a, 1 node, 2 ranks, container"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts("MPICH 3", "abc", "shared memory"), "bare used MPICH 4, the container MPICH 3"),
        (Facts("MPICH 4", "def", "shared memory"), "two builds of MPICH 4"),
        (
            Facts("MPICH 4", "abc", "loopback TCP"),
            "bare went by shared memory, the container by loopback TCP",
        ),
    ],
)
def test_sides_that_differ_are_not_compared(facts: Facts, reason: str) -> None:
    records = [
        bench_record(number, side, 1.0, facts=facts if side == CONTAINER else None)
        for number in range(8)
        for side in (BARE, CONTAINER)
    ]
    (row,) = analyse(bench_kept(A), records).rows
    assert (row.comparison, str(row.verdict)) == (None, f"not compared: {reason}")


def test_sides_that_did_not_do_the_same_work_are_not_compared() -> None:
    case = replace(A, mpi=False)
    work = {BARE: "read 12 files, 3400 bytes", CONTAINER: "read 11 files, 3300 bytes"}
    records = [
        bench_record(number, side, 1.0, facts=Facts(work=work[side]))
        for number in range(8)
        for side in (BARE, CONTAINER)
    ]
    (row,) = analyse(bench_kept(case), records).rows
    assert row.comparison is None
    assert str(row.verdict) == (
        "not compared: bare read 12 files, 3400 bytes, the container read 11 files, 3300 bytes"
    )


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (
            Facts("MPICH 4", "abc", "loopback TCP"),
            "the transport of both sides varied between runs: loopback TCP | shared memory",
        ),
        (Facts("MPICH 4", "def", "shared memory"), "the build of both sides varied between runs: abc | def"),
        (
            Facts("MPICH 5", "abc", "shared memory"),
            "the library of both sides varied between runs: MPICH 4 | MPICH 5",
        ),
    ],
)
def test_what_varies_over_the_same_on_both_sides_is_not_compared_either(other: Facts, reason: str) -> None:
    records = [
        bench_record(number, side, 1.0, facts=other if number % 2 == at else None)
        for number in range(8)
        for at, side in enumerate((BARE, CONTAINER))
    ]
    (row,) = analyse(bench_kept(A), records).rows
    assert (row.comparison, str(row.verdict)) == (None, f"not compared: {reason}")


def test_a_program_that_says_nothing_of_itself_has_its_sides_probe() -> None:
    silent = [
        bench_record(number, side, 1.0, facts=Facts("")) for number in range(8) for side in (BARE, CONTAINER)
    ]
    seen = (
        probe(BARE, 1, Facts("MPICH 4", "abc", "shared memory")),
        probe(CONTAINER, 1, Facts("MPICH 4", "abc", "loopback TCP")),
        probe(CONTAINER, 2, Facts("MPICH 4", "abc", "network interfaces (TCP)")),
    )
    results = analyse(bench_kept(A), (*seen, *silent))
    reason = "bare went by shared memory, the container by loopback TCP"
    assert str(results.rows[0].verdict) == f"not compared: {reason}"
    assert [(facts.side, facts.place, facts.transport) for facts in results.sides] == [
        (BARE, "inside a node", "shared memory"),
        (CONTAINER, "inside a node", "loopback TCP"),
    ]


def test_among_many_rows_one_may_be_off_by_chance() -> None:
    """Six rounds with the same sign: alone that is seldom enough, among thirty rows it is not."""

    def records(count: int) -> list[Record]:
        return [
            bench_record(number, side, value + number / 1000, case=bench_case(f"c{at}"))
            for at in range(count)
            for number in range(6)
            for side, value in ((BARE, 1.0), (CONTAINER, 1.2 if at == 0 else 1.0))
        ]

    def first(count: int) -> Outcome:
        kept = bench_kept(*(bench_case(f"c{at}") for at in range(count)))
        return analyse(kept, records(count)).rows[0].verdict.outcome

    assert (first(1), first(30)) == (Outcome.SLOWER, Outcome.UNRESOLVED)


def test_a_measurement_that_was_killed_is_read_from_what_it_kept(tmp_path: Path) -> None:
    folder = Folder.make(tmp_path / "results")
    folder.keep(bench_kept(A))
    with folder.open_rounds() as rounds:
        for record in SLOW:
            rounds.add(record)
    results = read_results(tmp_path / "results")
    assert (len(results.rows[0].bare), results.stopped) == (12, "it did not come to its end")


def test_sizes_for_people() -> None:
    assert [format_bytes(size) for size in (8, 1024, 1536, 1 << 20)] == ["8 B", "1 KiB", "1536 B", "1 MiB"]


def test_what_a_side_uses_is_not_known_where_its_probe_failed() -> None:
    broken = Record(0, -1, "probe", "2", CONTAINER, 1.0, 0.1, error="srun failed\n  at length")
    results = analyse(bench_kept(A), (broken, *SLOW))
    assert results.notes == ("what container uses between nodes is not known: srun failed",)


def test_a_refused_attach_is_another_transport_where_a_program_counts_for_itself() -> None:
    probes = [
        probe(side, 1, Facts("MPICH 4", "abc", f"shared memory; cross-memory attach {attach}"))
        for side, attach in ((BARE, "ok"), (CONTAINER, "failed errno 1"))
    ]
    (row,) = analyse(bench_kept(A), (*probes, *SLOW)).rows
    assert str(row.verdict) == (
        "not compared: bare went by shared memory; cross-memory attach ok, "
        "the container by shared memory; cross-memory attach failed errno 1"
    )
