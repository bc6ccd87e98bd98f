"""Launches: the ways to start a program, the engines that are found, and what the times come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import bench_kept
from click.testing import CliRunner

from benchmarks.analysis import analyse
from benchmarks.cases import BARE, CONTAINER, Asked, Case, Command, Facts, Figure, Way
from benchmarks.cli import bench
from benchmarks.engines import ENGINES, Installed, find_engines
from benchmarks.errors import BenchError
from benchmarks.progress import PlainLines, Silent
from benchmarks.records import Record
from benchmarks.results import Derived, Results, SideCommand
from benchmarks.runner import Allocation, Client, srun_command
from benchmarks.stats import Better
from benchmarks.suites.common import Target
from benchmarks.suites.launches import read_launch
from benchmarks.trials import describe_way, try_ways
from benchmarks.ways import make_ways, parse_image

ALLOCATION = Allocation("7", ("n1", "n2"), 4, ours=True)
BY_NAME = {engine.name: engine for engine in ENGINES}
PEER = "ch-run"


def programs(directory: Path, **scripts: str) -> Client:
    """A client whose PATH has only these programs."""
    for name, script in scripts.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return Client(environment={"PATH": str(directory)})


def launches(ranks: int, *sides: str, nodes: int = 1, title: str = "true") -> Case:
    commands = {side: Command(("true",)) for side in (BARE, *sides)}
    return Case("launch", title, nodes, ranks, commands, read_launch, mpi=title != "true", whole=True)


def times(
    case: Case, values: Mapping[str, float], *, rounds: range = range(6), library: str = ""
) -> Iterator[Record]:
    """Runs of a case that took so many ms on each side; library: what a side but bare says that it used."""
    for number in rounds:
        for side, value in values.items():
            facts = Facts("MPICH 4" if side == BARE and library else library)
            figures = (Figure("wall time", value, "ms", Better.LOWER),)
            yield Record(0, number, "launch", case.key, side, 1.0, value / 1e3, figures=figures, facts=facts)


def lines_of(results: Results) -> list[tuple[str, str, float]]:
    return [(one.name, one.side, round(one.estimate.value, 3)) for one in results.derived]


def added(side: str, node: float, rank: float, *, title: str = "true") -> list[tuple[str, str, float]]:
    return [
        (f"{title}: added time a node (1 node)", side, node),
        (f"{title}: added time a rank of a node (1 node)", side, rank),
    ]


def test_what_a_node_and_a_rank_add() -> None:
    costs = {CONTAINER: (8.0, 0.5), "container, cold": (200.0, 0.25), PEER: (9.0, 1.5)}
    cases = [launches(ranks, *costs) for ranks in (1, 4, 16)]
    two = launches(2, *costs, nodes=2)
    records = [
        record
        for case in (*cases, two)
        for record in times(
            case,
            {BARE: 50.0}
            | {side: 50.0 + start + slope * case.ranks for side, (start, slope) in costs.items()},
        )
    ]
    results = analyse(bench_kept(*cases, two), records)
    # Two nodes were measured at one number of ranks only: no line goes through one point.
    assert lines_of(results) == [line for side, cost in costs.items() for line in added(side, *cost)]
    assert [row.comparison.added.value for row in results.rows if row.comparison][:3] == [8.5, 200.25, 10.5]
    assert {type(one) for one in results.derived} == {Derived}


def test_a_line_is_of_the_rounds_that_all_of_its_points_have() -> None:
    cases = [launches(ranks, CONTAINER, PEER) for ranks in (1, 4)]
    usual = {BARE: 50.0, CONTAINER: 60.0, PEER: 60.0}
    records = [
        *times(cases[0], usual, rounds=range(7)),
        *times(cases[1], usual, rounds=range(1, 7)),
    ]
    broken = [
        replace(record, figures=(), error="lost 9 ranks")
        if (record.case, record.side, record.round) == (cases[1].key, PEER, 3)
        else record
        for record in records
    ]
    results = analyse(bench_kept(*cases), broken)
    assert [(row.side, row.ranks, len(row.bare)) for row in results.rows] == [
        *((CONTAINER, 1, 7), (PEER, 1, 7), (CONTAINER, 4, 6), (PEER, 4, 5))
    ]
    # Five rounds are too few for an interval.
    assert lines_of(results) == added(CONTAINER, 10.0, 0.0)


def test_another_mpi_library_is_not_compared() -> None:
    title = "MPI start and end"
    cases = [launches(ranks, CONTAINER, PEER, title=title) for ranks in (1, 4)]
    records = [
        *(
            record
            for case in cases
            for record in times(case, {BARE: 200.0, CONTAINER: 210.0}, library="MPICH 4")
        ),
        *(record for case in cases for record in times(case, {PEER: 210.0}, library="MPICH 5")),
    ]
    results = analyse(bench_kept(*cases), records)
    assert [str(row.verdict) for row in results.rows if row.side == PEER] == [
        "not compared: bare used MPICH 4, ch-run MPICH 5"
    ] * 2
    assert lines_of(results) == added(CONTAINER, 10.0, 0.0, title=title)
    assert {(facts.side, facts.library) for facts in results.sides} == {
        *((BARE, "MPICH 4"), (CONTAINER, "MPICH 4"), (PEER, "MPICH 5"))
    }


def test_images_are_named() -> None:
    assert parse_image("/images/a=b") == ("", "/images/a=b")
    assert parse_image("old=/images/a=b") == ("old", "/images/a=b")
    assert parse_image("a") == ("", str(Path.cwd() / "a"))


def test_ways(tmp_path: Path) -> None:
    directory, file = tmp_path / "root", tmp_path / "root.sqfs"
    directory.mkdir()
    file.write_text("")
    engines = (
        Installed(BY_NAME["ch-run"], "/usr/bin/ch-run", "0.31"),
        Installed(BY_NAME["podman"], "/usr/bin/podman"),
        Installed(BY_NAME["pyxis"]),
    )
    asked = Asked(forms=(("squashfs", str(file)),))
    podman = f"/usr/bin/podman run --rm --network=host --rootfs {directory}:O"
    ways = make_ways(str(directory), asked, engines)
    assert [describe_way(way, "true", Client({}), ALLOCATION) for way in ways] == [
        SideCommand("bare", "srun true"),
        SideCommand("container", f"srun --container={directory} true"),
        SideCommand("squashfs", f"srun --container={file} true"),
        SideCommand("container, cold", f"BAREBOAT_REPLAN=1 srun --container={directory} true", apart=True),
        SideCommand("squashfs, cold", f"BAREBOAT_REPLAN=1 srun --container={file} true", apart=True),
        SideCommand("ch-run", f"srun /usr/bin/ch-run {directory} -- true", "0.31", apart=True),
        SideCommand("ch-run squashfs", f"srun /usr/bin/ch-run {file} -- true", "0.31", apart=True),
        SideCommand("podman", f"srun {podman} true", apart=True),
        SideCommand("pyxis squashfs", f"srun --container-image={file} true", apart=True),
    ]
    here = replace(ALLOCATION, launcher=("mpiexec",))
    assert describe_way(ways[1], "true", Client({}, bareboat="/b"), here).command == (
        f"/b run {directory} -- true"
    )
    named = make_ways(str(directory), Asked(label="tree", cold=False), engines[:1])
    assert [way.name for way in named] == ["bare", "tree", "ch-run tree"]
    with pytest.raises(BenchError, match="two sides would be called 'ch-run'") as caught:
        make_ways(str(directory), Asked(forms=(("ch-run", str(file)),)), engines)
    assert caught.value.hint == "give each form of the image another label"
    with pytest.raises(BenchError, match="image /no/such does not exist"):
        make_ways("/no/such", Asked(), engines)


def test_a_way_makes_steps(tmp_path: Path) -> None:
    engines = (Installed(BY_NAME["ch-run"], "/bin/ch-run"),)
    ways = make_ways(str(tmp_path), Asked(), engines)
    steps = [way.step(1, 2, ("/bin/true",), 30.0) for way in ways]
    bare, warm, cold, peer = (srun_command(ALLOCATION, step)[7:] for step in steps)
    assert bare == ("--input=none", "/bin/true")
    assert warm == cold == ("--input=none", f"--container={tmp_path}", "/bin/true")
    assert peer == ("--input=none", "/bin/ch-run", str(tmp_path), "--", "/bin/true")
    assert [step.variables for step in steps] == [(), (), (("BAREBOAT_REPLAN", "1"),), ()]
    assert [step.title for step in steps] == ["", "", "", "/bin/true by ch-run"]


def test_ways_whose_launches_are_not_what_they_are_called(tmp_path: Path) -> None:
    """The cache of a node is full, or broken: every launch plans anew, and "cold" ones do not."""
    client = programs(
        tmp_path,
        readlink="",
        srun="""case "$*" in
