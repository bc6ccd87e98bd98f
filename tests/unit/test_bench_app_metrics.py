"""What `bench app` takes from a program's output."""

from __future__ import annotations

import pytest

from benchmarks.cases import App, Asked, Ground
from benchmarks.errors import BenchError
from benchmarks.runner import Output
from benchmarks.stats import Better
from benchmarks.suites.app import make_metric, make_reader, offer


def read(text: str, *patterns: str) -> dict[str, float]:
    reading = make_reader(tuple(map(make_metric, patterns)))(Output(text, "", 2.5))
    return {figure.key: figure.value for figure in reading.figures}


def test_the_last_match_counts_and_the_group_names_it() -> None:
    text = "step 1 rate 3\nstep 2 rate 4.5e1\n"
    assert read(text, r"rate (?P<rate>\S+)", r"^step (\d+)") == {
        "wall time": 2.5,
        "rate": 45.0,
        r"^step (\d+)": 2.0,
    }


@pytest.mark.parametrize("text", ["rate nan\n", "rate 0\n", "rate -1\n", "rate inf\n", "rate fast\n"])
def test_what_is_no_number_above_0_is_no_figure(text: str) -> None:
    with pytest.raises(BenchError, match="which is no number above 0"):
        read(text, r"rate (?P<rate>\S+)")


def test_an_output_without_it_shows_its_end() -> None:
    with pytest.raises(BenchError, match="does not have what") as caught:
        read("all is well\n", "rate (.*)")
    assert "all is well" in caught.value.hint


def test_names_choose_the_direction_and_the_unit() -> None:
    metric = make_metric("(?P<rate>.)", ("rate",), (("rate", "1/s"),))
    assert (metric.name, metric.better, metric.unit) == ("rate", Better.HIGHER, "1/s")
    assert make_metric("(.)").better is Better.LOWER


def test_the_case_is_the_program_on_all_nodes_and_the_bare_side_may_differ() -> None:
    app = App(("/opt/x/lmp", "-in", "a"), "/work", bare=("lmp",))
    ground = Ground(Asked(ranks=(2, 8), app=app, forms=(("file", "/a.sqfs"),)), "/image", (1, 4), 2, {})
    offered = offer(ground)
    cases = offered.cases
    (note,) = offered.notes
    assert note.startswith("if lmp is an MPI program, whether all sides used the same library and transport ")
    assert [(case.title, case.nodes, case.ranks) for case in cases] == [("lmp", 4, 4), ("lmp", 4, 8)]
    assert {side: (command.argv[0], command.image) for side, command in cases[0].commands.items()} == {
        "bare": ("lmp", None),
        "container": ("/opt/x/lmp", "/image"),
        "file": ("/opt/x/lmp", "/a.sqfs"),
    }
    assert all(command.directory == "/work" for command in cases[0].commands.values())


def test_a_suite_without_a_program_says_what_to_call() -> None:
    with pytest.raises(BenchError, match="no program was named") as caught:
        offer(Ground(Asked(), "/image", (1,), 2, {}))
    assert "bareboat bench app" in caught.value.hint
