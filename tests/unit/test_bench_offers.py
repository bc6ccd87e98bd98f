"""What suites offer for a ground, what is asked of nodes, and how ranks are started without Slurm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench_cases import SETTING, bench_case, bench_kept, bench_record
from click.testing import CliRunner

from benchmarks.analysis import analyse
from benchmarks.cases import BARE, CONTAINER, Asked, Command, Ground, Language, Level
from benchmarks.cli import bench
from benchmarks.engine import Pace, make_turns
from benchmarks.errors import BenchError
from benchmarks.probes import is_crowded, read_nodes
from benchmarks.programs import source_of
from benchmarks.progress import format_left
from benchmarks.results import NodeFacts
from benchmarks.runner import Allocation, Client, Output, Step, local_command
from benchmarks.suites import SUITES, get_suite
from benchmarks.table import shown_rows
from benchmarks.ways import make_ways


def ground_of(asked: Asked, *suites: str) -> Ground:
    """Two nodes of two processors, with all programs that the suites want."""
    programs: dict[tuple[str, str], str] = {}
    for suite in suites:
        for name in get_suite(suite).wanted(asked):
            for link in (name, *source_of(name).names):
                programs |= {(side, link): f"/made/{side}/{link}" for side in (BARE, CONTAINER)}
    ways = make_ways("/images/app", asked, ())
    return Ground(asked, "/images/app", (1, 2), 2, programs, ("--mpi=pmi2",), "/results", ways)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("suite", ["launch", "osu", "npb"])
def test_cases_are_told_apart_and_have_both_sides(suite: str, level: Level) -> None:
    cases = get_suite(suite).offer(ground_of(Asked(level), suite)).cases
    assert {case.suite for case in cases} == {suite}
    assert len({case.key for case in cases}) == len(cases) > 0
    for case in cases:
        assert case.nodes <= case.ranks
        assert case.commands[BARE].image is None
        assert case.commands[CONTAINER].image == "/images/app"
        if case.mpi:
            assert case.commands[BARE].options == case.commands[CONTAINER].options


def test_more_is_measured_at_each_level() -> None:
    for suite in ("osu", "npb"):
        quick, normal, full = (
            {case.title for case in get_suite(suite).offer(ground_of(Asked(level), suite)).cases}
            for level in Level
        )
        assert quick < full
        assert normal < full


def test_ranks_that_are_asked_for_are_those_of_programs_that_take_any() -> None:
    cases = get_suite("osu").offer(ground_of(Asked(Level.QUICK, ranks=(4, 8)), "osu")).cases
    ranks = {(case.title, case.nodes): [] for case in cases}  # type: dict[tuple[str, int], list[int]]
    for case in cases:
        ranks[case.title, case.nodes].append(case.ranks)
    assert ranks["osu_allreduce", 2] == [4, 8]
    assert ranks["osu_latency", 2] == [2]


def test_launches_are_warm_and_cold_and_of_other_forms() -> None:
    ground = ground_of(Asked(Level.QUICK, forms=(("squashfs", "/images/app.sqfs"),)), "launch")
    case = next(case for case in get_suite("launch").offer(ground).cases if case.title == "true")
    assert list(case.commands) == [BARE, CONTAINER, "squashfs", "container, cold", "squashfs, cold"]
    assert case.commands["squashfs"].image == "/images/app.sqfs"
    assert case.commands["container, cold"].variables == (("BAREBOAT_REPLAN", "1"),)


def test_the_images_label_names_its_side_of_mpi_too() -> None:
    ground = ground_of(Asked(label="tree", ranks=(2,)), "launch")
    sides = [tuple(case.commands) for case in get_suite("launch").offer(ground).cases if case.nodes == 1]
    assert sides == [(BARE, "tree", "tree, cold"), (BARE, "tree")]


def test_one_sided_programs_have_each_synchronisation_in_a_full_measurement() -> None:
    found: dict[Level, dict[str, Command]] = {
        level: {
            case.title: case.commands[CONTAINER]
            for case in get_suite("osu").offer(ground_of(Asked(level), "osu")).cases
        }
        for level in Level
    }
    assert not [title for level in (Level.QUICK, Level.NORMAL) for title in found[level] if " -s " in title]
    for program, syncs in (
        ("osu_put_latency", ["lock", "fence", "pscw"]),
        ("osu_get_acc_latency", ["flush", "fence", "pscw"]),
        ("osu_put_bibw", ["fence"]),
        ("osu_latency", []),
    ):
        titles = [title for title in found[Level.FULL] if title.partition(" ")[0] == program]
        assert titles == [program, *(f"{program} -s {sync}" for sync in syncs)]
    command = found[Level.FULL]["osu_put_bw -s fence"]
    assert command.argv == ("/made/container/osu_put_bw", "-s", "fence", "--digits", "4", "--facts")


def test_what_starts_mpi_is_compiled_where_it_is_measured() -> None:
    launch = get_suite("launch")
    assert launch.wanted(Asked(only=("true", "osu_latency"))) == ()
    assert launch.wanted(Asked()) == launch.wanted(Asked(only=("MPI start and end",))) == ("mpi_hello",)


def test_pairs_of_ranks_are_measured_between_two_of_many_nodes() -> None:
    ground = replace(ground_of(Asked(Level.QUICK), "osu"), nodes=(1, 4))
    shapes = {(case.title, case.nodes) for case in get_suite("osu").offer(ground).cases}
    assert {("osu_latency", 1), ("osu_latency", 2), ("osu_allreduce", 4)} <= shapes
    assert ("osu_allreduce", 2) not in shapes


def test_python_runs_the_programs_that_there_are_in_python() -> None:
    asked = Asked(Level.QUICK, Language.PYTHON)
    assert get_suite("osu").wanted(asked) == ()
    cases = get_suite("osu").offer(ground_of(asked, "osu")).cases
    assert {case.title for case in cases} == {"osu_latency", "osu_bw", "osu_allreduce"}
    words = cases[0].commands[CONTAINER].argv
    assert words[:3] == ("python3", "/results/programs/src/python/osu.py", "osu_latency")


def test_a_site_has_its_own_programs_in_the_image_or_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "osu_latency").write_text("")
    (tmp_path / "osu_latency").chmod(0o755)
    for inside, there in (("", f"{tmp_path}/osu_latency"), ("/opt/osu/", "/opt/osu/osu_latency")):
        offer = get_suite("osu").offer(ground_of(Asked(Level.QUICK, osu=(str(tmp_path), inside)), "osu"))
        (case,) = (case for case in offer.cases if case.nodes == 1)
        assert case.commands[CONTAINER].argv[0] == there
        assert offer.notes[0].startswith(f"{tmp_path} does not hold osu_bw, ")


def test_mpi_hello_must_have_found_all_of_its_ranks() -> None:
    ground = ground_of(Asked(Level.QUICK, ranks=(2,)), "launch")
    case = next(case for case in get_suite("launch").offer(ground).cases if case.title != "true")
    line = "rank {} of {} on n1 library MPICH 4\n"
    read = case.parse(Output(line.format(0, 2) + line.format(1, 2), "", 0.25))
    assert (read.figures[0].value, read.facts.library) == (250.0, "MPICH 4")
    with pytest.raises(BenchError, match="MPI_COMM_WORLD had 1 ranks, not 2"):
        case.parse(Output(line.format(0, 1), "", 0.25))


def test_no_such_suite() -> None:
    with pytest.raises(BenchError, match="there is no suite 'stream'") as error:
        get_suite("stream")
    assert error.value.hint == f"known: {', '.join(SUITES)}"


def test_what_nodes_say_of_themselves() -> None:
    said = (
        "1: /proc/sys/kernel/hostname:n2.site\n0: /proc/sys/kernel/hostname:n1\n"
        "0: /proc/loadavg:0.50 0.20 0.10 1/99 7\nsrun: noise\n"
        "1: /proc/self/status:Cpus_allowed_list:\t0-3,8\n"
    )
    assert read_nodes(said) == {
        "n2": {"host": "n2.site", "binding": "Cpus_allowed_list:\t0-3,8"},
        "n1": {"host": "n1", "load": "0.50 0.20 0.10 1/99 7"},
    }


def test_ranks_that_share_processors() -> None:
    """Two nodes that are one machine of four processors."""
    machine = [NodeFacts(host, processors=2, binding=((BARE, "0-3"),)) for host in ("n1", "n2")]
    assert [is_crowded(machine, 1, ranks) for ranks in (4, 5)] == [False, True]
    assert [is_crowded(machine, 2, ranks) for ranks in (4, 5)] == [False, True]
    assert not is_crowded([NodeFacts("n1")], 1, 99)


def test_the_command_of_a_step_without_slurm() -> None:
    client = Client({}, bareboat="/opt/bareboat")
    step = Step(1, 2, None, ("/bin/app", "-x"), 1.0)
    launched = Allocation("none", ("here",), 2, ours=False, launcher=("mpiexec",))
    assert local_command(client, launched, step) == ("mpiexec", "-n", "2", "/bin/app", "-x")
    inside = replace(step, image="/images/app")
    assert local_command(client, launched, inside) == (
        *("mpiexec", "-n", "2", "/opt/bareboat", "run", "/images/app", "--", "/bin/app", "-x"),
    )
    alone = replace(launched, launcher=())
    assert local_command(client, alone, replace(step, ranks=1)) == ("/bin/app", "-x")


def test_the_table_shows_usual_sizes_of_curves() -> None:
    case = bench_case("a")

    def rows(*sizes: int) -> list[int | None]:
        records = [
            replace(record, figures=tuple(replace(record.figures[0], message_bytes=size) for size in sizes))
            for number in range(2)
            for record in (bench_record(number, BARE, 1.0), bench_record(number, CONTAINER, 1.0))
        ]
        return [row.message_bytes for row in shown_rows(analyse(bench_kept(case), records).rows)]

    assert rows(1, 8, 16, 1024, 2048) == [8, 1024]
    assert rows(2, 4, 16) == [2, 16]


def test_the_order_is_the_same_again() -> None:
    cases = {("osu", case.key): case for case in (bench_case("a"), bench_case("b", "cold"))}
    pace = Pace(9, 1, SETTING.seed)
    assert make_turns(cases, pace) == make_turns(cases, pace)
    assert make_turns(cases, pace) != make_turns(cases, replace(pace, seed=1))


@pytest.mark.parametrize(
    ("seconds", "done", "said"),
    [(10.0, 0, ""), (10.0, 5, ", about 10 s left"), (600.0, 5, ", about 10 min left")],
)
def test_the_time_that_is_left(seconds: float, done: int, said: str) -> None:
    assert format_left(seconds, done, 10) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--image'."),
        (("--image=/", "--ranks=two"), "'two' is not a list of numbers above 0, like 2,16"),
        (("--image=/", "--osu=/nowhere"), "/nowhere is no directory"),
        (("--image=/", "--form=/tmp"), "'/tmp' is not LABEL=PATH, like squashfs=/images/a.sqfs"),
        (("--image=/", "--form=a=/nowhere"), "the image /nowhere does not exist"),
        (("--image=/", "--form=bare=/tmp"), "the label 'bare' is taken: give each form one of its own"),
        (("--image=/", "--form=a=/", "--form=a=/tmp"), "the label 'a' is taken"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(bench, ["run", *arguments])
    assert done.exit_code == 2
    assert said in done.output
