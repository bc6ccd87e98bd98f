"""The launch suite: its ways to start a program, the engines it finds, and what it makes of the times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines import ENGINES, Installed, find_engines
from benchmarks.errors import BenchError
from benchmarks.results import Failure, SideCommand
from benchmarks.rounds import Measured
from benchmarks.runner import Allocation, Client, srun_command
from benchmarks.suites.common import Target, choose_nodes, require_apart
from benchmarks.suites.launch import Launch, LaunchOptions, Shape, analyse_launch, make_shapes, read_library
from benchmarks.suites.ways import BARE, Image, Tried, Way, make_ways, parse_image

ALLOCATION = Allocation("7", ("n1", "n2"), 4, ours=True)
OPTIONS = LaunchOptions(Target(Client(environment={})), (Image("/images/a"),))
INSIDE = Way("bareboat a", "/images/a", flag=True)
COLD = Way("cold", "/images/a", flag=True)
PEER = Way("peer", "/a")
BY_NAME = {engine.name: engine for engine in ENGINES}
Pairs = tuple[tuple[Launch, Launch], ...]


def tried(*ways: Way, options: LaunchOptions = OPTIONS) -> Tried:
    return Tried({way: {program: program.inside for program in options.programs} for way in (BARE, *ways)})


def pairs(bare: float, other: float, rounds: int = 6, *, library: str = "") -> Pairs:
    return ((Launch(bare, "MPICH 4" if library else ""), Launch(other, library)),) * rounds


def programs(directory: Path, **scripts: str) -> Client:
    """A client whose PATH has only these programs."""
    for name, script in scripts.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return Client(environment={"PATH": str(directory)})


def test_shapes() -> None:
    assert make_shapes((1, 2), (1, 4)) == (Shape(1, 1), Shape(1, 4), Shape(2, 2), Shape(2, 4))
    assert make_shapes((2, 2), (1, 2)) == (Shape(2, 2),)
    assert [str(shape) for shape in make_shapes((1,), (1, 2), ("launch", "MPI"))] == [
        "launch, 1 node, 1 rank",
        "launch, 1 node, 2 ranks",
        "MPI, 1 node, 1 rank",
        "MPI, 1 node, 2 ranks",
    ]
    with pytest.raises(BenchError, match="0 ranks on 1 nodes cannot be run"):
        make_shapes((1,), (0,))
    assert choose_nodes((1, 2, 3), ALLOCATION) == (1, 2)


def test_what_a_node_and_a_rank_add() -> None:
    def times(ranks: int) -> Pairs:
        return pairs(50.0 + ranks, 50.0 + ranks + 8 + 0.5 * ranks)

    found = {(Shape(1, ranks), INSIDE): times(ranks) for ranks in (1, 4, 16)}
    found[Shape(2, 2), INSIDE] = times(2)
    results = analyse_launch(Measured(found), tried(INSIDE), OPTIONS, ALLOCATION)
    assert [str(row.verdict) for row in results.rows] == [
        "slower by 17 %",
        "slower by 19 %",
        "slower by 24 %",
        "slower by 17 %",
    ]
    assert [row.comparison.added.value for row in results.rows if row.comparison] == [8.5, 10.0, 16.0, 9.0]
    # Two nodes were measured at one number of ranks only: no line goes through one point.
    assert [derived.name for derived in results.derived] == [
        "added time a node (1 node)",
        "added time a rank of a node (1 node)",
    ]
    assert [derived.estimate.value for derived in results.derived] == pytest.approx([8.0, 0.5])
    assert results.setting.nodes == ("n1", "n2")
    # One way beside bare is the container, as in every suite.
    assert {row.side for row in results.rows} == {"container"}
    assert results.commands == ()


def test_each_way_is_compared_with_bare() -> None:
    costs = {INSIDE: (8.0, 0.1), COLD: (200.0, 0.1), PEER: (9.0, 1.5)}
    found = {
        (Shape(1, ranks), way): pairs(50.0 + ranks, 50.0 + ranks + start + slope * ranks)
        for way, (start, slope) in costs.items()
        for ranks in (1, 4, 16)
    }
    results = analyse_launch(Measured(found), tried(*costs), OPTIONS, ALLOCATION)
    assert [(row.side, row.ranks) for row in results.rows] == [
        (way.name, ranks) for ranks in (1, 4, 16) for way in costs
    ]
    assert [item.side for item in results.derived] == [way.name for way in costs for _ in range(2)]
    assert [item.estimate.value for item in results.derived] == pytest.approx(
        [cost for both in costs.values() for cost in both], abs=1e-6
    )
    assert [command.side for command in results.commands] == ["bare", "bareboat a", "cold", "peer"]


def test_ways_that_ended_early() -> None:
    failure = Failure("launch, 1 node, 4 ranks, peer", "lost 9 ranks")
    found: dict[tuple[Shape, Way], Pairs] = {
        (Shape(1, 1), INSIDE): pairs(50, 60),
        (Shape(1, 4), INSIDE): pairs(50, 60),
        (Shape(1, 1), PEER): pairs(50, 60),
        (Shape(1, 4), PEER): pairs(50, 60, rounds=2),
        (Shape(1, 16), PEER): (),
    }
    measured = Measured(found, (failure,), "stopped by SIGINT")
    results = analyse_launch(measured, tried(INSIDE, PEER), OPTIONS, ALLOCATION)
    assert [(row.side, row.ranks, str(row.verdict)) for row in results.rows] == [
        ("bareboat a", 1, "slower by 20 %"),
        ("peer", 1, "slower by 20 %"),
        ("bareboat a", 4, "slower by 20 %"),
        ("peer", 4, "unresolved: needs 4 more rounds"),
    ]
    assert {item.side for item in results.derived} == {"bareboat a"}
    assert (results.failures, results.stopped) == ((failure,), "stopped by SIGINT")


def test_another_mpi_library_is_not_compared() -> None:
    options = LaunchOptions(OPTIONS.target, OPTIONS.images, bare_bin="/bin")
    title = options.programs[1].title
    found = {
        (Shape(1, ranks, title), way): pairs(200, 210, library=library)
        for ranks in (1, 4)
        for way, library in ((INSIDE, "MPICH 4"), (PEER, "MPICH 5"))
    }
    results = analyse_launch(Measured(found), tried(INSIDE, PEER, options=options), options, ALLOCATION)
    assert [(row.side, str(row.verdict)) for row in results.rows[:2]] == [
        ("bareboat a", "slower by 5.0 %"),
        ("peer", "not compared: bare used MPICH 4, peer MPICH 5"),
    ]
    assert [(item.name, item.side) for item in results.derived] == [
        ("MPI start and end: added time a node (1 node)", "bareboat a"),
        ("MPI start and end: added time a rank of a node (1 node)", "bareboat a"),
    ]
    assert [(facts.side, facts.library) for facts in results.sides] == [
        ("bare", "MPICH 4"),
        ("bareboat a", "MPICH 4"),
        ("peer", "MPICH 5"),
    ]


def test_every_rank_must_have_been_in_one_world() -> None:
    text = "".join(f"rank {rank} of 2 on n1 library MPICH 4\n" for rank in range(2))
    assert read_library(text, Shape(1, 2)) == "MPICH 4"
    with pytest.raises(BenchError, match="launch, 1 node, 4 ranks: MPI_COMM_WORLD had 2 ranks, not 4"):
        read_library(text, Shape(1, 4))


def test_images_are_named() -> None:
    assert parse_image("/images/a=b") == Image("/images/a=b")
    assert parse_image("old=/images/a=b") == Image("/images/a=b", "old")
    assert parse_image("a") == Image(str(Path.cwd() / "a"))


def test_ways(tmp_path: Path) -> None:
    directory, file = tmp_path / "root", tmp_path / "root.sqfs"
    directory.mkdir()
    file.write_text("")
    images = (Image(str(directory)), Image(str(file), "squashfs"))
    engines = (
        Installed(BY_NAME["ch-run"], "/usr/bin/ch-run", "0.31"),
        Installed(BY_NAME["podman"], "/usr/bin/podman"),
        Installed(BY_NAME["pyxis"]),
    )
    podman = f"/usr/bin/podman run --rm --network=host --rootfs {directory}:O"
    assert [way.command("true") for way in make_ways(images, engines, cold=True)] == [
        SideCommand("bare", "srun true"),
        SideCommand("bareboat directory", f"srun --container={directory} true"),
        SideCommand("bareboat directory, cold", f"BAREBOAT_REPLAN=1 srun --container={directory} true"),
        SideCommand("bareboat squashfs", f"srun --container={file} true"),
        SideCommand("bareboat squashfs, cold", f"BAREBOAT_REPLAN=1 srun --container={file} true"),
        SideCommand("ch-run directory", f"srun /usr/bin/ch-run {directory} -- true", "0.31"),
        SideCommand("ch-run squashfs", f"srun /usr/bin/ch-run {file} -- true", "0.31"),
        SideCommand("podman directory", f"srun {podman} true"),
        SideCommand("pyxis squashfs", f"srun --container-image={file} true"),
    ]
    assert len(make_ways(images, (), cold=False)) == 3
    with pytest.raises(BenchError, match="two images would be called 'file' in the table"):
        make_ways((Image(str(file)), Image(str(file))), (), cold=False)
    with pytest.raises(BenchError, match="image /no/such does not exist"):
        make_ways((Image("/no/such"),), (), cold=False)


def test_a_way_makes_steps(tmp_path: Path) -> None:
    engines = (Installed(BY_NAME["ch-run"], "/bin/ch-run"),)
    ways = make_ways((Image(str(tmp_path)),), engines, cold=True)
    steps = [way.step(1, 2, ("/bin/true",), 30.0) for way in ways]
    bare, warm, cold, peer = (srun_command(ALLOCATION, step)[7:] for step in steps)
    assert bare == ("--input=none", "/bin/true")
    assert warm == cold == ("--input=none", f"--container={tmp_path}", "/bin/true")
    assert peer == ("--input=none", "/bin/ch-run", str(tmp_path), "--", "/bin/true")
    assert [step.variables for step in steps] == [(), (), (("BAREBOAT_REPLAN", "1"),), ()]
    assert [step.title for step in steps] == ["", "", "", "/bin/true by ch-run directory"]


def test_a_rank_that_is_not_inside() -> None:
    require_apart({"0": "mnt:[1]", "1": "mnt:[1]"}, {"0": "mnt:[2]", "1": "mnt:[3]"})
    with pytest.raises(BenchError, match="ran on the bare host: rank 1 is its node's mount namespace"):
        require_apart({"0": "mnt:[1]", "1": "mnt:[2]"}, {"0": "mnt:[3]", "1": "mnt:[2]"})


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
    client = programs(tmp_path, srun="echo '      --container=PATH'")
    assert find_engines(client, None) == ()
    with pytest.raises(BenchError, match="there is no engine 'lxc' to measure") as caught:
        find_engines(client, ("lxc",))
    assert caught.value.hint == "known: ch-run, apptainer, podman, pyxis"
    with pytest.raises(BenchError, match="podman is not on this host: not in PATH"):
        find_engines(client, ("podman",))
    with pytest.raises(BenchError, match="pyxis is not on this host: srun has no --container-image"):
        find_engines(client, ("pyxis",))
