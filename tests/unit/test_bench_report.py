"""The table as a person sees it, the JSON as a program does, and the command line's refusals."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.cli import bench
from benchmarks.errors import BenchError
from benchmarks.report import SCHEMA, format_estimate, format_value, from_json, render, to_json
from benchmarks.results import Derived, Failure, Results, Row, Setting, SideCommand, SideFacts
from benchmarks.schedule import Side
from benchmarks.stats import Better, Comparison, Estimate, Outcome, Verdict

SETTING = Setting("/images/a", "7", ("n1", "n2"), 4, rounds=8, warmup=1, seed=3)


def row(metric: str, verdict: Verdict, comparison: Comparison | None, rounds: int = 6) -> Row:
    return Row(
        metric, "ms", Better.LOWER, 1, 1, None, (50.0,) * rounds, (55.0,) * rounds, comparison, verdict
    )


SLOWER = Comparison(50.0, 55.0, Estimate(1.1, 1.05, 1.15), Estimate(5.0, 2.5, 7.5), 6)
RESULTS = Results(
    suite="launch",
    setting=SETTING,
    rows=(
        row("launch, 1 node, 1 rank", Verdict(Outcome.SLOWER, 10.0), SLOWER),
        row("other", Verdict(Outcome.NOT_COMPARED, reason="bare used MPICH 4, the container MPICH 5"), None),
    ),
    derived=(Derived("added time a node (1 node)", "ms", Estimate(4.5, 4.0, 5.0)),),
    sides=(SideFacts(Side.BARE, "inside a node", "MPICH 4", "ab", "shared memory"),),
    failures=(Failure("launch, 1 node, 4 ranks", "true failed", "mend it"),),
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
        for part in render(results):
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
        "launch: bare against container, medians of 6 rounds, 95 % intervals",
        "50.00 ms",
        "1.100 [1.050, 1.150]",
        "+5.000 [2.500, 7.500]",
        "slower by 10 %",
        "not compared: bare used MPICH 4, the container MPICH 5",
        "note: MPI_Finalize did not return",
        "added time a node (1 node): +4.500 [4.000, 5.000] ms",
        "inside a node, bare: MPICH 4; shared memory",
        "image /images/a; job 7 on n1, n2 (4 processors each); seed 3",
        "failed: launch, 1 node, 4 ranks: true failed mend it",
        "stopped by SIGINT: 6 of 8 rounds are measured",
    ):
        assert expected in text


def test_few_rounds_have_no_interval() -> None:
    few = Comparison(50.0, 55.0, Estimate(1.1, 1.1, 1.1), Estimate(5.0, 5.0, 5.0), 1)
    text = show(Results("launch", SETTING, (row("x", Verdict(Outcome.UNRESOLVED), few, rounds=1),)))
    assert "1.100" in text
    assert "[" not in text


SIDES = Results(
    suite="launch",
    setting=SETTING,
    rows=(
        replace(row("launch, 1 node, 1 rank", Verdict(Outcome.SLOWER, 10.0), SLOWER), side="bareboat image"),
        replace(row("launch, 1 node, 1 rank", Verdict(Outcome.SLOWER, 10.0), SLOWER), side="ch-run image"),
        replace(row("launch, 1 node, 4 ranks", Verdict(Outcome.SLOWER, 10.0), SLOWER), side="bareboat image"),
        replace(
            row("MPI, 1 node, 1 rank", Verdict(Outcome.NOT_COMPARED, reason="5"), None), side="ch-run image"
        ),
    ),
    derived=(Derived("added time a node (1 node)", "ms", Estimate(4.5, 4.0, 5.0), "ch-run image"),),
    commands=(SideCommand("ch-run image", "srun ch-run /images/a -- true", "0.31"),),
    notes=("podman image is left out: podman failed",),
)


def test_table_of_several_sides() -> None:
    lines = [" ".join(line.split()) for line in lines_of(SIDES)]
    for expected in (
        "metric bare bareboat image ch-run image",
        "launch, 1 node, 1 rank 50.00 55.00 55.00",
        "+5.00 [2.50, 7.50] +5.00 [2.50, 7.50]",
        "launch, 1 node, 4 ranks 50.00 55.00 failed",
        "MPI, 1 node, 1 rank 50.00 failed 55.00",
        "not compared",
        "added time a node (1 node) +4.50 [4.00, 5.00]",
        "ch-run image: srun ch-run /images/a -- true (version 0.31)",
        "note: podman image is left out: podman failed",
    ):
        assert expected in lines
    title = "launch: medians of 6 rounds in ms, below them what is added to bare, with 95 % intervals"
    assert title in show(SIDES)


def test_results_of_the_first_schema_are_read() -> None:
    """It had one side beside bare, which it did not name."""
    data = json.loads(to_json(RESULTS))
    data["schema"] = "bareboat-bench/1"
    del data["commands"]
    for item in (*data["rows"], *data["derived"]):
        assert item.pop("side") == "container"
    assert from_json(json.dumps(data)) == RESULTS


def test_a_side_of_few_rounds_has_no_interval() -> None:
    few = Comparison(50.0, 55.0, Estimate(1.1, 1.1, 1.1), Estimate(5.0, 5.0, 5.0), 2)
    last = replace(
        row("launch, 2 nodes, 2 ranks", Verdict(Outcome.UNRESOLVED), few, rounds=2), side="ch-run image"
    )
    lines = [" ".join(line.split()) for line in lines_of(replace(SIDES, rows=(*SIDES.rows, last)))]
    at = lines.index("launch, 2 nodes, 2 ranks 50.00 failed 55.00")
    assert lines[at + 1] == "+5.00, 2 rounds"


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


def test_usage_errors() -> None:
    result = CliRunner().invoke(bench, ["launch", "--image", "/", "--ranks", "1,x"])
    assert result.exit_code == 2
    assert "'1,x' is not a list of numbers above 0, like 1,4,16" in result.output
    assert CliRunner().invoke(bench, ["launch"]).exit_code == 2


def test_errors_have_a_hint_and_a_code_of_their_own() -> None:
    result = CliRunner().invoke(bench, ["launch", "--image", "/no/such"])
    assert result.exit_code == 125
    assert result.output == (
        "bareboat: error: image /no/such does not exist\nbareboat: hint: give the path of an image\n"
    )


def test_a_result_file_that_cannot_be_written_is_refused_before_measuring(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        bench, ["launch", "--image", "/", "--json", str(tmp_path / "no" / "file.json")]
    )
    assert result.exit_code == 125
    assert "file.json cannot be written: its directory is missing or not writable" in result.output
