"""mpi4py's own tests with the host's MPI swapped in: what fails, fails on the image's own MPI as well."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from real import OWN, Real
from running import Site
from suite import EXCLUDED, PAIRS, Rank, Unfinished, modules, parse, run_suite

from slurm.testbed import Testbed
from slurm.testbed.wheels import get_wheel

VERSION = "4.1.2"
Result = tuple[Rank, Rank]
Suite = Callable[[str, str, bool], Result]


@pytest.fixture(scope="session")
def tests() -> Path:
    return get_wheel("mpi4py-tests")


@pytest.fixture(scope="session")
def known() -> dict[tuple[str, str, bool], Result]:
    """What was run already: one run on an image's own MPI serves all hosts."""
    return {}


@pytest.fixture
def real(bed: Testbed, user: pwd.struct_passwd, sites: dict[str, Site], shared_path: Path) -> Real:
    return Real(bed, user, sites, shared_path)


@pytest.fixture
def suite(
    image: Callable[[str], Path], real: Real, tests: Path, known: dict[tuple[str, str, bool], Result]
) -> Suite:
    """Runs the suite, or a third of it, in an image on a host's MPI (or the image's own)."""

    def run(name: str, host: str, whole: bool) -> Result:
        if (name, host, whole) not in known:
            chosen = modules(tests) if whole else third(modules(tests))
            python = f"/opt/{name.removeprefix('wheel-')}/bin/python3"
            known[name, host, whole] = run_suite(
                real, image(name), python, host, chosen, tests=tests, like=name
            )
        return known[name, host, whole]

    return run


def third(names: tuple[str, ...]) -> tuple[str, ...]:
    """What CI runs: every third module, by the alphabet."""
    return names[1::3]


@pytest.mark.parametrize(
    ("name", "host", "whole"),
    [
        *(pytest.param(*pair, False, id=f"{'-on-'.join(pair)}-third") for pair in PAIRS),
        *(pytest.param(*pair, True, id="-on-".join(pair), marks=pytest.mark.optin) for pair in PAIRS),
    ],
)
@pytest.mark.timeout(500)
def test_what_fails_on_the_hosts_mpi_fails_on_the_images(
    name: str, host: str, whole: bool, suite: Suite, sites: dict[str, Site]
) -> None:
    own, swapped = suite(name, OWN, whole), suite(name, host, whole)
    for before, after in zip(own, swapped, strict=True):
        assert before.mpi4py == after.mpi4py == VERSION
        assert sites[host].version in after.library
        assert sites[name].version in before.library
        assert before.ran == after.ran > (1500 if whole else 400)
        assert after.failures <= before.failures


def test_the_third_is_a_third_of_what_runs(tests: Path) -> None:
    names = modules(tests)
    assert not EXCLUDED.keys() & set(names)
    assert all((tests / f"{name}.py").is_file() for name in (*names, *EXCLUDED))
    assert {"test_comm", "test_win"} <= set(names)
    assert len(names) // 3 <= len(third(names)) <= len(names) // 3 + 1


BANNER = "[0@n1] MPI 4.0 (MPICH 4.0.2)\n[0@n1] mpi4py 4.1.2 (/opt)\ntestA (test_a.TestA.testA) ... ok\n"
FAILED = f"{'=' * 70}\nFAIL: testA (test_a.TestA.testA) (typename='complex4')\n{'-' * 70}\nTraceback\n"


def test_the_output_is_read() -> None:
    rank = parse(f"{BANNER}\n{FAILED}Ran 3 tests in 0.1s\n\nFAILED (failures=1, skipped=2)\n")
    failure = "FAIL: testA (test_a.TestA.testA) (typename='complex4')"
    assert rank == Rank("4.1.2", "MPICH 4.0.2", 3, 2, frozenset({failure}))
    assert parse(f"{BANNER}Ran 1 test in 0.1s\n\nOK\n").failures == frozenset()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no end after no test"),
        (BANNER, "no end after testA (test_a.TestA.testA)"),
        (
            f"{BANNER}Ran 1 test in 0.1s\n\nFAILED (errors=1)\n",
            "0 failures are shown, but it says FAILED (errors=1)",
        ),
        (f"{BANNER}{FAILED}Ran 1 test in 0.1s\n\nOK\n", "1 failures are shown, but it says OK (None)"),
    ],
)
def test_output_without_its_end_is_no_result(text: str, problem: str) -> None:
    with pytest.raises(Unfinished) as caught:
        parse(text)
    assert str(caught.value) == problem
