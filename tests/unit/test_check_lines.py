"""The lines of BAREBOAT_CHECK=1: written, read back, compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.checklines import (
    KEYS,
    Report,
    Told,
    compare,
    left_out_line,
    rank_line,
    read_line,
    unseen_line,
    warnings_of,
)
from launcher.compare import Lines

FINE = Report(
    root="container",
    userns="shared",
    netns="job",
    shm="host,writable",
    cma="works",
    mpi="host:/lib/libmpi.so.40",
    program="/opt/app:1a2b",
    plan="3c4d",
)
LINE = (
    "bareboat: n1: check: rank 3: tasks=8 root=container userns=shared netns=job shm=host,writable cma=works "
    "mpi=host:/lib/libmpi.so.40 program=/opt/app:1a2b plan=3c4d\n"
)


def told(node: str, rank: int, program: str = "/opt/app:1a2b", plan: str = "3c4d", tasks: int = 2) -> Told:
    return Told(node, rank, tasks, program, plan)


def test_a_line_has_a_fixed_form() -> None:
    assert rank_line("n1", 3, 8, FINE) == LINE
    assert read_line(LINE[:-1]) == Told("n1", 3, 8, "/opt/app:1a2b", "3c4d")
    assert read_line("  3: " + LINE[:-1]) == Told("n1", 3, 8, "/opt/app:1a2b", "3c4d")


def test_other_lines_are_not_ours() -> None:
    for text in ("", "hello", "said " + LINE[:-1], "bareboat: n1: check: rank x: tasks=1", LINE[:-1] + " "):
        assert read_line(text) is None
    assert read_line("bareboat: n1: check: rank 1: program=/a:b") is None
    assert read_line(left_out_line("n1", 44)[:-1]) is None
    assert left_out_line("n1", 44) == "bareboat: n1: check: 44 more ranks of this node were not looked at\n"


def test_a_rank_that_was_not_seen() -> None:
    line = unseen_line("n1", 0, 2, "ended")
    assert line == (
        "bareboat: n1: check: rank 0: tasks=2 unseen=ended it ended before it could be looked at\n"
    )
    assert read_line(line[:-1]) == Told("n1", 0, 2, "", "")
    assert "unseen=denied its program does not let itself be looked at" in unseen_line("n1", 0, 2, "denied")


@given(st.text(min_size=1), st.integers(0, 10**9))
def test_any_path_survives(path: str, rank: int) -> None:
    text = path.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    line = rank_line("n1", rank, 1, Report(program=f"{text}:1a2b"))
    assert line.count("\n") == 1
    found = read_line(line[:-1])
    assert found is not None
    assert found.program.encode("utf-8", "replace") == f"{text}:1a2b".encode("utf-8", "replace")


@given(st.text())
def test_any_line_can_be_read(text: str) -> None:
    read_line(text)
    read_line("bareboat: n1: check: rank 0: " + text)


@given(st.binary(), st.integers(1, 9))
def test_a_stream_is_read_however_it_comes(noise: bytes, step: int) -> None:
    data = noise.replace(b"bareboat", b"") + b"\n" + LINE.encode() + noise.replace(b"bareboat", b"")
    lines = Lines()
    for at in range(0, len(data), step):
        lines.take(data[at : at + step])
    assert lines.told == [Told("n1", 3, 8, "/opt/app:1a2b", "3c4d")]


def test_a_line_without_end_is_not_kept() -> None:
    lines = Lines()
    for _ in range(40):
        lines.take(b"x" * 4096)
    lines.take(LINE.encode())
    lines.take(LINE.encode())
    assert len(lines.told) == 1


SAME = "same program and same plan on all nodes"


def test_nodes_that_are_the_same() -> None:
    text = compare([told("n1", 0), told("n2", 1)], several=False)
    assert text == f"bareboat: check: 2 ranks on 2 nodes: {SAME}\n"
    text = compare([told("n1", 0, tasks=1)], several=False)
    assert text == f"bareboat: check: 1 rank on 1 node: {SAME}\n"


def test_ranks_that_are_missing_are_counted() -> None:
    assert compare([told("n1", 0, tasks=4), told("n1", 1, "", "", tasks=4)], several=False) == (
        f"bareboat: check: 1 of 4 ranks on 1 node: {SAME}\n"
    )
    assert compare([told("n1", 0, "", "")], several=False) == (
        "bareboat: check: none of 2 ranks could be looked at, so nothing was compared\n"
    )
    assert "no rank's line came here, so nothing was compared" in compare([], several=False)


def test_programs_and_plans_that_differ() -> None:
    many = [told(f"n{number}", number, tasks=6) for number in range(5)]
    text = compare([*many, told("m1", 5, "/opt/app:ffff", "eeee", tasks=6)], several=False)
    assert text == (
        "bareboat: warning: check: 6 ranks on 6 nodes: the program differs between nodes: "
        "/opt/app:ffff on m1, /opt/app:1a2b on n0,n1,n2 and 2 more; results may be wrong or ranks may hang; "
        "put the same image on "
        "every node; the plan differs between nodes: eeee on m1, 3c4d on n0,n1,n2 and 2 more; their images, "
        "host libraries or configurations differ; compare what `bareboat plan IMG -- app` prints on them\n"
    )


def test_ranks_of_a_node_may_differ_if_all_nodes_do() -> None:
    ranks = [told("n1", 0), told("n1", 1, "/bin/sh:9"), told("n2", 2), told("n2", 3, "/bin/sh:9")]
    assert SAME in compare(ranks, several=False)
    assert "the program differs between nodes" in compare(ranks[:3], several=False)


def test_several_programs_are_compared_by_path() -> None:
    ranks = [told("n1", 0, "/a:1", "p"), told("n2", 1, "/b:2", "q")]
    assert compare(ranks, several=True) == (
        "bareboat: check: 2 ranks on 2 nodes: each program is the same file on all nodes\n"
    )
    ranks = [told("n1", 0, "/a:1"), told("n2", 1, "/a:2")]
    assert "the program differs between nodes: /a:1 on n1, /a:2 on n2" in compare(ranks, several=True)


def test_what_is_fine_gives_no_warning() -> None:
    assert warnings_of(0, FINE, planned=True, cma_outside=True) == ()
    assert warnings_of(0, Report(), planned=True, cma_outside=True) == ()
    image = Report(mpi="image:/lib/libmpi.so")
    assert warnings_of(0, image, planned=False, cma_outside=True) == ()
    # What does not work outside either is nothing that the container costs.
    assert warnings_of(0, Report(cma="EPERM,yama=2"), planned=False, cma_outside=False) == ()


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (Report(root="other"), "its root is not the container's"),
        (Report(userns="own", cma="EPERM"), "it has a user namespace of its own"),
        (Report(cma="EPERM"), "it cannot read another rank's memory (EPERM), which works outside"),
        (Report(shm="missing"), "its /dev/shm is missing"),
        (Report(shm="other,writable"), "its /dev/shm is not the host's"),
        (Report(shm="host,ENOSPC"), "it cannot write to /dev/shm (ENOSPC)"),
        (Report(netns="other"), "its network namespace is not the job's"),
        (Report(mpi="image:/x/libmpi.so"), "it runs with the MPI /x/libmpi.so, and not with the host's"),
    ],
)
def test_what_is_lost_is_named_with_what_to_do(report: Report, text: str) -> None:
    (found,) = warnings_of(7, report, planned=True, cma_outside=True)
    assert found.startswith(f"check: rank 7: {text}")
    assert ": " in found
    assert "; " in found


def test_the_users_page_shows_the_form_that_there_is() -> None:
    page = (Path(__file__).parents[2] / "docs/user.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r"bareboat: n\d+: check: ", line)]
    assert lines
    for line in lines:
        assert read_line(line) is not None
        assert tuple(pair.partition("=")[0] for pair in line.split(": ")[4].split(" ")) == KEYS
    assert compare(filter(None, map(read_line, lines)), several=False)[:-1] in page.splitlines()
    rows = page.partition("| key | values |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)) == KEYS