*--container=*readlink*) echo "0: inside" ;;
*readlink*) echo "0: outside" ;;
*--container=*) [ -z "$BAREBOAT_REPLAN" ] && said="planned and entered" || said="entered by the cache"
    echo "trace: $said in 9 us" >&2 ;;
esac""",
    )
    said: list[str] = []
    ways = make_ways(str(tmp_path), Asked(), (Installed(BY_NAME["ch-run"], "/bin/ch-run"),))
    target = Target(client)
    tried = try_ways(
        *(ways, "true", target, ALLOCATION),
        nodes=1,
        required=True,
        progress=PlainLines(said.append, interval=3600),
    )
    third = "at the third start of true"
    assert tried.notes == (
        f"container: {third}, 0 of 1 nodes took a plan that they had kept",
        f"container, cold: {third}, 1 of 1 nodes took a plan that they had kept",
    )
    # ch-run's step ran on the bare host: the script does not know it.
    (failure,) = tried.failures
    assert failure.metric == "ch-run is left out"
    assert failure.text.startswith("the container side ran on the bare host: rank 0")
    assert said == [f"ch-run does not work: {failure.text}"]
    assert [way.name for way in tried.ways] == ["bare", "container", "container, cold"]
    # A measurement that goes on keeps its sides; this one's runs are failures.
    tried = try_ways(
        *(ways, "true", target, ALLOCATION),
        nodes=1,
        required=False,
        begun={"bare", "ch-run"},
        progress=Silent(),
    )
    assert (tried.ways, tried.failures) == (ways, ())
    assert str(tried.refused["ch-run"]) == failure.text


def test_a_form_that_does_not_work_stays_a_side(tmp_path: Path) -> None:
    client = programs(tmp_path, readlink="", srun='case "$*" in *--container=*) exit 1 ;; esac\necho "0: x"')
    ways = (Way(BARE), Way("garbage", "/images/garbage"))
    tried = try_ways(ways, "true", Target(client), ALLOCATION, nodes=1, required=False, progress=Silent())
    assert (tried.ways, tried.failures, tried.notes) == (ways, (), ())
    said = str(tried.refused["garbage"])
    assert said == "readlink in /images/garbage (1 rank on 1 node) failed with exit code 1"


def test_an_engine_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.trials._LIMIT", 0.5)
    srun = 'case "$*" in *ch-run*) exec sleep 60 ;; *readlink*) echo "0: outside" ;; esac'
    client = programs(tmp_path, readlink="", srun=srun)
    client = replace(client, environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    ways = (Way(BARE), Way("ch-run", before=("ch-run", "/images/a"), peer=True))
    target = Target(client, limit=3600.0)
    tried = try_ways(ways, "true", target, ALLOCATION, nodes=1, required=False, progress=Silent())
    assert (tried.ways, tried.failures) == (ways[:1], ())
    (note,) = tried.notes
    assert note.startswith(
        "ch-run is left out: readlink by ch-run (1 rank on 1 node) did not end within 0.5 s and was stopped"
    )


def test_engines_are_found(tmp_path: Path) -> None:
    client = programs(
        tmp_path,
        srun="echo '      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH'",
        singularity="echo singularity-ce version 4.1.2-jammy",
        **{"ch-run": "echo 'ch-run: error: 0.31 needs USER' >&2; exit 1"},
    )
    assert find_engines(client, None) == (
        Installed(BY_NAME["ch-run"], str(tmp_path / "ch-run")),
        Installed(BY_NAME["apptainer"], str(tmp_path / "singularity"), "4.1.2-jammy"),
        Installed(BY_NAME["pyxis"]),
    )
    assert find_engines(client, ()) == ()
    assert [found.engine.name for found in find_engines(client, ("apptainer",))] == ["apptainer"]


def test_engines_that_are_asked_for_and_not_there(tmp_path: Path) -> None:
    assert find_engines(Client({"PATH": str(tmp_path)}), None) == ()  # no srun either
    client = programs(tmp_path, srun="echo '      --container=PATH'")
    assert find_engines(client, None) == ()
    with pytest.raises(BenchError, match="there is no engine 'lxc' to measure") as caught:
        find_engines(client, ("lxc",))
    assert caught.value.hint == "known: ch-run, apptainer, podman, pyxis"
    with pytest.raises(BenchError, match="podman is not on this host: not in PATH"):
        find_engines(client, ("podman",))
    with pytest.raises(BenchError, match="pyxis is not on this host: srun has no --container-image"):
        find_engines(client, ("pyxis",))


def test_an_engine_that_is_not_known_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for command in (("launch", "--image=/"), ("run", "--image=/", "--suite=launch")):
        done = CliRunner().invoke(bench, [*command, "--engines=lxc", "--out", str(out)])
        assert done.exit_code == 125
        assert "bareboat: error: there is no engine 'lxc' to measure\n" in done.output
        assert not out.exists()
