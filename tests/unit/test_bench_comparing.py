"""``bench compare``: two results, and what has become slower."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.cli import bench
from benchmarks.comparing import compare_results
from benchmarks.errors import BenchError
from benchmarks.report import SCHEMA, to_json
from benchmarks.results import Results, Row, Setting
from benchmarks.stats import Better, Outcome, Verdict

SETTING = Setting("/images/app", "7", ("n1",), 2, 12, 1, 20260)


def make(**values: float) -> Results:
    """Each metric's container samples lie around a value, bare's around 1."""
    rows = tuple(
        Row(
            f"{case}, 8 B",
            "us",
            Better.HIGHER if case == "bw" else Better.LOWER,
            1,
            2,
            8,
            tuple(1 + number / 1000 for number in range(12)),
            tuple(value + number / 1000 for number in range(12)),
            None,
            Verdict(Outcome.NOT_COMPARED, reason="two builds"),
            suite="osu",
            case=case,
        )
        for case, value in values.items()
    )
    return Results("run", SETTING, rows)


def test_what_got_slower_is_told_for_each_side() -> None:
    changes = compare_results(make(latency=1.0, bw=5.0), make(latency=1.1, bw=4.0), limit=0.02)
    assert [
        (change.metric, change.side, str(change.verdict), change.beyond) for change in changes.changes
    ] == [
        ("latency, 8 B", "container", "slower by 9.9 %", True),
        ("latency, 8 B", "bare", "same", False),
        ("bw, 8 B", "container", "slower by 20 %", True),
        ("bw, 8 B", "bare", "same", False),
    ]


@pytest.mark.parametrize(("limit", "beyond"), [(0.02, True), (0.2, False)])
def test_the_limit(limit: float, beyond: bool) -> None:
    changes = compare_results(make(latency=1.0), make(latency=1.1), limit=limit)
    assert bool(changes.slower) is beyond


def test_what_got_faster_is_beyond_no_limit() -> None:
    assert compare_results(make(latency=1.1, bw=4.0), make(latency=1.0, bw=5.0), limit=0.0).slower == ()


def few(results: Results) -> Results:
    rows = tuple(replace(row, bare=row.bare[:5], container=row.container[:5]) for row in results.rows)
    return replace(results, rows=rows)


def test_few_rounds_are_beyond_no_limit() -> None:
    changes = compare_results(few(make(latency=1.0)), few(make(latency=2.0)), limit=0.02)
    # As many as the test of so many rows needs.
    assert (changes.slower, str(changes.changes[0].verdict)) == ((), "unresolved: needs 2 more rounds")
    assert len(changes.open) == 2


def test_what_only_one_has_and_what_differs_is_noted() -> None:
    after = make(latency=1.0, barrier=1.0)
    after = replace(after, setting=replace(SETTING, image="/images/new", nodes=("n2",)))
    assert compare_results(make(latency=1.0, bw=5.0), after, limit=0.02).notes == (
        "in the first result only (2): bw, 8 B, container; bw, 8 B, bare",
        "in the second result only (2): barrier, 8 B, container; barrier, 8 B, bare",
        "the images differ: /images/app and /images/new",
        "the nodes differ: n1 and n2",
    )


def test_nothing_in_common() -> None:
    with pytest.raises(BenchError, match="the two results have no metric in common"):
        compare_results(make(latency=1.0), make(bw=1.0), limit=0.02)


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(bench, ["compare", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "a.json", tmp_path / "second"
    second.mkdir()
    first.write_text(to_json(make(latency=1.0)))
    (second / "results.json").write_text(to_json(make(latency=1.1)))
    return first, second


def test_the_exit_code_says_whether_something_is_slower(files: tuple[Path, Path]) -> None:
    code, said = run(*files)
    assert code == 1
    assert "slower beyond 2 %: latency, 8 B, container: ratio 1.099 [1.0" in said
    code, said = run(*files, "--limit", "20%")
    assert code == 0
    assert "nothing got slower by surely more than 20 %" in said
    assert run(*reversed(files))[0] == 0


@pytest.mark.parametrize("which", [0, 1])
def test_what_has_too_few_rounds_fails(tmp_path: Path, which: int) -> None:
    """Ten times slower, and nobody can say so."""
    paths = tmp_path / "a.json", tmp_path / "b.json"
    results = [make(latency=1.0, bw=4.0), make(latency=10.0, bw=4.0)]
    results[which] = replace(results[which], rows=few(results[which]).rows[:1] + results[which].rows[1:])
    for path, one in zip(paths, results, strict=True):
        path.write_text(to_json(one))
    code, said = run(*paths)
    assert code == 125
    assert "not judged: 2 of 4 have fewer than 6 rounds in one of the results: measure more" in said
    assert "of the others, nothing got slower by surely more than 2 %" in said


def test_no_percentage(files: tuple[Path, Path]) -> None:
    code, said = run(*files, "--limit", "little")
    assert code == 2
    assert "'little' is no percentage like 2%" in said


def test_another_schema(files: tuple[Path, Path]) -> None:
    files[0].write_text('{"schema": "bareboat-bench/99"}')
    code, said = run(*files)
    assert code == 125
    assert f"{files[0]}: the results have schema 'bareboat-bench/99', only '{SCHEMA}' can be read" in said


def test_a_directory_without_results(tmp_path: Path, files: tuple[Path, Path]) -> None:
    code, said = run(files[0], tmp_path)
    assert code == 125
    assert f"the results {tmp_path / 'results.json'} cannot be read: No such file or directory" in said


def test_another_unit_is_another_metric() -> None:
    after = make(latency=1.0, bw=4.0)
    rows = tuple(replace(row, unit="ms") if row.case == "latency" else row for row in after.rows)
    changes = compare_results(make(latency=1.0, bw=4.0), replace(after, rows=rows), limit=0.02)
    assert [change.metric for change in changes.changes] == ["bw, 8 B", "bw, 8 B"]
    assert changes.lost == ("latency, 8 B, container", "latency, 8 B, bare")


def test_what_is_not_measured_any_more_fails(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(to_json(make(latency=1.0, bw=4.0)))
    second.write_text(to_json(make(latency=1.0)))
    assert (run(first, second)[0], run(second, first)[0]) == (125, 0)


def test_among_many_metrics_nothing_is_slower_by_chance() -> None:
    """Without a correction, some of 400 that are all the same are beyond the limit in every comparison."""
    draw = random.Random(7)

    def noise() -> Results:
        one = make(latency=1.0).rows[0]
        rows = [
            replace(
                one,
                case=f"case {number}",
                bare=tuple(draw.lognormvariate(0, 0.3) for _ in range(15)),
                container=tuple(draw.lognormvariate(0, 0.3) for _ in range(15)),
            )
            for number in range(200)
        ]
        return Results("run", SETTING, tuple(rows))

    changes = compare_results(noise(), noise(), limit=0.02)
    assert len(changes.changes) == 400
    assert any(change.comparison.ratio.low > 1.02 for change in changes.changes)
    assert changes.slower == ()
    assert not any(change.verdict.outcome is Outcome.SLOWER for change in changes.changes)
