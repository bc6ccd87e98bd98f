"""Every recorded output of OSU 7.5, read back; outputs that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.osu_output import (
    OsuGarbled,
    OsuInvalid,
    OsuOutput,
    OsuRefused,
    OsuTable,
    OsuUsage,
    parse_osu,
)

RECORDED = Path(__file__).parents[1] / "data" / "outputs" / "osu"
NO_RESULT = {
    **dict.fromkeys(("allreduce_help", "bw_help", "iallreduce_help", "latency_help"), OsuUsage),
    **dict.fromkeys(("mbw_mr_help", "put_help", "badopt"), OsuUsage),
    **dict.fromkeys(("latency_n3", "fan_in_n4"), OsuRefused),
    "latency_v": OsuGarbled,
}
"""By the part of the file's name behind option_."""
NEIGHBOURS = "ERROR: the given neighborhood radius"
HEAD = "# OSU MPI Latency Test v7.5\n# Datatype: MPI_CHAR.\n# Size       Avg Latency(us)\n"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


def read(name: str) -> OsuOutput:
    return parse_osu(recorded(name))


def names_of(*, good: bool) -> list[str]:
    found = []
    for path in sorted(RECORDED.glob("*.txt")):
        refused = path.stem.removeprefix("option_") in NO_RESULT or "--- stderr ---" in path.read_text()
        if refused != good:
            found.append(path.stem)
    return found


def figures(table: OsuTable) -> list[str]:
    """A table's lines as words, its numbers as the programs print them."""
    lines = []
    for row in table.rows:
        words = [] if row.size is None else [str(row.size)]
        words += [
            f"{value:.0f}" if name in {"Iterations", "Transmit Size"} else f"{value:.2f}"
            for name, value in row.values.items()
        ]
        lines.append(" ".join([*words, *(["Pass"] if row.passed else [])]))
    return lines


def test_the_files_are_all_there() -> None:
    assert (len(names_of(good=True)), len(names_of(good=False))) == (111, 22)


@pytest.mark.parametrize("name", [name for name in names_of(good=True) if "init" not in name])
def test_every_figure_of_a_result_and_no_other(name: str) -> None:
    text = recorded(name)
    lines = [" ".join(line.split()) for line in text.split("\n") if line and not line.startswith("#")]
    lines = [line for line in lines if not line.startswith(("Dimensions", "Time took", "This is a test"))]
    output = parse_osu(text)
    assert [line for table in output.tables for line in figures(table)] == lines
    assert output.version == "7.5"
    assert f"# OSU {output.title} Test v7.5\n" in text
    assert output.validated == ("Validation" in text)


@pytest.mark.parametrize("name", names_of(good=False))
def test_every_other_output_is_a_named_error(name: str) -> None:
    expected = NO_RESULT.get(name.removeprefix("option_"), OsuRefused)
    with pytest.raises(expected) as caught:
        read(name)
    assert str(caught.value)
    assert caught.value.hint


def test_what_usage_and_refusals_say() -> None:
    with pytest.raises(
        OsuUsage, match=r"no result: Invalid option \[-Q\] \(Usage: osu_latency \[options\]\)"
    ):
        read("option_badopt")
    with pytest.raises(OsuRefused, match="refused to run: This test requires exactly two processes"):
        parse_osu("", "This test requires exactly two processes\n")
    with pytest.raises(OsuRefused, match=f"refused to run: {NEIGHBOURS}"):
        read("osu_neighbor_allgather")
    with pytest.raises(OsuGarbled, match="the output of MPI Latency ends before its table"):
        read("option_latency_v")


def test_columns() -> None:
    table = read("osu_latency").tables[0]
    assert table.column("Avg Latency(us)")[4194304] == 764.49
    with pytest.raises(OsuGarbled, match=r"no column 'MB/s', but Avg Latency\(us\)"):
        table.column("MB/s")
    overlap = read("osu_iallreduce").tables[0]
    with pytest.raises(OsuGarbled, match=r"Overlap\(%\) of 4 bytes is 0: too small for the digits"):
        overlap.column("Overlap(%)")
    tail = read("option_bw_z").tables[0]
    assert tail.columns == ("Bandwidth (MB/s)", *(f"P{p} Tail BW(MB/s)" for p in (50, 90, 99)))
    assert tail.rows[0].values["P99 Tail BW(MB/s)"] == 4.38
    full = read("option_allreduce_f").tables[0]
    assert full.column("Iterations")[16384] == 100
    assert read("osu_barrier").tables[0].column("Avg Latency(us)") == {None: 0.71}


