"""What the programs print, read back; and which way the bytes went."""

from __future__ import annotations

import pytest

from benchmarks.errors import BenchError
from benchmarks.probe_output import (
    Hello,
    Traffic,
    describe_transport,
    find_traffic,
    parse_cma,
    parse_hello,
    parse_table,
)

OURS = """
# bareboat MPI Latency Test, as OSU 7.5
# Datatype: MPI_CHAR.
# library: MPICH Version:      4.0.2
# library digest: 583b33a61f159439
# Size       Avg Latency(us)
8                     0.4566
1024                  0.8976
# net bytes rank 1 on n2: sent 7 received 8 loopback 9 fabric-sent 0 fabric-received 0 payload 44
# net bytes rank 0 on n1: sent 1 received 2 loopback 3 fabric-sent 4 fabric-received 5 payload 2244
"""

OSU = """
# OSU MPI Latency Test v7.5
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)        Validation
1                       0.61              Pass
2                       0.62              Pass
"""


def traffic(host: str, rank: int = 0, **moved: int) -> Traffic:
    fields = {
        "sent": 0,
        "received": 0,
        "loopback": 0,
        "fabric_sent": 0,
        "fabric_received": 0,
        "payload": 1000,
    }
    return Traffic(rank, host, **{**fields, **moved})


def test_our_table() -> None:
    table = parse_table(OURS)
    assert table.values == ((8, 0.4566), (1024, 0.8976))
    assert table.library == "MPICH Version: 4.0.2"
    assert table.digest == "583b33a61f159439"
    assert table.finalized
    assert not parse_table(OURS + "# MPI_Finalize did not return\n").finalized
    assert table.traffic == (Traffic(0, "n1", 1, 2, 3, 4, 5, 2244), Traffic(1, "n2", 7, 8, 9, 0, 0, 44))


def test_osu_table_has_no_facts() -> None:
    table = parse_table(OSU)
    assert table.values == ((1, 0.61), (2, 0.62))
    assert (table.library, table.digest, table.traffic) == ("", "", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the output holds no row of a size and a value"),
        ("# Size   Latency\n", "the output holds no row of a size and a value"),
        ("8   0.5\nSegmentation fault\n", "not a row of a size and a value: 'Segmentation fault'"),
        ("8   zero\n", "not a number in the row of 8 bytes: 'zero'"),
        ("8   nan\n", "the row of 8 bytes says nan: only values above 0"),
        ("8   0.00\n", "the row of 8 bytes says 0.00: only values above 0"),
        ("8   1.0\n8   1.1\n", "the sizes in the output do not ascend"),
    ],
)
def test_tables_that_are_none(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        parse_table(text)


def test_a_missing_table_shows_how_the_output_ends() -> None:
    with pytest.raises(BenchError) as caught:
        parse_table("# a\n# b\n# c\n# d\n\n")
    assert caught.value.hint == "it ends with: # b | # c | # d"


def test_hello() -> None:
    text = "1: rank 1 of 2 on n2 library MPICH  Version: 4\nnoise\n"
    text += "0: rank 0 of 2 on n1 library MPICH Version: 4\n"
    assert parse_hello(text) == (
        Hello(0, 2, "n1", "MPICH Version: 4"),
        Hello(1, 2, "n2", "MPICH Version: 4"),
    )


def test_hello_of_ranks_that_did_not_find_each_other() -> None:
    line = "rank 0 of 1 on n1 library Open MPI v5\n"
    with pytest.raises(BenchError, match="2 ranks did not find each other") as caught:
        parse_hello(line * 2)
    assert "pmi2 (MPICH) or pmix (Open MPI)" in caught.value.hint
    assert len(parse_hello(line)) == 1


def test_hello_with_a_rank_missing_or_no_rank() -> None:
    with pytest.raises(
        BenchError, match="the ranks that answered are not 0 to 2 of one MPI_COMM_WORLD: 0, 2"
    ):
        parse_hello("rank 0 of 3 on a library x\nrank 2 of 3 on a library x\n")
    with pytest.raises(BenchError, match="no line 'rank R of N on HOST library"):
        parse_hello("bash: mpi_hello: not found")


def test_cma() -> None:
    assert parse_cma("rank 0 ...\ncma ok on n1: rank 0 read 1 neighbours\ncma none on n2: ...\n") == "ok"
    assert parse_cma("cma none on n1: rank 0 has no neighbour\n") == "none"
    refused = (
        "cma ok on n1: x\ncma failed errno 1 (Operation not permitted) on n2: rank 2 reading process 7\n"
    )
    assert parse_cma(refused) == "failed errno 1 (Operation not permitted) on n2: rank 2 reading process 7"
    with pytest.raises(BenchError, match="no line 'cma"):
        parse_cma("rank 0 of 1 on n1 library x")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ((), "unknown: the program prints no counters"),
        ((traffic("n1"), traffic("n1", 1)), "shared memory"),
        ((traffic("n1", loopback=1100), traffic("n1", 1, loopback=1100)), "loopback TCP"),
        (
            (traffic("n1", sent=1100, received=90), traffic("n2", 1, sent=90, received=1100)),
            "network interfaces (TCP)",
        ),
        ((traffic("n1", fabric_sent=1000), traffic("n2", 1, fabric_received=1000)), "fabric (RDMA ports)"),
        ((traffic("n1", sent=1100), traffic("n2", 1, sent=20)), "unknown: no counter moved with the bytes"),
        ((traffic("n1"), traffic("n2", 1)), "unknown: no counter moved with the bytes"),
        ((traffic("n1", payload=0), traffic("n1", 1, payload=0)), "unknown: nothing was sent"),
    ],
)
def test_transport(records: tuple[Traffic, ...], expected: str) -> None:
    assert describe_transport(records) == expected


@pytest.mark.parametrize(("nodes", "expected"), [(1, "shared memory"), (2, "network interfaces (TCP)")])
def test_who_only_receives_has_no_line(nodes: int, expected: str) -> None:
    sent = 2_000_000 if nodes == 2 else 10
    line = (
        f"# net bytes rank 0 on n1: sent {sent} received 10 loopback 0 fabric-sent 0 fabric-received 0 "
        "payload 1000000\n"
    )
    assert find_traffic(line, nodes) == expected
    assert find_traffic(line.replace(f"sent {sent}", "sent 20", 1), 2) == ""
