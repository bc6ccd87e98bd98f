"""Suites that cannot have MPI, and ranks that nothing starts: the others are measured, and it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cases import BARE, CONTAINER, App, Asked, Ground, Level, Way
from benchmarks.errors import BenchError
from benchmarks.local import choose_launcher
from benchmarks.offers import make_offers
from benchmarks.runner import Client
from benchmarks.suites import launches
from benchmarks.ways import make_ways
from mpi_abi import probe_host

MISSING = BenchError("this host has no MPI library to measure with", hint="name its directory")
IO = {(side, "bareboat_io"): "/made/bareboat_io" for side in (BARE, CONTAINER)}


def ground(asked: Asked) -> Ground:
    """One node of two processors, and no MPI program."""
    return Ground(asked, "/images", (1,), 2, IO, ways=make_ways("/", asked, ()))


def test_what_needs_mpi_fails_and_the_others_go_on() -> None:
    suites = ("launch", "osu", "npb", "io")
    only = ("true", "osu_latency", "writes of 512 B, tmpfs")
    offered = make_offers(suites, ground(Asked(only=only)), None, MISSING, alone=False)
    assert {(case.suite, case.title) for case in offered[0]} == {("launch", "true"), ("io", only[2])}
    assert [one.metric for one in offered[1]] == ["suite osu", "suite npb"]
    assert {(one.text, one.hint) for one in offered[1]} == {(str(MISSING), MISSING.hint)}


def test_nothing_but_what_needs_mpi() -> None:
    with pytest.raises(BenchError, match=f"there is nothing to measure: {MISSING}") as caught:
        make_offers(("osu", "npb"), ground(Asked()), None, MISSING, alone=False)
    assert caught.value.hint == MISSING.hint


def test_launches_are_compared_with_something() -> None:
    alone = replace(ground(Asked()), ways=(Way(BARE),))
    assert launches.offer(alone).cases == ()
    assert len(make_offers(("launch", "io"), alone, None, None, alone=False)[0]) == 4


def test_several_ranks_are_left_out_where_nothing_starts_them() -> None:
    asked = Asked(Level.QUICK, ranks=(1, 4))
    cases, failures, notes = make_offers(("launch",), ground(asked), None, None, alone=True)
    assert ({case.ranks for case in cases}, failures) == ({1}, ())
    why = "without Slurm, the host's mpiexec starts several ranks (4), and none was found"
    assert notes == (f"one rank alone was measured: {why}",)
    app = replace(asked, ranks=(4,), app=App(("true",), "/"))
    with pytest.raises(BenchError, match="there is nothing to measure: without Slurm, ") as caught:
        make_offers(("app",), ground(app), None, None, alone=True)
    assert str(caught.value).endswith(why)
    assert "--ranks 1" in caught.value.hint


def test_the_first_mpi_that_has_an_mpiexec_starts_ranks(tmp_path: Path) -> None:
    (host, *_) = probe_host(family="mpich")
    library = replace(host.libraries[0], real=str(tmp_path / "lib/libmpich.so"))
    bare = replace(host, libraries=(library,))
    client = Client({"PATH": "/nowhere"})
    found, launcher, why = choose_launcher(client, (bare,))
    assert (found, launcher) == (None, ())
    assert str(why).startswith(f"no mpiexec of {host.title} ")
    found, launcher, why = choose_launcher(client, (bare, host))
    assert (found, Path(launcher[0]).name, why) == (host, "mpiexec.mpich", None)
    assert choose_launcher(client, ()) == (None, (), None)
