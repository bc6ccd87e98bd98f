"""What the suites make of measured values: rows, derived figures, and rows that must not be compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.osu import Table, Traffic
from benchmarks.results import SideFacts
from benchmarks.rounds import Measured
from benchmarks.runner import Allocation, Client
from benchmarks.schedule import Side
from benchmarks.stats import Outcome
from benchmarks.suites.common import Target, find_in_image, find_on_host, open_image
from benchmarks.suites.latency import (
    BANDWIDTH,
    LATENCY,
    LatencyOptions,
    Pair,
    analyse_latency,
    arguments_of,
    find_difference,
    read_table,
)
from benchmarks.suites.ways import paths_in
from mpi_abi.rootfs import RootView, open_directory

CLIENT = Client(environment={"PATH": "/usr/bin:/bin"})
TARGET = Target(client=CLIENT)
ALLOCATION = Allocation("7", ("n1", "n2"), 4, ours=True)
CMA = {Side.BARE: "ok", Side.CONTAINER: "ok"}


def image_with(directory: Path, *programs: str) -> str:
    for program in programs:
        path = directory / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return str(directory)


def table(
    value: float, *, library: str = "MPICH 4", digest: str = "ab", sent: int = 1000, hosts: str = "n1 n2"
) -> Table:
    traffic = tuple(
        Traffic(rank, host, sent, sent, 0, 0, 0, payload=900) for rank, host in enumerate(hosts.split())
    )
    sizes = {*LATENCY.message_bytes, *BANDWIDTH.message_bytes}
    return Table(tuple((size, value) for size in sorted(sizes)), library, digest, traffic)


def options() -> LatencyOptions:
    return LatencyOptions(TARGET, "/images/a", "/bin")


def test_latency_of_sides_alike() -> None:
    pairs = {
        (Pair(2, BANDWIDTH), Side.CONTAINER): ((table(1000.0), table(800.0)),) * 6,
        (Pair(2, LATENCY), Side.CONTAINER): ((table(10.0), table(10.05)),) * 6,
        (Pair(1, LATENCY), Side.CONTAINER): (
            (table(1.0, sent=0, hosts="n1 n1"), table(1.2, sent=0, hosts="n1 n1")),
        )
        * 6,
    }
    results = analyse_latency(Measured(pairs), CMA, options(), ALLOCATION)
    assert [(row.metric, str(row.verdict)) for row in results.rows] == [
        ("latency inside a node, 8 B", "slower by 20 %"),
        ("latency inside a node, 1 KiB", "slower by 20 %"),
        ("latency inside a node, 64 KiB", "slower by 20 %"),
        ("latency between nodes, 8 B", "same"),
        ("latency between nodes, 1 KiB", "same"),
        ("latency between nodes, 64 KiB", "same"),
        ("bandwidth between nodes, 64 KiB", "slower by 20 %"),
        ("bandwidth between nodes, 1 MiB", "slower by 20 %"),
    ]
    assert results.sides == (
        SideFacts(Side.BARE, "inside a node", "MPICH 4", "ab", "shared memory; cross-memory attach ok"),
        SideFacts(Side.CONTAINER, "inside a node", "MPICH 4", "ab", "shared memory; cross-memory attach ok"),
        SideFacts(Side.BARE, "between nodes", "MPICH 4", "ab", "network interfaces (TCP)"),
        SideFacts(Side.CONTAINER, "between nodes", "MPICH 4", "ab", "network interfaces (TCP)"),
    )


def test_sides_with_different_libraries_get_no_ratio() -> None:
    pairs = {(Pair(2, LATENCY), Side.CONTAINER): ((table(10.0), table(12.0, library="MPICH 5")),) * 6}
    row = analyse_latency(Measured(pairs), CMA, options(), ALLOCATION).rows[0]
    assert row.comparison is None
    assert row.verdict.outcome is Outcome.NOT_COMPARED
    assert str(row.verdict) == "not compared: bare used MPICH 4, the container MPICH 5"


def test_one_odd_run_is_seen() -> None:
    odd = (table(10.0), table(10.0, sent=0))
    pairs = {(Pair(2, LATENCY), Side.CONTAINER): (*((table(10.0), table(10.0)),) * 6, odd)}
    row = analyse_latency(Measured(pairs), CMA, options(), ALLOCATION).rows[0]
    assert str(row.verdict) == (
        "not compared: bare went by network interfaces (TCP), the container by "
        "varies: network interfaces (TCP) | unknown: no counter moved with the bytes"
    )


def test_refused_attach_is_another_transport() -> None:
    inside = table(1.0, sent=0, hosts="n1 n1")
    refused = {Side.BARE: "ok", Side.CONTAINER: "failed errno 1 (Operation not permitted)"}
    pairs = {(Pair(1, LATENCY), Side.CONTAINER): ((inside, inside),) * 6}
    row = analyse_latency(Measured(pairs), refused, options(), ALLOCATION).rows[0]
    assert str(row.verdict) == (
        "not compared: bare went by shared memory; cross-memory attach ok, the container by "
        "shared memory; cross-memory attach failed errno 1 (Operation not permitted)"
    )


def test_runs_that_did_not_end_are_told() -> None:
    stuck = replace(table(10.0), finalized=False)
    pairs = {(Pair(2, LATENCY), Side.CONTAINER): (*((table(10.0), table(10.0)),) * 5, (table(10.0), stuck))}
    results = analyse_latency(Measured(pairs), CMA, options(), ALLOCATION)
    assert results.notes == (
        "MPI_Finalize did not return in 0 of 6 bare and 1 of 6 container runs, after all was measured",
    )
    assert str(results.rows[0].verdict) == "same"


def test_two_builds_of_one_version() -> None:
    facts = SideFacts(Side.BARE, "between nodes", "MPICH 4", "ab", "x")
    assert find_difference(facts, replace(facts, side=Side.CONTAINER)) == ""
    assert find_difference(facts, replace(facts, library_digest="cd")) == "two builds of MPICH 4"


def test_arguments_and_what_must_come_back() -> None:
    assert arguments_of(LATENCY) == ("latency", "-m", "8:65536", "-i", "1000", "-x", "100", "-p", "4")
    rows = "".join(f"{8 << n} 1.5\n" for n in range(14))
    net = (
        "# net bytes rank {} on {}: sent 0 received 0 loopback 0 fabric-sent 0 fabric-received 0 payload 1\n"
    )
    inside = rows + net.format(0, "n1") + net.format(1, "n1")
    assert read_table(inside, Pair(1, LATENCY)).values[0] == (8, 1.5)
    with pytest.raises(
        BenchError, match=r"latency between nodes: the two ranks were on n1, not on 2 node\(s\)"
    ):
        read_table(inside, Pair(2, LATENCY))
    with pytest.raises(BenchError, match="latency inside a node: the output has no row of 1024 bytes"):
        read_table("8 1.5\n", Pair(1, LATENCY))


def test_images(tmp_path: Path) -> None:
    image = image_with(tmp_path, "usr/bin/true", "etc/motd")
    (tmp_path / "bin").symlink_to("usr/bin")
    with open_image(open_directory, image) as view:
        assert find_in_image(view, image, "true") == "/usr/bin/true"
        assert find_in_image(view, image, "/bin/true") == "/bin/true"
        with pytest.raises(BenchError, match=f"readlink is not in image {image}"):
            find_in_image(view, image, "readlink")
    with (
        pytest.raises(BenchError, match="image /no/such does not exist"),
        open_image(open_directory, "/no/such"),
    ):
        pass
    motd = open_image(open_directory, f"{image}/etc/motd")
    with pytest.raises(BenchError, match="motd is not a directory") as caught, motd:
        pass
    assert caught.value.hint == (
        "give the directory of an unpacked image; only `bareboat` opens squashfs files, too"
    )


def test_programs_of_a_file_are_called_by_name_where_it_cannot_be_opened(tmp_path: Path) -> None:
    image = image_with(tmp_path, "usr/bin/true", "etc/motd")
    assert paths_in(open_directory, image, ("true",)) == ("/usr/bin/true",)
    assert paths_in(open_directory, f"{image}/etc/motd", ("true", "/bin/x")) == ("true", "/bin/x")
    with pytest.raises(BenchError, match="image /no/such does not exist"):
        paths_in(open_directory, "/no/such", ("true",))
    with pytest.raises(BenchError, match=f"readlink is not in image {image}"):
        paths_in(open_directory, image, ("true", "readlink"))


def test_an_image_is_open_only_while_it_is_looked_at(tmp_path: Path) -> None:
    image = image_with(tmp_path, "usr/bin/true")
    seen: list[str] = []

    @contextmanager
    def opener(name: str) -> Iterator[RootView]:
        seen.append("opened")
        yield RootView(name)
        seen.append("closed")

    assert paths_in(opener, image, ("true", "/usr/bin/true")) == ("/usr/bin/true",) * 2
    assert seen == ["opened", "closed"]


def test_programs_of_the_host() -> None:
    assert find_on_host(CLIENT, "true") == "/usr/bin/true"
    with pytest.raises(BenchError, match="/no/such is not on this host, or not executable"):
        find_on_host(CLIENT, "/no/such")
