"""What the io suite offers, and how it reads what its ranks print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cases import BARE, CONTAINER, Asked, Ground, Level
from benchmarks.errors import BenchError
from benchmarks.image_python import find_python
from benchmarks.runner import Output
from benchmarks.suites.io import make_reader, offer

LINE = "write: 20000 times, 10240000 bytes, {} s\n"


def read(verb: str, ranks: int, text: str) -> tuple[str, float, str]:
    (figure,) = make_reader(verb, ranks)(Output(text, "", 1.0)).figures
    return figure.key, figure.value, figure.unit


def test_the_slowest_rank_counts() -> None:
    text = LINE.format("0.500000000") + LINE.format("2.000000000")
    assert read("write", 2, text) == ("rate", 10.24, "MB/s")


def test_each_work_has_its_unit() -> None:
    assert read("meta", 1, "meta: 100 times, 0 bytes, 0.5 s\n") == ("rate", 200.0, "files/s")
    assert read("import", 1, "import: 100 times, 0 bytes, 0.5 s\n") == ("time", 500.0, "ms")
    assert read("tree", 1, "tree: 10 times, 5000000 bytes, 0.5 s\n") == ("rate", 10.0, "MB/s")


@pytest.mark.parametrize(
    "text",
    ["", LINE.format("1.0"), LINE.format("1.0") + "garbage\n", 2 * "tree: 1 times, 1 bytes, 1.0 s\n"],
)
def test_what_is_missing_or_another_work_is_no_figure(text: str) -> None:
    with pytest.raises(BenchError, match=r"of 2 ranks said what they did"):
        read("write", 2, text)


def test_what_was_read_is_told_of_works_that_read_the_image() -> None:
    def work(verb: str) -> str:
        line = f"{verb}: 10 times, 5000 bytes, 0.5 s\n"
        return make_reader(verb, 2)(Output(2 * line, "", 1.0)).facts.work

    assert (work("tree"), work("import")) == ("read 20 files, 10000 bytes", "read 20 modules, 10000 bytes")
    assert (work("write"), work("meta")) == ("", "")


def test_no_time_at_all_is_no_figure() -> None:
    with pytest.raises(BenchError, match="took no time that the clock shows"):
        read("write", 1, LINE.format("0.000000000"))


def ground(image: str, *, level: Level = Level.QUICK, forms: tuple[tuple[str, str], ...] = ()) -> Ground:
    programs = {(side, "bareboat_io"): "/scratch/bareboat_io" for side in (BARE, CONTAINER)}
    return Ground(Asked(level, forms=forms), image, (1, 2), 2, programs, scratch="/scratch")


def test_full_has_one_to_ten_ranks_a_node(tmp_path: Path) -> None:
    cases = offer(ground(str(tmp_path), level=Level.FULL)).cases
    assert {case.ranks for case in cases if case.nodes == 2} == set(range(2, 21, 2))
    assert {(case.nodes, case.ranks) for case in offer(ground(str(tmp_path))).cases} == {(1, 2), (2, 4)}


def test_full_has_every_number_of_nodes_up_to_ten(tmp_path: Path) -> None:
    def nodes(level: Level, most: int) -> list[int]:
        cases = offer(replace(ground(str(tmp_path), level=level), nodes=(1, most))).cases
        return sorted({case.nodes for case in cases})

    assert nodes(Level.NORMAL, 4) == [1, 4]
    assert nodes(Level.FULL, 4) == [1, 2, 3, 4]
    assert nodes(Level.FULL, 64) == [*range(1, 11), 64]


def test_without_a_python_in_a_directory_nothing_is_read_from_the_image(tmp_path: Path) -> None:
    found = offer(ground(str(tmp_path), forms=(("file", "/images/a.sqfs"),)))
    assert len(found.cases) == 8
    assert "no reading of a tree and no imports were measured" in found.notes[0]


def test_without_the_program_the_suite_says_what_to_install() -> None:
    with pytest.raises(BenchError, match="bareboat_io could not be compiled") as caught:
        offer(Ground(Asked(), "/image", (1,), 2, {}))
    assert "libc6-dev" in caught.value.hint


def test_no_launch_is_judged_by_the_mpi_that_a_python_may_load() -> None:
    """This host's own tree as an image: it has a Python."""
    cases = offer(ground("/", forms=(("file", "/images/a.sqfs"),))).cases
    assert {"read Python's library", "Python imports"} < {case.title for case in cases}
    inside = [command for case in cases for command in case.commands.values() if command.image]
    assert {command.image for command in inside} == {"/", "/images/a.sqfs"}
    assert {command.variables for command in inside} == {(("BAREBOAT_MPI", "image"),)}


def test_no_python_where_there_is_no_image(tmp_path: Path) -> None:
    assert find_python(str(tmp_path / "missing")) is None
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").write_text("#!/bin/sh\n")
    assert find_python(str(tmp_path)) is None
