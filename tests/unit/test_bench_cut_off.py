"""A table of OSU's that ends early is a table, too: where nothing shows its end, a hang leaves no figure."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import BARE, CONTAINER, App, Asked, Ground, Level
from benchmarks.errors import BenchError
from benchmarks.runner import Output
from benchmarks.suites import app, launches, osu
from benchmarks.suites.osu_programs import PROGRAMS
from benchmarks.ways import make_ways

TABLE = """# OSU MPI Latency Test v7.5
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)
8   1.5000
16   1.6000
"""
FACTS = "# library: MPICH 4\n# library digest: 0123456789abcdef\n"


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
