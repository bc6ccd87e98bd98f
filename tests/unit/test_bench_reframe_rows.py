"""What the ReFrame test takes from results: names, figures and reasons.  tests/slurm runs it for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_rows import bench_results, bench_row
from reframe.core.exceptions import SanityError

from benchmarks import report
from benchmarks.reframe import bareboat_bench as wrapper
from benchmarks.results import Row, SideCommand
from benchmarks.stats import Outcome, Verdict, median


def write(folder: Path, *rows: Row) -> Path:
    (folder / wrapper.OUT).mkdir()
    text = report.to_json(replace(bench_results(), rows=rows))
    (folder / wrapper.OUT / "results.json").write_text(text)
    return folder


def figures(folder: Path) -> dict[str, tuple[float, str]]:
    rows = wrapper._results(folder)["rows"]
    return {name: (value, unit) for row in rows for name, value, unit in wrapper._figures(row)}


def test_a_row_gives_medians_and_the_ratio_with_its_interval(tmp_path: Path) -> None:
    row = bench_row("launch", "true", 50.0, figure="wall time", ratio=1.25)
    name = "launch.true.wall_time.1n.2r"
    assert figures(write(tmp_path, row)) == {
        f"{name}.bare": (median(row.bare), "us"),
        f"{name}.container": (median(row.container), "us"),
        f"{name}.container.ratio": (1.25, "container/bare"),
        f"{name}.container.ratio_low": (1.24, "container/bare"),
        f"{name}.container.ratio_high": (1.26, "container/bare"),
    }


def test_a_row_that_is_not_compared_has_no_ratio(tmp_path: Path) -> None:
    refused = Verdict(Outcome.NOT_COMPARED, reason="other libraries")
    found = figures(write(tmp_path, bench_row("launch", "true", 50.0, refused=refused)))
    assert set(found) == {f"launch.true.latency.1n.2r.{side}" for side in ("bare", "container")}


def test_rows_have_names_that_reframe_takes(tmp_path: Path) -> None:
    latency = bench_row("osu", "osu_latency", 1.0, figure="Avg Latency(us)", size=8)
    writes = bench_row("io", "writes of 512 B, tmpfs", 1.0, figure="rate", side="file")
    found = figures(write(tmp_path, latency, writes))
    assert "osu.osu_latency.Avg_Latency_us.1n.2r.8B.container.ratio" in found
    assert found["io.writes_of_512_B_tmpfs.rate.1n.2r.file.ratio"][1] == "file/bare"


def test_a_tolerance_is_not_for_cold_launches_and_other_engines() -> None:
    sides = {"container": False, "squashfs": False, "container, cold": True, "ch-run": True}
    results = replace(
        bench_results(),
        rows=tuple(bench_row("launch", "true", 50.0, side=side) for side in sides),
        commands=tuple(SideCommand(side, "srun true", apart=apart) for side, apart in sides.items()),
    )
    judged = wrapper._judged(json.loads(report.to_json(results)))
    assert [row["side"] for row in judged] == ["container", "squashfs"]
    assert [row.side for row in results.judged] == ["container", "squashfs"]


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    assert wrapper._reasons(tmp_path) == ()
    assert wrapper._reasons(write(tmp_path)) == ("io: the disk was full", "stopped by SIGINT")
    errors = "begun\nbareboat: error: no nodes\nbareboat: hint: ask\n"
    assert wrapper._last(errors) == "no nodes; bareboat: hint: ask"
    assert wrapper._last("one\ntwo\nthree\n") == "two; three"


def test_it_reads_the_schema_that_is_written(tmp_path: Path) -> None:
    assert wrapper.SCHEMA == report.SCHEMA
    path = write(tmp_path) / wrapper.OUT / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": "bareboat-bench/1"}))
    with pytest.raises(SanityError, match="has schema bareboat-bench/1, and this test reads bareboat-"):
        wrapper._results(tmp_path)
