"""The table of the NPB suite, and a site's own build found by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import Figure, Level
from benchmarks.errors import BenchError
from benchmarks.npb import parse_npb
from benchmarks.programs import KNOWN, SOURCES
from benchmarks.stats import Better
from benchmarks.suites.npb_programs import (
    KERNELS,
    NpbProgram,
    built_in,
    choose,
    find_npb,
    program_name,
    speed_of,
)

RECORDED = Path(__file__).parents[1] / "data" / "outputs" / "npb"


def install(top: Path, *paths: str) -> None:
    for path in paths:
        program = top / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)


def test_the_built_in_programs() -> None:
    assert [program.title for program in built_in(Level.QUICK)] == ["ep.S", "is.S", "cg.S", "mg.S", "ft.S"]
    assert {program.arguments for program in built_in(Level.NORMAL)} == {("-c", "S"), ("-c", "A")}
    assert [program.title for program in built_in(Level.FULL) if program.kernel.name == "cg"] == [
        *("cg.S", "cg.W", "cg.A", "cg.B", "cg.C")
    ]
    for program in built_in(Level.QUICK):
        source = KNOWN[program_name(program.kernel)]
        assert all((SOURCES / file).is_file() for file in source.files)


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("ep", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        ("is", [1, 2, 4, 8, 16]),
        ("ft", [1, 2, 4, 8, 16]),
        ("bt", [1, 4, 9, 16]),
        ("lu", [1, 2, 4, 6, 8, 9, 12, 15, 16]),
    ],
)
def test_ranks_that_a_kernel_takes(name: str, takes: list[int]) -> None:
    assert [ranks for ranks in range(17) if KERNELS[name].takes(ranks)] == takes


def test_as_many_ranks_as_a_class_has_parts() -> None:
    most = {program.title: program.ranks_for(1000) for program in built_in(Level.QUICK)}
    assert most == {"ep.S": 256, "is.S": 128, "cg.S": 512, "mg.S": 512, "ft.S": 64}
    assert NpbProgram(KERNELS["ft"], "S").ranks_for(1000) == 512


def test_as_many_ranks_as_fit() -> None:
    assert [KERNELS[name].ranks_for(7) for name in ("ep", "cg", "sp", "lu")] == [7, 4, 4, 6]
    assert KERNELS["bt"].ranks_for(1) == 1


def test_a_sites_own_programs(tmp_path: Path) -> None:
    install(tmp_path, "bin/cg.A.x", "bin/cg.S.x", "bin/lu.C.x", "bin/dt.S.x", "bin/notes.x", "mg.B.x")
    (tmp_path / "bin" / "ft.S.x").touch(mode=0o644)
    found = find_npb(tmp_path)
    assert {program.title: path for program, path in found.items()} == {
        "cg.A": tmp_path / "bin" / "cg.A.x",
        "cg.S": tmp_path / "bin" / "cg.S.x",
        "lu.C": tmp_path / "bin" / "lu.C.x",
        "mg.B": tmp_path / "mg.B.x",
    }
    assert all(program.arguments == () for program in found)
    assert [program.title for program in choose(Level.QUICK, found)] == ["cg.S", "mg.B", "lu.C"]
    assert [program.title for program in choose(Level.NORMAL, found)] == ["cg.S", "cg.A", "mg.B", "lu.C"]


def test_all_classes_of_a_sites_own_are_in_a_full_measurement(tmp_path: Path) -> None:
    install(tmp_path, *(f"cg.{letter}.x" for letter in "SWABCDEF"))
    found = find_npb(tmp_path)
    assert [program.problem_class for program in choose(Level.FULL, found)] == list("SWABCDEF")


def test_a_directory_without_any(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=f"{tmp_path} holds no program of NPB") as caught:
        find_npb(tmp_path)
    assert caught.value.hint == "name the directory NPB3.4-MPI after `make suite`, or its bin"


def test_the_figure_of_a_run() -> None:
    result = parse_npb((RECORDED / "is.S_n1.txt").read_text())
    assert speed_of(result) == Figure("rate", 207.61, "Mop/s", Better.HIGHER)
