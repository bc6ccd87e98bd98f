"""What NPB's programs print, read back: every recorded output, and what is no result."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.npb import NpbResult, parse_npb

RECORDED = Path(__file__).parents[1] / "data" / "outputs" / "npb"
REFUSED = {"bt.S_n2", "bt.A_n2", "sp.S_n2", "sp.A_n2"}

OURS = """

 NAS Parallel Benchmarks 3.4 -- CG Benchmark (bareboat's own implementation)

 CG Benchmark Completed.
 Class           =                        S
 Size            =                     1400
 Iterations      =                       15
 Time in seconds =                 0.034567
 Total processes =                        4
 Active processes=                        4
 Mop/s total     =                  1928.06
 Mop/s/process   =                   482.02
 Operation type  =           floating point
 Verification    =               SUCCESSFUL
 Version         =       bareboat, as 3.4.1

# library: MPICH Version:\t4.0.2
# library digest: 583b33a61f159439
"""


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.iterdir()))
def test_every_recorded_output(name: str) -> None:
    parts = re.fullmatch(r"([a-z]{2})\.([A-Z])_n(\d+)", name)
    assert parts is not None
    asked = {"kernel": parts[1], "problem_class": parts[2]}
    if name in REFUSED:
        with pytest.raises(BenchError):
            parse_npb(recorded(name), **asked, processes=int(parts[3]))
        return
    result = parse_npb(recorded(name), **asked, processes=int(parts[3]))
    assert (result.kernel, result.problem_class) == (parts[1].upper(), parts[2])
    assert result.processes == int(parts[3])
    assert result.mops > 0
    assert result.version == "3.4.1"
    assert (result.library, result.digest) == ("", "")


def test_all_fields() -> None:
    assert parse_npb(OURS) == NpbResult(
        kernel="CG",
        problem_class="S",
        size="1400",
        iterations=15,
        seconds=0.034567,
        processes=4,
        mops=1928.06,
        mops_per_process=482.02,
        operation="floating point",
        version="bareboat, as 3.4.1",
        library="MPICH Version: 4.0.2",
        digest="583b33a61f159439",
    )


def test_the_block_of_older_versions() -> None:
    older = OURS.replace(" Active processes=                        4\n", "")
    assert parse_npb(older).processes == 4


def test_a_wrong_number_of_processes() -> None:
    with pytest.raises(BenchError) as caught:
        parse_npb(recorded("bt.S_n2"))
    assert str(caught.value) == "the program does not run on 2 processes: it takes a square number, such as 1"
    assert caught.value.hint.startswith("IS, CG, MG and FT take powers of two, BT and SP squares")
    with pytest.raises(BenchError, match=r"does not run on 3 processes: it takes a power of two$"):
        parse_npb("\nERROR: Number of processes (3) is not a power of two (2?)\n")


def test_a_refusal_whose_text_was_lost() -> None:
    """The text is on standard output, which a dying rank need not flush."""
    with pytest.raises(BenchError, match="the output holds no result block of NPB") as caught:
        parse_npb(recorded("sp.S_n2"))
    assert "Abort(15) on node 1 (rank 1 in comm 0)" in caught.value.hint
    with pytest.raises(BenchError) as caught:
        parse_npb("")
    assert caught.value.hint == "it is empty"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  SUCCESSFUL",
            "UNSUCCESSFUL",
            "CG of class S computed a wrong result: its verification says UNSUCCESSFUL, so its speed is no",
        ),
        ("   SUCCESSFUL", "NOT PERFORMED", "CG of class S was not verified: it says 'NOT PERFORMED' instead"),
        ("SUCCESSFUL", "SUCCESSFU", "CG of class S was not verified: it says 'SUCCESSFU' instead"),
        (
            "processes=                        4",
            "processes=  2",
            "only 2 of 4 processes of CG of class S took",
        ),
        ("1928.06", "*******", "'Mop/s total' in NPB's result block is no decimal number: '\\*\\*\\*"),
        ("1928.06", "NaN", "'Mop/s total' in NPB's result block is no decimal number: 'NaN'"),
        ("1928.06", "0.00", "CG of class S says 0 Mop/s: only values above 0 can be measured"),
        ("1928.06", "9928.06", "CG of class S says 9928.06 Mop/s in all and 482.02 for each of 4: damaged"),
        ("0.034567", "-1.0", "'Time in seconds' in NPB's result block is no decimal number: '-1.0'"),
        (
            "=                       15",
            "= many",
            "'Iterations' in NPB's result block is no whole number: 'many'",
        ),
        (
            " Operation type  =           floating point\n",
            "",
            "NPB's result block lacks 'Operation type': cut off or damaged",
        ),
        (
            " Class           =                        S\n",
            " Class           =                        S\n" * 2,
            "NPB's result block says 'Class' twice: output of several runs, or damaged",
        ),
    ],
)
def test_no_figure_without_a_whole_verified_block(old: str, new: str, message: str) -> None:
    assert OURS.count(old) >= 1
    with pytest.raises(BenchError, match=message):
        parse_npb(OURS.replace(old, new))


def test_a_failed_verification_says_what_next() -> None:
    with pytest.raises(BenchError) as caught:
        parse_npb(OURS.replace("SUCCESSFUL", "UNSUCCESSFUL"))
    assert "the MPI library, the compiler or the machine is at fault" in caught.value.hint


def test_several_blocks() -> None:
    with pytest.raises(BenchError, match="the output holds 2 result blocks of NPB: output of several runs"):
        parse_npb(OURS * 2)
    alone = re.sub(r"(Total processes =|Active processes=) +4", r"\1 1", OURS)
    with pytest.raises(BenchError, match="3 processes did not find each other: each ran alone") as caught:
        parse_npb(alone * 3)
    assert "try pmi2 (MPICH) or pmix (Open MPI)" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kernel": "mg"}, "CG of class S on 4 processes ran, not MG of class S on 4"),
        ({"problem_class": "A"}, "CG of class S on 4 processes ran, not CG of class A on 4"),
        ({"processes": 2}, "CG of class S on 4 processes ran, not CG of class S on 2"),
    ],
)
def test_another_run_than_was_started(asked: dict[str, str | int], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        parse_npb(OURS, **asked)  # type: ignore[arg-type]
