"""What all tests share: nothing is skipped, nothing is left behind, and where images and a user come from."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from steps import QuietTestbed

from benchmarks.programs import compile_programs
from mpi_abi import choose_host, probe_host
from slurm.install import install
from slurm.testbed import Testbed, images, leftovers
from slurm.testbed.account import temporary_user

if TYPE_CHECKING:
    from running import Site

_GUARDED = ("integration", "slurm", "matrix")
"""Folders of tests that make namespaces, mounts, daemons and containers."""


def pytest_configure() -> None:
    # Before the first test: a daemon that a test leaves behind is then still known as ours.
    leftovers.adopt_orphans()
    # A shell's background jobs ignore it, and so would all that the tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as skipped, too, but it ran.
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"nothing may be skipped; mark it optin, or give it what it lacks: {reason}"


@pytest.fixture(scope="session", autouse=True)
def _clean_session(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the run where a fixture that is shared between tests has left something.

    pytest tells that as an error of the run's last test.  A run without tests that make what others see
    answers for its own processes alone, and not for what others make on this machine meanwhile.
    """
    shared = any(item.path.parent.name in _GUARDED for item in request.session.items)
    before = leftovers.take()
    yield
    _fail_for(leftovers.left_behind(before, settle=leftovers.SETTLE, shared=shared))


@pytest.fixture(autouse=True)
def _clean_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves something behind.  Fixtures of a wider scope came before."""
    if Path(request.path).parent.name not in _GUARDED:
        yield
        return
    before = leftovers.take()
    yield
    _fail_for(leftovers.left_behind(before, settle=leftovers.SETTLE))


def _fail_for(things: tuple[str, ...]) -> None:
    if things:
        pytest.fail("left behind:\n  " + "\n  ".join(things), pytrace=False)


@pytest.fixture(scope="session")
def image() -> Callable[[str], Path]:
    """Gives the directory of a test image by its name in slurm/testbed/images.toml, built if need be."""
    return images.get_image


@pytest.fixture
def plain(image: Callable[[str], Path]) -> Path:
    return image("deb13-plain")


@pytest.fixture
def mpich(image: Callable[[str], Path]) -> Path:
    return image("deb13-mpich")


@pytest.fixture(scope="session")
def user() -> Iterator[pwd.struct_passwd]:
    """An unprivileged user with a home, for this run only."""
    with temporary_user("bareboat-test") as account:
        yield account


@pytest.fixture
def group(user: pwd.struct_passwd) -> Iterator[str]:
    """One more group for the user, for one test."""
    name = f"bareboat-test-{os.getpid()}-g"
    subprocess.run(["groupadd", name], check=True)
    subprocess.run(["gpasswd", "-a", user.pw_name, name], check=True, capture_output=True)
    yield name
    subprocess.run(["groupdel", name], check=True)


@pytest.fixture(scope="session")
def attack() -> Iterator[Path]:
    """tests/data/attack.c, compiled: what an attacker types, in one static program."""
    source, headers = Path(__file__).parent / "data/attack.c", Path(__file__).parents[1] / "cffi_build/core"
    directory = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/tmp"))
    directory.chmod(0o755)
    program = directory / "attack"
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-static", f"-I{headers}", "-o", program, source],
        check=True,
    )
    yield program
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def osu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in OSU suite, compiled with each MPI of this host: a directory for each family."""
    directory = tmp_path_factory.mktemp("osu")
    for family in ("mpich", "openmpi"):
        host = choose_host(probe_host(family=family), family)
        assert host is not None
        (directory / family).mkdir()
        compile_programs(host, ("osu",), directory / family)
    return directory


@pytest.fixture(scope="session")
def prefix() -> Iterator[Path]:
    """An installed bareboat, as a site has it; its line is in no Slurm's plugstack.conf yet."""
    directory = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/lib"))
    directory.chmod(0o755)
    try:
        install(directory / "prefix", environment={}, plugstack_file=directory / "plugstack.conf")
        yield directory / "prefix"
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def bed(prefix: Path) -> Iterator[Testbed]:
    """Two nodes of a real Slurm with bareboat's plugin, for all of tests/matrix.

    A step that --kill-on-bad-exit ends keeps its slurmstepds for about half of KillWait.
    """
    with QuietTestbed(nodes=2, plugin=prefix, extra={"KillWait": "1"}) as testbed:
        yield testbed


@pytest.fixture(scope="session")
def sites() -> Iterator[dict[str, Site]]:
    """The sites of tests/matrix, by their names."""
    from sites import make_sites  # found where its tests are collected

    folder = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield make_sites(folder)
    shutil.rmtree(folder)


@pytest.fixture
def shared_path() -> Iterator[Path]:
    """An empty directory that all users and all nodes of a testbed see: a node has a /tmp of its own."""
    path = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
