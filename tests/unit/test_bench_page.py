"""What the page of results holds: which plots, which words, and nothing from outside."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from bench_rows import bench_results, bench_row
from click.testing import CliRunner

from benchmarks.cli import bench
from benchmarks.page.content import page_of
from benchmarks.page.figures import draw, label_bytes, look_of
from benchmarks.page.html import to_html
from benchmarks.page.plots import Curve, Drawing, plots_of, spread
from benchmarks.page.table import to_csv
from benchmarks.report import to_json
from benchmarks.results import Derived, SideCommand
from benchmarks.stats import Estimate, Outcome, Verdict


def titles(suite: str) -> list[str]:
    rows = [row for row in bench_results().rows if row.suite == suite]
    return [drawing.title for drawing in plots_of(suite, rows)]


def test_sizes_give_a_curve_and_its_ratio_and_what_has_none_gives_bars() -> None:
    assert titles("osu") == [
        "osu_latency, latency, 1 node, 2 ranks",
        "osu_latency, latency, 1 node, 2 ranks: container / bare",
        "1 node, 2 ranks: against bare (lower is better)",
    ]


def test_launches_are_curves_over_ranks_with_a_line_for_each_side() -> None:
    assert titles("launch") == [
        "true, 1 node",
        "true, 1 node: added to bare",
        "true, 2 nodes",
        "true, 2 nodes: added to bare",
    ]
    rows = [row for row in bench_results().rows if row.suite == "launch"]
    times, added = list(plots_of("launch", rows))[:2]
    assert [curve.label for curve in times.curves] == ["bare", "directory", "squashfs"]
    assert times.curves[0].x == (1.0, 4.0, 16.0)
    assert [curve.label for curve in added.curves] == ["directory", "squashfs"]
    assert added.level == 0


def test_kernels_are_bars_of_the_ratio() -> None:
    rows = [row for row in bench_results().rows if row.suite == "npb"]
    (bars,) = plots_of("npb", rows)
    assert bars.names == ("ep.S", "is.S", "cg.S", "mg.S", "ft.S")
    assert bars.curves[0].y == (1.02,) * 5


def test_several_figures_of_a_program_are_not_drawn_over_each_other() -> None:
    rows = [
        bench_row("app", case, 1.0, figure=figure, ratio=ratio, ranks=ranks)
        for ranks in (1, 2)
        for case, figure, ratio in (
            ("lmp", "wall time", 1.02),
            ("lmp", "loop", 1.5),
            ("hpcc", "wall time", 1.1),
        )
    ]
    (bars,) = plots_of("app", rows[:3])
    assert bars.names == ("lmp, wall time", "lmp, loop", "hpcc")
    assert (bars.curves[0].x, bars.curves[0].y) == ((0.0, 1.0, 2.0), (1.02, 1.5, 1.1))
    assert [drawing.title for drawing in plots_of("app", rows)][::2] == [
        "lmp, wall time, 1 node",
        "lmp, loop, 1 node",
        "hpcc, 1 node",
    ]


def test_what_was_not_compared_is_among_the_values_but_not_among_the_ratios() -> None:
    refused = Verdict(Outcome.NOT_COMPARED, reason="bare used MPICH 4, the container MPICH 5")
    rows = (
        bench_row("osu", "osu_bw", 1.0, size=1),
        bench_row("osu", "osu_bw", 2.0, size=2, refused=refused),
    )
    values, ratios = plots_of("osu", rows)
    assert values.curves[0].x == (1.0, 2.0)
    assert ratios.curves[0].x == (1.0,)
    assert list(plots_of("npb", (bench_row("npb", "ep.S", 1.0, refused=refused),))) == []


def test_the_spread_of_a_median_leaves_out_what_is_rare() -> None:
    assert spread([3.0, 1.0, 2.0]) == (1.0, 3.0)
    # Of ten, the second lowest and second highest hold the median in 97.9 % of cases (binomial).
    assert spread([float(number) for number in range(10)]) == (1.0, 8.0)


def test_a_plot_is_the_same_again_and_takes_its_colours_from_the_page() -> None:
    curve = Curve("bare", (1.0, 2.0), (1.0, 2.0), (0.9, 1.9), (1.1, 2.1))
    drawing = Drawing("a & b", "ranks", "us", (curve,))
    first = draw("k", drawing, ["bare"])
    assert first == draw("k", drawing, ["bare"])
    assert "var(--series-1)" in first
    assert "<title>a &amp; b</title>" in first
    assert not re.search("#[0-9a-f]{6}", first.replace("#ffffff", ""))
    assert all(name.startswith("k") for name in re.findall(r'id="([^"]*)"', first))
    with pytest.raises(ValueError, match="bare"):
        draw("k", drawing, ["container"])


@pytest.mark.parametrize(
    ("size", "text"), [(1, "1"), (1024, "1K"), (1536, "1536"), (4 << 20, "4M"), (1 << 30, "1G")]
)
def test_sizes_are_named_in_short(size: int, text: str) -> None:
    assert label_bytes(size) == text


def test_the_page_says_what_a_reader_asks_first() -> None:
    page = page_of(bench_results())
    assert [tile.text for tile in page.tiles] == ["slower", "failed"]
    assert page.warnings == (
        "stopped by SIGINT: 8 of 8 rounds are measured.",
        "the load was high",
        "Failed: io: the disk was full (make room)",
    )
    assert page.command == "bareboat bench run --image '/images/a b'"
    assert [section.key for section in page.sections] == ["launch", "osu", "npb", "machine"]
    assert "2027-01-15" in page.subtitle


def test_what_launches_add_stands_beside_the_ratio_and_what_follows_above_it() -> None:
    derived = Derived("true: added time a node (1 node)", "ms", Estimate(4.5, 4.0, 5.0), "squashfs")
    page = page_of(replace(bench_results(), derived=(derived,)))
    follows, rows = next(section for section in page.sections if section.key == "launch").tables
    assert [line.cells for line in follows.rows] == [
        ("true: added time a node (1 node)", "squashfs", "+4.500 [4.000, 5.000] ms")
    ]
    assert rows.columns[4:6] == ("ratio", "added")
    assert rows.rows[0].cells[4:6] == ("1.020 [1.010, 1.030]", "+1.020 [0.510, 1.530]")
    assert all(len(section.tables) == 1 for section in page.sections if section.key in {"osu", "npb"})


def test_every_side_of_a_launch_has_a_look_of_its_own() -> None:
    """Seven are bare, two forms, each of them cold, and another engine with both."""
    page = to_html(bench_results())
    looks = [look_of(number) for number in range(16)]
    assert len(set(looks)) == len(looks)
    assert len({colour for colour, _ in looks[:8]}) == 8
    for number in range(1, 9):
        assert page.count(f"--series-{number}: #") == 4


def test_the_interval_of_a_lone_point_is_seen() -> None:
    point = Curve("bare", (1.0,), (2.0,), (1.5,), (2.5,))
    line = Curve("bare", (1.0, 2.0), (2.0, 2.0), (1.5, 1.5), (2.5, 2.5))
    seen = [
        "LineCollection" in draw("a", Drawing("a", "ranks", "ms", (one,)), ["bare"]) for one in (point, line)
    ]
    assert seen == [True, False]


def test_the_slowest_is_named_with_its_side() -> None:
    rows = (
        bench_row("launch", "true", 50.0, ranks=1),
        bench_row("launch", "true", 50.0, ranks=1, side="squashfs", ratio=1.5),
    )
    said = page_of(replace(bench_results(), rows=rows)).summary
    assert said[1:] == (
        "Slowest against bare: true, latency, 1 nodes, 1 ranks: squashfs, slower by 50 %.",
        "Verdicts are of these sides, too: squashfs.",
    )
    assert len(page_of(replace(bench_results(), rows=rows[:1])).summary) == 2


def test_cold_launches_and_other_engines_are_not_counted_in_what_stands_above() -> None:
    sides = {"container": (1.02, False), "container, cold": (4.0, True), "ch-run": (0.5, True)}
    results = replace(
        bench_results(),
        rows=tuple(
            bench_row("launch", "true", 50.0, ranks=1, side=side, ratio=ratio)
            for side, (ratio, _) in sides.items()
        ),
        commands=tuple(SideCommand(side, "srun true", apart=apart) for side, (_, apart) in sides.items()),
        failures=(),
    )
    page = page_of(results)
    assert [(tile.value, tile.text) for tile in page.tiles] == [("1", "slower")]
    assert page.summary[1:] == (
        "Slowest against bare: true, latency, 1 nodes, 1 ranks, slower by 2.0 %.",
        "Not counted above, but shown below: container, cold; ch-run.",
    )


def test_the_page_holds_everything_and_trusts_no_name() -> None:
    results = bench_results()
    hostile = "<script>alert('image')</script>"
    results = replace(results, setting=replace(results.setting, image=hostile), notes=(hostile,))
    page = to_html(results)
    assert hostile not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r"(?:src|href)=(?![\"']?#)", page)
    assert not re.findall(r"@import|url\((?!#)", page)
    assert page.count("<svg") == len(re.findall("data-plot=", page)) == 4 + 3 + 1


def test_the_table_has_all_rows_and_empty_fields_where_nothing_was_compared() -> None:
    results = bench_results()
    refused = bench_row("io", "dd", 1.0, refused=Verdict(Outcome.NOT_COMPARED, reason="why, in words"))
    lines = list(csv.DictReader(io.StringIO(to_csv(replace(results, rows=(*results.rows, refused))))))
    assert len(lines) == len(results.rows) + 1
    assert lines[0]["suite"] == "launch"
    assert lines[0]["ratio"] == "1.02"
    assert lines[-1]["ratio"] == ""
    assert lines[-1]["verdict"] == "not compared: why, in words"


def report(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(bench, ["report", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command_writes_page_and_table_beside_the_results(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(to_json(bench_results()))
    assert report(tmp_path) == (0, f"{tmp_path}/report.html\n{tmp_path}/results.csv\n")
    assert (tmp_path / "report.html").read_text() == to_html(bench_results())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert report(tmp_path / "results.json", "--out", elsewhere)[0] == 0
    assert (elsewhere / "results.csv").exists()


def test_results_that_are_not_there_or_not_ours_are_refused(tmp_path: Path) -> None:
    code, told = report(tmp_path)
    assert code == 125
    assert f"bareboat: error: the results {tmp_path}/results.json cannot be read: No such file" in told
    (tmp_path / "results.json").write_bytes(b"\xff\xfe")
    assert "it is not text" in report(tmp_path)[1]
    (tmp_path / "results.json").write_text(json.dumps({"schema": "other/1"}))
    assert "have schema 'other/1'" in report(tmp_path)[1]
    (tmp_path / "results.json").write_text(to_json(replace(bench_results(), rows=())))
    assert "holds no figure that could be shown" in report(tmp_path)[1]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(to_json(bench_results()))
    code, told = report(tmp_path, "--out", tmp_path / "missing")
    assert code == 125
    assert f"{tmp_path}/missing/report.html cannot be written: No such file or directory" in told
