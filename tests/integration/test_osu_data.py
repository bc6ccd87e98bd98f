"""The OSU suite compares the data that arrives (-c): right data passes, wrong data ends the run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from osu_running import run_osu

from benchmarks.osu_output import OsuInvalid, parse_osu
from benchmarks.suites.osu_programs import BY_NAME, PROGRAMS

DATA = Path(__file__).parents[1] / "data"
SHORT = ("-c", "-i", "1", "-x", "1", "-u", "1", "-m", "16")
MOVING = [
    program.name.removeprefix("osu_")
    for program in PROGRAMS
    if program.family == "collective" and "barrier" not in program.name
]
SYNCS = ("flush", "flush_local", "lock", "lock_all", "fence", "pscw")
ONE_SIDED = (
    *(("mpich", "put_latency", sync, "allocate") for sync in SYNCS),
    *(("openmpi", "put_latency", sync, "dynamic") for sync in ("flush", "pscw")),
    ("mpich", "get_latency", "flush", "create"),
    ("openmpi", "get_latency", "fence", "allocate"),
    ("mpich", "acc_latency", "flush", "dynamic"),
    ("openmpi", "acc_latency", "pscw", "create"),
    ("mpich", "get_acc_latency", "fence", "allocate"),
    ("openmpi", "get_acc_latency", "lock", "create"),
    ("mpich", "fop_latency", "lock", "allocate"),
    ("mpich", "cas_latency", "fence", "create"),
    ("mpich", "put_bw", "lock", "allocate"),
    ("openmpi", "get_bw", "flush", "create"),
    ("mpich", "put_bibw", "pscw", "allocate"),
    ("openmpi", "put_bibw", "fence", "allocate"),
)


@pytest.mark.parametrize("name", MOVING)
def test_collectives_bring_the_right_data(osu: Path, name: str) -> None:
    """Three ranks: vectors do not divide evenly, and two are not root."""
    family = "openmpi" if name.startswith("i") else "mpich"
    done = run_osu(osu, family, 3, f"osu_{name}", *SHORT, "-T", "all")
    assert (done.returncode, done.stderr) == (0, "")
    output = parse_osu(done.stdout)
    assert output.validated
    assert [len(table.rows) for table in output.tables] == [5, 3, 3]


@pytest.mark.parametrize("name", ["latency", "multi_lat", "bw", "bibw", "mbw_mr"])
def test_pairs_bring_the_right_data(osu: Path, name: str) -> None:
    """Of five ranks, where the program takes so many, one is idle."""
    ranks = BY_NAME[f"osu_{name}"].ranks or 5
    done = run_osu(osu, "mpich", ranks, f"osu_{name}", *SHORT, "-T", "all", "-z")
    assert (done.returncode, done.stderr) == (0, "")
    output = parse_osu(done.stdout)
    assert output.validated
    assert [table.datatype for table in output.tables] == ["MPI_CHAR", "MPI_INT", "MPI_FLOAT"]


@pytest.mark.parametrize(("family", "name", "sync", "memory"), ONE_SIDED)
def test_one_sided_calls_bring_the_right_data(
    osu: Path, family: str, name: str, sync: str, memory: str
) -> None:
    """Also in windows that are smaller than what MPICH 4.0.2 gets right."""
    one_element = name in {"cas_latency", "fop_latency"}
    sizes = () if one_element else ("-m", "16")
    done = run_osu(osu, family, 2, f"osu_{name}", *SHORT[:-2], *sizes, "-s", sync, "-w", memory)
    assert (done.returncode, done.stderr) == (0, "")
    output = parse_osu(done.stdout)
    assert output.validated
    assert len(output.tables[0].rows) == (1 if one_element else 5)
    assert memory in output.facts["Window creation"]
    assert sync.split("_", maxsplit=1)[0].replace("pscw", "post") in output.facts["Synchronization"]


@pytest.fixture(scope="module")
def disturb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("disturb")
    for family in ("mpich", "openmpi"):
        library = directory / f"{family}.so"
        command = [f"mpicc.{family}", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([*command, "-o", library, DATA / "disturb.c"], check=True)
    return directory


@pytest.mark.parametrize(
    ("family", "name", "function"),
    [
        ("mpich", "latency", "MPI_Send"),
        ("openmpi", "latency", "MPI_Send"),
        ("mpich", "bibw", "MPI_Isend"),
        ("mpich", "allreduce", "MPI_Allreduce"),
        ("openmpi", "iallreduce", "MPI_Iallreduce"),
        ("mpich", "scatter", "MPI_Scatter"),
        ("mpich", "put_latency", "MPI_Put"),
        ("mpich", "get_latency", "MPI_Get"),
        ("mpich", "acc_latency", "MPI_Accumulate"),
        ("mpich", "cas_latency", "MPI_Compare_and_swap"),
    ],
)
def test_wrong_data_fails(osu: Path, disturb: Path, family: str, name: str, function: str) -> None:
    sizes = () if name == "cas_latency" else ("-m", "4:16")
    variables = {"LD_PRELOAD": str(disturb / f"{family}.so"), "DISTURB": function}
    done = run_osu(osu, family, 2, f"osu_{name}", *SHORT[:-2], *sizes, **variables)
    assert done.returncode == 1
    least = 1 if name == "cas_latency" else 4
    wrong = f"DATA VALIDATION ERROR: osu_{name} exited with status 1 on message size {least}.\n"
    assert wrong in done.stderr
    rows = [line for line in done.stdout.splitlines() if line[:1].isdecimal()]
    assert [row.split()[-1] for row in rows] == ["Fail"]
    with pytest.raises(OsuInvalid, match=f"^the data that arrived was wrong: {least} .* Fail$"):
        parse_osu(done.stdout, done.stderr)


def test_the_preload_alone_does_no_harm(osu: Path, disturb: Path) -> None:
    done = run_osu(osu, "mpich", 2, "osu_latency", *SHORT, LD_PRELOAD=str(disturb / "mpich.so"))
    assert done.returncode == 0
    assert parse_osu(done.stdout).validated