def test_tables_of_several_types_and_of_windows() -> None:
    types = read("option_latency_Tall").tables
    assert [table.datatype for table in types] == ["MPI_CHAR", "MPI_INT", "MPI_FLOAT"]
    bandwidth, rate = read("option_mbw_mr_V").tables
    assert (bandwidth.name, rate.name) == ("Uni-directional Bandwidth (MB/sec)", "Message Rate Profile")
    assert bandwidth.columns == rate.columns == ("1", "2", "4", "8", "16", "32", "64", "128")
    assert rate.column("128")[256] == 3633866.39


def test_facts() -> None:
    assert read("option_put_latency_fence").facts == {
        "Window creation": "MPI_Win_allocate",
        "Synchronization": "MPI_Win_fence",
    }
    assert read("option_mbw_mr_n4").facts == {"pairs": "2", "window size": "64"}
    assert read("osu_hello").facts == {"processes": "2"}
    started = read("option_init_4")
    assert started.facts == {"processes": "4"}
    assert started.tables[0].rows[0].values == {"min (ms)": 222, "max (ms)": 230, "avg (ms)": 227}


def test_lines_that_only_the_built_in_programs_print() -> None:
    text = (
        HEAD
        + "8                     0.4566\n# library: MPICH Version: 4.0.2\n"
        + "# library digest: 583b33a61f159439\n"
    )
    text += (
        "# net bytes rank 0 on n1: sent 1 received 2 loopback 3 fabric-sent 0 fabric-received 0 payload 9\n"
    )
    output = parse_osu(text + "# MPI_Finalize did not return\n")
    assert output.tables[0].column("Avg Latency(us)") == {8: 0.4566}
    assert output.facts == {"library": "MPICH Version: 4.0.2", "library digest": "583b33a61f159439"}
    started = "# OSU MPI Init Test v7.5\nnprocs: 2, min: 230.0012 ms, max: 248.0976 ms, avg: 239.0494 ms\n"
    assert parse_osu(started).tables[0].column("avg (ms)") == {None: 239.0494}
    with pytest.raises(OsuGarbled, match=r"line 2 holds '1\.2\.3' where a figure of 0 or more should be"):
        parse_osu(started.replace("230.0012", "1.2.3"))


def test_failed_validation() -> None:
    text = HEAD.rstrip("\n") + "        Validation\n1                       0.61              Fail\n"
    with pytest.raises(OsuInvalid, match=r"data that arrived was wrong: 1 +0\.61 +Fail"):
        parse_osu(text)
    said = "DATA VALIDATION ERROR: osu_latency exited with status 1 on message size 1.\n"
    with pytest.raises(OsuInvalid, match="was wrong: DATA VALIDATION ERROR: osu_latency exited"):
        parse_osu(HEAD, said)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line '# OSU ... Test v...' is in the output"),
        ("1   0.5\n", "line 1 is no row, as no heading was before it"),
        (HEAD, "the table of MPI_CHAR holds no row"),
        (HEAD + "1   0.5\nSegmentation fault\n", "line 5 begins with no message size: 'Segmentation fault'"),
        (HEAD + "1   0.5\n2\n", "line 5 holds 0 values of 1: '2'"),
        (HEAD + "1   0.5   0.6\n", "line 4 holds 2 values of 1"),
        (HEAD + "1   nan\n", "line 4 holds 'nan' where a figure of 0 or more should be"),
        (HEAD + "1   -0.5\n", "line 4 holds '-0.5' where a figure"),
        (HEAD + "1   0.5\n2   0.", "the last line has no end, and may have lost digits: '2   0.'"),
        (HEAD + "2   0.5\n1   0.6\n", "the sizes do not ascend"),
        (HEAD + "1   0.5\n" + HEAD, "line 5 begins a second run"),
        (HEAD.replace("Avg", "Odd"), r"the heading holds a column that is not known: '# Size +Odd"),
        (HEAD.rstrip() + "  Validation\n1 0.5 Maybe\n", "has no Pass or Fail, but 'Maybe'"),
        (
            "# OSU MPI Barrier Test v7.5\n# Avg Latency(us)\n 0.7\n 0.8\n",
            "without sizes has more than one row",
        ),
    ],
)
def test_damaged_output(text: str, message: str) -> None:
    with pytest.raises(OsuGarbled, match=message):
        parse_osu(text)
