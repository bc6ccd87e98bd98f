"""The OSU suite's options and refusals: what OSU 7.5 printed for them, and what is ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from osu_running import RECORDED, run_osu, widths

from benchmarks.osu_output import OsuGarbled, OsuRefused, OsuUsage, parse_osu
from benchmarks.probe_output import find_traffic
from benchmarks.suites.osu_programs import OWN_ARGUMENTS

SHORT = ("-i", "2", "-x", "1")
RECORDINGS = {
    "latency_z": ("osu_latency", "-m", "1:16", "-z"),
    "latency_Tall": ("osu_latency", "-m", "1:16", "-T", "all"),
    "bw_z": ("osu_bw", "-m", "1:16", "-z50,90,99"),
    "bw_c": ("osu_bw", "-m", "1:64", "-c", "-u", "1"),
    "mbw_mr_R0": ("osu_mbw_mr", "-m", "1:16", "-R", "0"),
    "mbw_mr_V": ("osu_mbw_mr", "-m", "1:256", "-V"),
    "allreduce_Tall": ("osu_allreduce", "-m", "1:16", "-T", "all"),
    "allreduce_f": ("osu_allreduce", "-m", "1:16", "-f"),
    "allreduce_fc": ("osu_allreduce", "-m", "4:16", "-f", "-c", "-u", "1"),
    "allreduce_fz": ("osu_allreduce", "-m", "4:16", "-f", "-z"),
    "barrier_f": ("osu_barrier", "-f"),
    "iallreduce_f": ("osu_iallreduce", "-m", "4:16", "-f"),
    "iallreduce_t": ("osu_iallreduce", "-m", "4:16", "-f", "-t", "100"),
    "ibarrier_f": ("osu_ibarrier", "-f"),
    "fop_Tall": ("osu_fop_latency", "-T", "mpi_int"),
    "get_acc_fence": ("osu_get_acc_latency", "-m", "1:16", "-s", "fence", "-w", "allocate"),
    "put_bibw_fence": ("osu_put_bibw", "-m", "1:16", "-s", "fence"),
    "put_latency_lock_all": ("osu_put_latency", "-m", "1:16", "-s", "lock_all"),
}
"""By the recording's name, behind option_: the same call, with fewer sizes and iterations."""


def lines(text: str, *, sizes: int) -> list[str]:
    """Lines as they are, of those with figures where these end; of a table only so many."""
    found: list[str] = []
    rows = 0
    for line in text.splitlines():
        rows = 0 if line.startswith("#") else rows + 1
        if rows <= sizes:
            size = "" if line.startswith(" ") else line.split(" ", 1)[0]
            found.append(line if line.startswith("#") else f"{size} {widths(line)}")
    return found


