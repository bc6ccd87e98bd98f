"""What is read of a squashfs image beforehand."""

from __future__ import annotations

import pytest

from launcher.ahead import plan_ahead
from launcher.config import MpiMode
from launcher.plan import MpiDecision
from launcher.program import LIMIT, Operation, Verb, encode
from mpi_abi import Cover, Swap

LOADER, LIBC = "/lib64/ld-linux-x86-64.so.2", "/usr/lib/libc.so.6"


def ahead(*names: str, programs: tuple[str, ...], mpi: MpiDecision, search: str = "/a:b:/c:/d") -> list[str]:
    operations = plan_ahead(names, programs, search, mpi)
    assert {operation.verb for operation in operations} <= {Verb.READ_AHEAD}
    return [operation.args[0] for operation in operations]


def test_in_the_order_of_a_start() -> None:
    mpi = MpiDecision(MpiMode.AUTO, libraries=(LOADER, LIBC))
    start = [LOADER, "/etc/ld.so.cache", LIBC]
    # A relative directory of PATH is one of the step's, not of the image.
    assert ahead("app", programs=("/c/app",), mpi=mpi) == ["/a/app", "/c/app", *start]
    assert ahead("./app", programs=("/w/app",), mpi=mpi) == ["/w/app", *start]
    assert ahead("app", "b", programs=("/c/app", "/a/b"), mpi=mpi) == ["/a/app", "/c/app", "/a/b", *start]


def test_a_static_program_has_no_loader() -> None:
    assert ahead("/c/app", programs=("/c/app",), mpi=MpiDecision(MpiMode.AUTO)) == ["/c/app"]


def test_what_the_host_covers_stays_unread() -> None:
    swap = Swap((Cover("/host/libmpi.so", "/usr/lib/libmpi.so", ""),), (), "")
    libraries = (LOADER, "/usr/lib/libmpi.so", LIBC)
    found = ahead("/app", programs=("/app",), mpi=MpiDecision(MpiMode.AUTO, swap=swap, libraries=libraries))
    assert found == ["/app", LOADER, "/etc/ld.so.cache", LIBC]


def test_nothing_for_no_program() -> None:
    assert ahead(programs=(), mpi=MpiDecision(MpiMode.AUTO)) == []


@pytest.mark.parametrize("odd", ["/" + "a" * 4092, "/" + "ä" * 2047])
def test_a_path_that_is_too_long_is_left_out(odd: str) -> None:
    """It was looked at in vain, and is no reason for a launch to fail."""
    mpi = MpiDecision(MpiMode.AUTO)
    assert ahead("app", programs=("/c/app",), mpi=mpi, search=f"{odd}:/a:/c") == ["/a/app", "/c/app"]


def test_an_interpreter_that_is_no_absolute_path_is_left_out() -> None:
    mpi = MpiDecision(MpiMode.AUTO, libraries=("ld.so", LIBC))
    assert ahead("/c/app", programs=("/c/app",), mpi=mpi) == ["/c/app", "/etc/ld.so.cache", LIBC]


def test_many_programs_leave_room_for_the_rest_of_the_plan() -> None:
    names = [f"program{number}" for number in range(2000)]
    search = ":".join(f"/opt/software/package{number}/1.2.3/bin" for number in range(16))
    operations = plan_ahead(names, (), search, MpiDecision(MpiMode.AUTO))
    assert operations[0].args == ("/opt/software/package0/1.2.3/bin/program0",)
    assert len(encode((Operation(Verb.ROOT_SQUASHFS, ("/i", "")), *operations))) < LIMIT // 8
