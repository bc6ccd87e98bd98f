"""``bench compare``: two results, and what has become slower."""

from __future__ import annotations

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


def test_few_rounds_are_beyond_no_limit() -> None:
    def few(results: Results) -> Results:
        return replace(
            results,
            rows=tuple(replace(row, bare=row.bare[:5], container=row.container[:5]) for row in results.rows),
        )

    changes = compare_results(few(make(latency=1.0)), few(make(latency=2.0)), limit=0.02)
    assert (changes.slower, str(changes.changes[0].verdict)) == ((), "unresolved: needs 1 more round")


def test_what_only_one_has_and_what_differs_is_noted() -> None:
    after = make(latency=1.0, barrier=1.0)
    after = replace(after, setting=replace(SETTING, image="/images/new", nodes=("n2",)))
    assert compare_results(make(latency=1.0, bw=5.0), after, limit=0.02).notes == (
        "2 metrics are in the first result only",
        "2 metrics are in the second result only",
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