@pytest.mark.parametrize("name", RECORDINGS)
def test_as_osu_prints_it(osu: Path, name: str) -> None:
    program, *arguments = RECORDINGS[name]
    recorded = (RECORDED / f"option_{name}.txt").read_text()
    done = run_osu(osu, "mpich", 2, program, *SHORT, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(done.stdout, sizes=3) == lines(recorded, sizes=3)


def test_pairs_of_four_ranks(osu: Path) -> None:
    recorded = (RECORDED / "option_mbw_mr_n4.txt").read_text()
    done = run_osu(osu, "mpich", 4, "osu_mbw_mr", "-m", "4", "-i", "1", "-x", "0", "-W", "64")
    assert lines(done.stdout, sizes=3) == lines(recorded, sizes=3)
    done = run_osu(osu, "mpich", 1, "osu_init")
    assert re.fullmatch(
        r"# OSU MPI Init Test v7\.5\nnprocs: 1, min: (\d+) ms, max: \1 ms, avg: \1 ms\n", done.stdout
    )


def test_sizes_iterations_and_digits(osu: Path) -> None:
    """A count that is given holds for large messages too; the method's own changes behind 8192 bytes."""
    done = run_osu(osu, "mpich", 2, "osu_allreduce", "-m", "8192:16384", "-f", "-x", "0")
    assert parse_osu(done.stdout).tables[0].column("Iterations") == {8192: 1000, 16384: 100}
    done = run_osu(osu, "mpich", 2, "osu_allreduce", "-m", "8192:16384", "-f", *SHORT, "--digits", "4")
    table = parse_osu(done.stdout).tables[0]
    assert table.column("Iterations") == {8192: 2, 16384: 2}
    rows = [line for line in done.stdout.splitlines() if line[:1].isdecimal()]
    assert all(re.fullmatch(r"\d+\.\d{4}", row.split()[1]) for row in rows)
    assert [widths(row)[0] for row in rows] == [28, 28]


@pytest.mark.parametrize("family", ["mpich", "openmpi"])
def test_library_and_traffic(osu: Path, family: str) -> None:
    """What is ours: --facts; the digest is that of mpi_latency, for one library."""
    titles = {"mpich": "MPICH Version:", "openmpi": "Open MPI v4."}
    done = run_osu(osu, family, 2, "osu_latency", "-m", "4096:8192", "-i", "100", *OWN_ARGUMENTS)
    facts = parse_osu(done.stdout).facts
    assert facts["library"].startswith(titles[family])
    assert re.fullmatch("[0-9a-f]{16}", facts["library digest"])
    assert "net bytes" not in " ".join(facts)
    traffic = [line for line in done.stdout.splitlines() if line.startswith("# net bytes")]
    assert [line.rpartition(" ")[2] for line in traffic] == [str((4096 + 8192) * 200)] * 2
    assert find_traffic(done.stdout, 1) == "shared memory"
    done = run_osu(osu, family, 2, "osu_init", *OWN_ARGUMENTS)
    output = parse_osu(done.stdout)
    assert output.facts["library digest"] == facts["library digest"]
    assert re.search(r"avg: \d+\.\d{4} ms$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("ranks", "program", "message"),
    [
        (3, "osu_latency", "This test requires exactly two processes"),
        (1, "osu_put_bw", "This test requires exactly two processes"),
        (1, "osu_mbw_mr", "This test requires at least two processes"),
        (1, "osu_ibcast", "This test requires at least two processes"),
    ],
)
def test_wrong_numbers_of_ranks(osu: Path, ranks: int, program: str, message: str) -> None:
    done = run_osu(osu, "mpich", ranks, program)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()
    with pytest.raises(OsuRefused, match=message):
        parse_osu(done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("program", "arguments", "wrong"),
    [
        ("osu_latency", ("-Q",), "[-Q]"),
        ("osu_latency", ("-W", "4"), "[-W]"),
        ("osu_latency", ("-f",), "[-f]"),
        ("osu_latency", ("-m", "8:4"), "[-m]"),
        ("osu_latency", ("-m", "1k"), "[1k]"),
        ("osu_latency", ("-i", "0"), "[0]"),
        ("osu_latency", ("-i",), "[-i]"),
        ("osu_latency", ("--no-such",), "[--no-such]"),
        ("osu_latency", ("-z1,2,3,4,5,6",), "[1,2,3,4,5,6]"),
        ("osu_latency", ("extra",), "[extra]"),
        ("osu_put_latency", ("-s", "sometimes"), "[sometimes]"),
        ("osu_put_bibw", ("-s", "flush"), "[-s]: osu_put_bibw takes pscw and fence"),
        ("osu_cas_latency", ("-T", "mpi_float"), "[-T]: MPI_Compare_and_swap takes integers"),
    ],
)
def test_wrong_options(osu: Path, program: str, arguments: tuple[str, ...], wrong: str) -> None:
    ranks = 2 if "]:" in wrong else 1
    done = run_osu(osu, "mpich", ranks, program, *arguments)
    assert done.returncode == 1
    assert f"Invalid option {wrong}" in done.stderr.splitlines()
    if ranks == 1:
        with pytest.raises(OsuUsage, match=rf"Invalid option {re.escape(wrong)} \(Usage: {program} \[opt"):
            parse_osu(done.stdout, done.stderr)


def test_help_and_version(osu: Path) -> None:
    done = run_osu(osu, "mpich", 1, "osu_latency", "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: osu_latency [options]\nOptions:\n  -h, --help ")
    assert "--window-size" not in done.stdout
    done = run_osu(osu, "mpich", 1, "osu_latency", "-v")
    assert (done.returncode, done.stderr) == (0, "")
    title, whose = done.stdout.splitlines()
    assert title == (RECORDED / "option_latency_v.txt").read_text().strip()
    assert (
        whose == "# bareboat's own implementation of the method and the format of OSU 7.5; no code of OSU's"
    )
    with pytest.raises(OsuGarbled, match="ends before its table"):
        parse_osu(done.stdout)


def test_one_program_of_many_names(osu: Path) -> None:
    done = run_osu(osu, "mpich", 2, "osu", "osu_hello")
    assert done.stdout == (RECORDED / "osu_hello.txt").read_text()
    done = run_osu(osu, "mpich", 1, "osu", "osu_unheard_of")
    assert done.returncode == 1
    assert done.stderr.startswith("osu: name a test: osu_latency osu_multi_lat osu_bw ")
