"""The table as a person sees it, the JSON as a program does, and the command line's refusals."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.cases import BARE
from benchmarks.cli import bench
from benchmarks.errors import BenchError
from benchmarks.report import SCHEMA, format_estimate, format_value, from_json, to_json
from benchmarks.results import Derived, Failure, Results, Row, Setting, SideCommand, SideFacts
from benchmarks.stats import Better, Comparison, Estimate, Outcome, Verdict
from benchmarks.table import render_run

SETTING = Setting("/images/a", "7", ("n1", "n2"), 4, rounds=8, warmup=1, seed=3)


def row(metric: str, verdict: Verdict, comparison: Comparison | None, rounds: int = 6) -> Row:
    samples = (50.0,) * rounds, (55.0,) * rounds
    return Row(metric, "ms", Better.LOWER, 1, 1, None, *samples, comparison, verdict, suite="launch")


SLOWER = Comparison(50.0, 55.0, Estimate(1.1, 1.05, 1.15), Estimate(5.0, 2.5, 7.5), 6)
RESULTS = Results(
    suite="run",
    setting=SETTING,
    rows=(
        row("true, 1 node, 1 rank", Verdict(Outcome.SLOWER, 10.0), SLOWER),
        row("other", Verdict(Outcome.NOT_COMPARED, reason="bare used MPICH 4, the container MPICH 5"), None),
    ),
    derived=(Derived("added time a node (1 node)", "ms", Estimate(4.5, 4.0, 5.0)),),
    sides=(SideFacts(BARE, "inside a node", "MPICH 4", "ab", "shared memory"),),
    failures=(Failure("true, 1 node, 4 ranks", "true failed", "mend it"),),
    notes=("MPI_Finalize did not return",),
    stopped="stopped by SIGINT",
)


def show(results: Results) -> str:
    """What a terminal shows, without lines of tables and without line breaks."""
    return " ".join(" ".join(lines_of(results)).split())


def lines_of(results: Results) -> list[str]:
    """What a terminal shows, by lines, without lines of tables."""
    with io.StringIO() as nowhere:
        console = Console(width=150, record=True, file=nowhere)
        for part in render_run(results):
            console.print(part, highlight=False)
        text = console.export_text()
    return text.translate(dict.fromkeys(map(ord, "\u2502\u2503"), " ")).splitlines()


def test_numbers() -> None:
    assert [format_value(value) for value in (0.45678, 45.678, 456.78, 4567.8, -0.5)] == [
        "0.457",
        "45.68",
        "456.8",
        "4568",
        "-0.500",
    ]
    assert format_estimate(Estimate(2.0, 1.0, 3.0), signed=True) == "+2.000 [1.000, 3.000]"


def test_table() -> None:
    text = show(RESULTS)
    for expected in (
        "bare against container, medians of 6 rounds, ratios with 95 % intervals",
        "metric bare container ratio added verdict",
        "50.00 ms",
        "1.100 [1.050, 1.150] +5.00 [2.50, 7.50] ms slower by 10 %",
        "not compared: bare used MPICH 4, the container MPICH 5",
        "note: MPI_Finalize did not return",
        "side added time a node (1 node)",
        "container +4.50 [4.00, 5.00] ms",
        "inside a node, bare: MPICH 4 (ab); shared memory",
        "image /images/a; job 7; seed 3",
        "failed: true, 1 node, 4 ranks: true failed mend it",
        "ended early: stopped by SIGINT",
    ):
        assert expected in text


def test_what_is_added_is_shown_of_launches_alone() -> None:
    rows = (
        *RESULTS.rows,
        replace(row("osu_latency", Verdict(Outcome.SLOWER, 10.0), SLOWER), suite="osu"),
    )
    lines = [" ".join(line.split()) for line in lines_of(replace(RESULTS, rows=rows))]
    assert "osu_latency 50.00 ms 55.00 ms 1.100 [1.050, 1.150] slower by 10 %" in lines
    text = show(replace(RESULTS, rows=rows[2:], derived=()))
    assert "metric bare container ratio verdict" in text


def test_few_rounds_have_no_interval() -> None:
    few = Comparison(50.0, 55.0, Estimate(1.1, 1.1, 1.1), Estimate(5.0, 5.0, 5.0), 1)
    text = show(Results("run", SETTING, (row("x", Verdict(Outcome.UNRESOLVED), few, rounds=1),)))
    assert "1.100 +5.00 ms" in text
    assert "[" not in text


SIDES = replace(
    RESULTS,
    rows=(
        *RESULTS.rows,
        replace(row("true, 1 node, 1 rank", Verdict(Outcome.SLOWER, 10.0), SLOWER), side="ch-run"),
        replace(row("true, 1 node, 4 ranks", Verdict(Outcome.SLOWER, 10.0), SLOWER), side="ch-run"),
    ),
    derived=(
        *RESULTS.derived,
        Derived("added time a node (1 node)", "ms", Estimate(9.5, 9.0, 10.0), "ch-run"),
        Derived("added time a node (2 nodes)", "ms", Estimate(3.5, 3.0, 4.0), "ch-run"),
    ),
    commands=(SideCommand("ch-run", "srun ch-run /images/a -- true", "0.31"),),
    notes=("podman is left out: podman failed",),
)


def test_table_of_several_sides() -> None:
    lines = [" ".join(line.split()) for line in lines_of(SIDES)]
    values = "50.00 ms 55.00 ms 1.100 [1.050, 1.150] +5.00 [2.50, 7.50] ms slower by 10 %"
    for expected in (
        f"true, 1 node, 4 ranks: ch-run {values}",
        "side added time a node (1 node) added time a node (2 nodes)",
        "container +4.50 [4.00, 5.00] ms",
        "ch-run +9.50 [9.00, 10.0] ms +3.50 [3.00, 4.00] ms",
        "ch-run: srun ch-run /images/a -- true (version 0.31)",
        "note: podman is left out: podman failed",
    ):
        assert expected in lines


def test_results_of_the_first_schema_are_read() -> None:
    """It had one side beside bare, which it did not name."""
    data = json.loads(to_json(RESULTS))
    data["schema"] = "bareboat-bench/1"
    del data["commands"]
    for item in (*data["rows"], *data["derived"]):
        assert item.pop("side") == "container"
    assert from_json(json.dumps(data)) == RESULTS


def test_json() -> None:
    text = to_json(RESULTS)
    assert json.loads(text)["schema"] == SCHEMA == "bareboat-bench/3"
    assert from_json(text) == RESULTS
    assert from_json(to_json(SIDES)) == SIDES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the results are not JSON"),
        ("[]", "the results have schema None, only 'bareboat-bench/3' can be read"),
        ('{"schema": "bareboat-bench/9"}', "the results have schema 'bareboat-bench/9'"),
        ('{"schema": "bareboat-bench/3"}', "the results are damaged: KeyError: 'suite'"),
        (to_json(RESULTS).replace("not-compared", "great"), "the results are damaged: ValueError"),
    ],
)
def test_json_that_is_none_of_ours(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        from_json(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--image'"),
        (("--image=/", "--ranks=1,x"), "'1,x' is not a list of numbers above 0, like 2,16"),
        (("--image=/", "--image=/tmp", "--image=/usr"), "the label 'directory' is taken"),
        (("--image=/", "--image=bare=/tmp"), "the label 'bare' is taken: give each form one of its own"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(bench, ["launch", *arguments])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize("command", ["launch", "latency", "run"])
def test_errors_have_a_hint_and_a_code_of_their_own(command: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(bench, [command, "--image", "/no/such", "--out", str(out)])
    assert result.exit_code == 125
    assert result.output == (
        "bareboat: error: image /no/such does not exist\nbareboat: hint: give the path of an image\n"
    )
    assert not out.exists()


def test_results_that_cannot_be_written_are_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(bench, ["launch", "--image", "/", "--out", str(tmp_path / "file" / "below")])
    assert result.exit_code == 125
    assert "file/below: Not a directory" in result.output
    assert "hint: name another directory with --out" in result.output
