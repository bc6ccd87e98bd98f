"""A hang leaves figures where the output shows that it is whole, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import BARE, CONTAINER, App, Asked, Case, Ground, Level
from benchmarks.engine import Pace, run_cases
from benchmarks.errors import BenchError
from benchmarks.progress import Silent
from benchmarks.records import Record
from benchmarks.runner import Allocation, Client, Output, Step, run_step
from benchmarks.suites import app, launches, npb, osu
from benchmarks.suites.osu_programs import PROGRAMS
from benchmarks.ways import make_ways

TABLE = """# OSU MPI Latency Test v7.5
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)
8   1.5000
16   1.6000
"""
FACTS = "# library: MPICH 4\n# library digest: 0123456789abcdef\n"


CG = Path(__file__).parents[1] / "data/outputs/npb/cg.S_n4.txt"


def ground(asked: Asked) -> Ground:
    programs = {(side, program.name): "/p" for side in (BARE, CONTAINER) for program in PROGRAMS}
    ways = make_ways("/images/a", asked, ())
    return Ground(asked, "/images/a", (1,), 2, programs, scratch="/scratch", ways=ways)


def test_ours_say_when_they_have_come_to_their_end() -> None:
    (case,) = [case for case in osu.offer(ground(Asked(Level.QUICK))).cases if case.title == "osu_latency"]
    assert not case.whole
    assert len(case.parse(Output(TABLE + FACTS, "", 1.0)).figures) == 2
    with pytest.raises(BenchError, match="the output of osu_latency ends before the facts behind its table"):
        case.parse(Output(TABLE, "", 1.0))


def test_a_sites_do_not(tmp_path: Path) -> None:
    (tmp_path / "osu_latency").touch(mode=0o755)
    (case,) = osu.offer(ground(Asked(Level.QUICK, osu=(str(tmp_path), "")))).cases
    assert len(case.parse(Output(TABLE, "", 1.0)).figures) == 2
    assert case.whole


def test_a_hang_has_no_wall_time() -> None:
    asked = Asked(Level.QUICK, app=App(("program",), "/"))
    cases = [case for suite in (app, launches) for case in suite.offer(ground(asked)).cases]
    assert {case.title for case in cases} == {"program", "true"}
    assert all(case.whole for case in cases)


def run_npb(site: Path, script: str) -> list[Record]:
    """What is kept of a site's own CG, whose runs are ended after a second."""
    program = site / "cg.S.x"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    asked = Asked(Level.QUICK, ranks=(4,), npb=(str(site), ""))
    cases = npb.offer(ground(asked)).cases
    here = Allocation("none", ("here",), 1, ours=False, launcher=())
    kept: list[Record] = []

    def start(case: Case, side: str) -> Output:
        return run_step(Client({}), here, Step(1, 1, None, case.commands[side].argv, 1.0))

    run_cases(
        cases,
        Pace(rounds=1, warmup=0, seed=1),
        (),
        session=0,
        start=start,
        keep=kept.append,
        check=lambda: None,
        progress=Silent(),
    )
    return kept


def test_a_kernel_that_hangs_behind_its_whole_result_has_one(tmp_path: Path) -> None:
    """As where MPI_Finalize does not return; the result is one that NASA's program printed."""
    kept = run_npb(tmp_path, f"/bin/cat {CG}\nexec /bin/sleep 60")
    assert [record.error for record in kept] == ["", ""]
    assert all(record.figures[0].value > 0 for record in kept)
    assert {record.notes for record in kept} == {("hung after its result was printed, and was ended",)}


def test_a_kernel_that_hangs_within_its_result_has_none(tmp_path: Path) -> None:
    text = CG.read_text()
    (tmp_path / "result").write_text(text[: text.index("Verification")])
    kept = run_npb(tmp_path, f"/bin/cat {tmp_path}/result\nexec /bin/sleep 60")
    assert all("did not end within 1 s and was stopped" in record.error for record in kept)
    assert all(record.figures == () for record in kept)
