"""What ``abi selftest`` makes of the lines that its steps print."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.probe_output import Hello, Table, Traffic
from launcher.selffindings import Evidence, Finding, Outcome, find

UNCOUNTED = "unknown: no counter moved with the bytes"
LIBRARY = "MPICH Version: 4.0.2"
CHECKED = {"mpi": "host:/run/bareboat/mpi/lib/libmpich.so.12", "cma": "works", "shm": "host,writable"}


def table(*hosts: str, wire: int = 0, loopback: int = 0, finalized: bool = True) -> Table:
    traffic = tuple(Traffic(rank, host, wire, wire, loopback, 0, 0, 1000) for rank, host in enumerate(hosts))
    return Table(((65536, 1.0),), traffic=traffic, finalized=finalized)


GOOD = Evidence(
    ranks=4,
    nodes=2,
    hello=tuple(Hello(rank, 4, f"n{rank // 2 + 1}", LIBRARY) for rank in range(4)),
    checked=dict.fromkeys(range(4), CHECKED),
    warnings=(),
    inside=table("n1", "n1"),
    between=table("n1", "n2", wire=1100),
)


def found(evidence: Evidence, what: str) -> Finding:
    (one,) = (one for one in find(evidence, host="MPICH 4.0.2") if one.what.startswith(what))
    return one


def test_all_is_as_it_should_be() -> None:
    findings = find(GOOD, host="MPICH 4.0.2")
    assert {one.outcome for one in findings} == {Outcome.OK}
    assert [one.text for one in findings] == [
        f"{LIBRARY} answers, loaded as host:/run/bareboat/mpi/lib/libmpich.so.12",
        "MPI_COMM_WORLD has 4 ranks, the step 4, on n1, n2",
        "by shared memory",
        "by network interfaces (TCP)",
        "can be read",
        "is the host's, and can be written to",
    ]


def test_one_node_sends_nothing_between_nodes() -> None:
    alone = replace(GOOD, between=None)
    assert not any(one.what == "messages between nodes" for one in find(alone, host=""))


def test_the_images_library_fails() -> None:
    image = {**CHECKED, "mpi": "image:/usr/lib/libmpich.so.12"}
    one = found(replace(GOOD, checked={**GOOD.checked, 3: image}), "library")
    assert one.outcome is Outcome.FAILS
    assert one.text.endswith("image:/usr/lib/libmpich.so.12, and not the host's MPICH 4.0.2 alone")
    assert one.hint.endswith("bareboat plan IMG")


def test_two_libraries_fail() -> None:
    other = (*GOOD.hello[:3], replace(GOOD.hello[3], library="MPICH Version: 4.2.1"))
    one = found(replace(GOOD, hello=other), "library")
    assert one.outcome is Outcome.FAILS
    assert one.text.startswith("MPICH Version: 4.0.2 and MPICH Version: 4.2.1 answers")


def test_another_of_the_hosts_libraries_than_asked_for_fails() -> None:
    assert found(replace(GOOD, answer=LIBRARY), "library").outcome is Outcome.OK
    one = found(replace(GOOD, answer="MPICH Version: 5.0.2"), "library")
    assert one.outcome is Outcome.FAILS
    assert one.text.endswith("; the host's MPICH 4.0.2 would say MPICH Version: 5.0.2")
    assert "mpi.prefixes" in one.hint


def test_a_world_that_is_not_the_step_fails() -> None:
    one = found(replace(GOOD, ranks=8), "ranks")
    assert (one.outcome, one.text) == (
        Outcome.FAILS,
        "MPI_COMM_WORLD has 4 ranks, the step 8, on n1, n2 of 2 nodes",
    )
    assert "srun's --mpi" in one.hint


@pytest.mark.parametrize(
    ("what", "change", "outcome", "text"),
    [
        (
            "messages inside",
            {"inside": table("n1", "n1", loopback=1100)},
            Outcome.FAILS,
            "by loopback TCP, not by fabric (RDMA ports) or shared memory",
        ),
        (
            "messages between",
            {"between": table("n1", "n2")},
            Outcome.NOTE,
            f"by {UNCOUNTED}, not by fabric (RDMA ports) or network interfaces (TCP)",
        ),
        (
            "end",
            {"between": table("n1", "n2", wire=1100, finalized=False)},
            Outcome.NOTE,
            "MPI_Finalize did not return after the messages between nodes",
        ),
        (
            "memory",
            {"checked": {0: CHECKED, 1: {**CHECKED, "cma": "EPERM,yama=2"}}},
            Outcome.FAILS,
            "cannot be read: EPERM,yama=2 and works",
        ),
        (
            "memory",
            {"checked": {0: {**CHECKED, "cma": "alone"}}},
            Outcome.NOTE,
            "not tried by all: no two ranks shared a node",
        ),
        (
            "memory",
            {"checked": {}},
            Outcome.NOTE,
            "not tried by all: the ranks ended before they could be looked at",
        ),
        (
            "/dev/shm",
            {"checked": {0: {**CHECKED, "shm": "missing"}}},
            Outcome.FAILS,
            "is missing, not host,writable",
        ),
        ("/dev/shm", {"checked": {}}, Outcome.NOTE, "the ranks ended before they could be looked at"),
        ("warning", {"warnings": ("bareboat: n1: warning: x",)}, Outcome.NOTE, "bareboat: n1: warning: x"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(
    what: str, change: dict[str, object], outcome: Outcome, text: str
) -> None:
    one = found(replace(GOOD, **change), what)  # type: ignore[arg-type]
    assert (one.outcome, one.text) == (outcome, text)
