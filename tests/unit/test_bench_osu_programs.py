"""The table of the OSU suite, and a site's own build found by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import Figure
from benchmarks.errors import BenchError
from benchmarks.programs import SOURCES, source_of
from benchmarks.runner import Output
from benchmarks.stats import Better
from benchmarks.suites.osu import make_reader
from benchmarks.suites.osu_programs import BY_NAME, PROGRAMS, find_osu

RECORDED = Path(__file__).parents[1] / "data" / "outputs" / "osu"


def install(top: Path, *paths: str) -> None:
    for path in paths:
        program = top / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch(mode=0o755)


def test_the_table() -> None:
    assert len(BY_NAME) == len(PROGRAMS)
    assert {program.name for program in PROGRAMS if program.python} == {
        "osu_latency",
        "osu_bw",
        "osu_allreduce",
    }
    assert {program.name for program in PROGRAMS if program.quick is not None} == {
        *("osu_latency", "osu_bw", "osu_allreduce", "osu_alltoall", "osu_put_latency")
    }


@pytest.mark.parametrize(
    ("name", "wanted", "started"),
    [("osu_bw", 8, 2), ("osu_allreduce", 8, 8), ("osu_allreduce", 1, 2), ("osu_init", 1, 1)],
)
def test_ranks_that_a_program_takes(name: str, wanted: int, started: int) -> None:
    assert BY_NAME[name].ranks_for(wanted) == started


def figures_of(name: str, text: str, size: int) -> list[Figure]:
    found = make_reader(BY_NAME[name], 1)(Output(text, "", 1.0)).figures
    return [figure for figure in found if figure.message_bytes == size]


def test_nonblocking_collectives_have_what_they_did_not_hide() -> None:
    text = (RECORDED / "osu_iallreduce.txt").read_text()
    assert figures_of("osu_iallreduce", text, 8) == [
        Figure("Overall(us)", 6.72, "us", Better.LOWER, 8),
        Figure("not overlapped", 100 - 4.56, "%", Better.LOWER, 8),
    ]
    # Nothing was hidden: that is a figure, too.  All was hidden: of that there is no ratio.
    assert figures_of("osu_iallreduce", text, 4)[1].value == 100
    hidden = text.replace("4.56", "100.00")
    assert [figure.key for figure in figures_of("osu_iallreduce", hidden, 8)] == ["Overall(us)"]
    with pytest.raises(BenchError, match=r"the table has no column 'Overlap\(%\)', but Overall\(us\)"):
        figures_of("osu_iallreduce", "# OSU MPI A Test v7.5\n# Overall(us)\n 1.0\n", 8)


def test_pairs_have_bandwidth_and_message_rate() -> None:
    text = (RECORDED / "option_mbw_mr_n4.txt").read_text()
    assert figures_of("osu_mbw_mr", text, 8) == [
        Figure("Messages/s", 18003.82, "1/s", Better.HIGHER, 8),
        Figure("MB/s", 0.14, "MB/s", Better.HIGHER, 8),
    ]


def test_a_sites_own_programs(tmp_path: Path) -> None:
    install(
        tmp_path,
        "libexec/osu-micro-benchmarks/mpi/pt2pt/osu_latency",
        "libexec/osu-micro-benchmarks/mpi/one-sided/osu_put_bw",
        "libexec/osu-micro-benchmarks/xccl/osu_bw",
        "src/osu_unheard_of",
    )
    (tmp_path / "libexec/osu-micro-benchmarks/mpi/pt2pt/osu_bibw").touch(mode=0o644)
    assert {name: path.parent.name for name, path in find_osu(tmp_path).items()} == {
        "osu_latency": "pt2pt",
        "osu_put_bw": "one-sided",
    }
    assert list(find_osu(tmp_path / "libexec/osu-micro-benchmarks/mpi/pt2pt")) == ["osu_latency"]


def test_no_or_two_builds(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="holds none of OSU's programs") as caught:
        find_osu(tmp_path)
    assert "libexec/osu-micro-benchmarks" in caught.value.hint
    install(tmp_path, "a/pt2pt/osu_bw", "b/pt2pt/osu_bw")
    with pytest.raises(BenchError, match=r"holds osu_bw twice: .*/a/pt2pt/osu_bw and .*/b/pt2pt/osu_bw"):
        find_osu(tmp_path)


def test_sources_of_the_built_in_programs() -> None:
    files = {path for folder in ("osu", "common") for path in (SOURCES / folder).glob("*.c")}
    assert {SOURCES / file for file in source_of("osu").files} == files
    assert set(source_of("osu").names) == {*BY_NAME, "osu_hello"}
