"""Names and outputs that are not ours neither steer a terminal nor break a page or a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from bench_rows import bench_results
from click.testing import CliRunner

from benchmarks.cli import Group
from benchmarks.comparing import compare_results, render_changes
from benchmarks.errors import BenchError
from benchmarks.page.html import to_html
from benchmarks.page.table import to_csv
from benchmarks.progress import make_progress
from benchmarks.results import Failure, Results
from benchmarks.shown import make_console, show_all
from benchmarks.table import render_run

EVIL = "=\x1b[31m[/b]\udcff<script>:smile:\x00\\g<9>&"
SHOWN = "=\\x1b[31m[/b]\\udcff<script>:smile:\\x00\\g<9>&"


def hostile(where: str) -> Results:
    results = bench_results()
    if where == "failure":
        return replace(results, failures=(Failure(EVIL, EVIL, EVIL),), notes=(EVIL,), stopped=EVIL)
    if where == "setting":
        return replace(results, setting=replace(results.setting, image=EVIL, nodes=(EVIL,), command=(EVIL,)))
    named: dict[str, Any] = {where: EVIL}
    return replace(results, rows=tuple(replace(row, **named) for row in results.rows))


PLACES = ("failure", "setting", "metric", "suite", "case", "figure", "side", "unit")


@pytest.mark.parametrize("where", PLACES)
def test_a_terminal_gets_what_can_be_printed(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_all(render_run(hostile(where)))
    said = capsys.readouterr().out
    assert all(letter.isprintable() for line in said.split("\n") for letter in line)


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_all(render_run(hostile("metric")))
    assert SHOWN in capsys.readouterr().out
    changes = compare_results(hostile("metric"), hostile("metric"), limit=0.02)
    show_all(render_changes(changes, limit=0.02))
    assert SHOWN in capsys.readouterr().out


def test_what_is_told_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    with make_progress(make_console(stderr=True)) as progress:
        progress.note(f"it failed:\n{EVIL}")
    assert capsys.readouterr().err == f"it failed:\n{SHOWN}\n"


def test_an_error() -> None:
    group = Group("bench")

    @group.command()
    def fail() -> None:
        raise BenchError(EVIL, hint=EVIL)

    said = CliRunner().invoke(group, ["fail"]).output
    assert said == f"bareboat: error: {SHOWN}\nbareboat: hint: {SHOWN}\n"


@pytest.mark.parametrize("where", PLACES)
def test_a_page(where: str) -> None:
    text = to_html(hostile(where))
    assert "<script>:" not in text
    assert all(letter.isprintable() for line in text.split("\n") for letter in line)


@pytest.mark.parametrize("where", ["metric", "suite", "case", "figure", "side", "unit"])
def test_a_cell_is_no_formula(where: str) -> None:
    found = list(csv.DictReader(io.StringIO(to_csv(hostile(where)))))
    assert found[0][where] == f"'{SHOWN}"
    assert all(not cell.startswith(("=", "+", "@")) for row in found for cell in row.values())
