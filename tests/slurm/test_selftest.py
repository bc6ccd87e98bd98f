"""``bareboat abi selftest`` on a real Slurm of two nodes, as an unprivileged user."""

from __future__ import annotations

import json
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from steps import Run

from slurm.testbed import Testbed
from slurm.testbed.wheels import get_wheel

Selftest = Callable[..., Run]


@pytest.fixture
def selftest(cluster: Testbed, prefix: Path, user: pwd.struct_passwd) -> Selftest:
    """Runs it from the installed prefix; whatever happens, no file of it and no job is left."""

    def run(*arguments: object, **variables: str) -> Run:
        argv = [f"{prefix}/bin/bareboat", "abi", "selftest", *map(str, arguments)]
        done = cluster.run(argv, user=user.pw_name, environment=variables, timeout=240)
        assert not list(Path(user.pw_dir).glob("bareboat-selftest-*"))
        assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
        return done

    return run


@pytest.mark.parametrize(
    ("name", "wire_up", "answers"),
    # Debian 13's mpi4py needs more than this host's Open MPI has, and the image as such is judged with it.
    [
        ("deb13-mpich", "pmi2", "MPICH Version: 4.0.2"),
        ("deb12-openmpi", "pmix", "Open MPI v4.1.4"),
        # The host's glibc comes along.
        ("deb11-mpich", "pmi2", "MPICH Version: 4.0.2"),
        # Its MPI has another soname than the host's, and lies where only its own programs look.
        ("wheel-mpich", "pmi2", "MPICH Version: 4.0.2"),
    ],
)
def test_all_is_well(
    selftest: Selftest, image: Callable[[str], Path], name: str, wire_up: str, answers: str
) -> None:
    done = selftest("--nodes", 2, "--json", image(name))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert (document["image"], document["mpi"]) == (str(image(name)), wire_up)
    found = {one["what"]: one for one in document["findings"]}
    assert found["library"]["text"].startswith(answers)
    assert "loaded as host:/run/bareboat/mpi/lib/" in found["library"]["text"]
    assert found["ranks"]["text"] == "MPI_COMM_WORLD has 4 ranks, the step 4, on n1, n2"
    assert found["messages inside a node"]["text"] == "by shared memory"
    assert found["messages between nodes"]["text"] == "by network interfaces (TCP)"
    # Some runs of Debian's MPICH do not return from MPI_Finalize, bare as well; that is a note.
    assert {one["outcome"] for what, one in found.items() if what != "end"} == {"ok"}


def test_for_people(selftest: Selftest, image: Callable[[str], Path]) -> None:
    done = selftest("--nodes", 1, "--ranks", 3, image("deb13-mpich"))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"image    {image('deb13-mpich')}"
    assert lines[1].startswith("host     MPICH 4.0.2 (") and lines[1].endswith("srun --mpi=pmi2")
    assert "ok       ranks: MPI_COMM_WORLD has 3 ranks, the step 3, on n1" in lines


def test_another_mpi_than_planned_fails(selftest: Selftest, image: Callable[[str], Path]) -> None:
    done = selftest("--nodes", 1, image("deb13-mpich"), BAREBOAT_MPI="image")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fails    library: MPICH Version: 4.2.1 answers" in done.stdout
    assert "and not the host's MPICH 4.0.2 alone" in done.stdout


def test_another_of_the_hosts_mpis_than_named_fails(selftest: Selftest, image: Callable[[str], Path]) -> None:
    done = selftest("--nodes", 1, "--prefix", get_wheel("mpich"), image("deb13-mpich"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fails    library: MPICH Version: 4.0.2 answers, loaded as host:" in done.stdout
    assert "; the host's MPICH 5.0.2 would say MPICH Version: 5.0.2\n" in done.stdout


_KILLED = """
import glob, os, subprocess, sys, time
argv, image, home = sys.argv[1:4], sys.argv[4], os.path.expanduser("~")
process = subprocess.Popen([*argv, "--nodes", "1", image])
asked = ["squeue", "--noheader", "--states=running", "--format=%l"]
limit = ""
while not (limit and glob.glob(home + "/bareboat-selftest-*/lock")):
    assert process.poll() is None
    time.sleep(0.02)
    limit = subprocess.check_output(asked, text=True)
process.kill()
process.wait()
print(limit.strip())
"""


def test_what_a_killed_one_leaves_ends_soon_and_the_next_one_removes_it(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, selftest: Selftest, image: Callable[[str], Path]
) -> None:
    argv = [
        "/usr/bin/python3",
        "-c",
        _KILLED,
        f"{prefix}/bin/bareboat",
        "abi",
        "selftest",
        image("deb13-mpich"),
    ]
    done = cluster.run([str(word) for word in argv], user=user.pw_name, timeout=120)
    assert (done.returncode, done.stdout) == (0, "8:00\n"), done.stderr
    assert len(list(Path(user.pw_dir).glob("bareboat-selftest-*"))) == 1
    assert cluster.run(["scancel", f"--user={user.pw_name}"]).returncode == 0
    # That nothing is left is seen by the fixture.
    assert selftest("--nodes", 1, image("deb13-mpich")).returncode == 0


def test_an_image_that_does_not_take_the_hosts_mpi(selftest: Selftest, image: Callable[[str], Path]) -> None:
    plain = image("deb13-plain")
    done = selftest(plain)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        f"bareboat: error: {plain} does not take this host's MPI: the image has no MPI library\n"
        f"bareboat: hint: bareboat abi check {plain}\n"
    )


def test_ranks_that_would_start_alone_are_told(selftest: Selftest, image: Callable[[str], Path]) -> None:
    done = selftest("--nodes", 1, "--mpi", "pmix", image("deb13-mpich"))
    assert done.returncode == 125
    assert "starts alone, as rank 0 of 1" in done.stderr


def test_a_place_that_is_not_there(selftest: Selftest, image: Callable[[str], Path]) -> None:
    done = selftest("--dir", "/nowhere", image("deb13-mpich"))
    assert done.returncode == 125
    assert done.stderr == (
        "bareboat: error: cannot make a directory for the program in /nowhere: No such file or directory\n"
        "bareboat: hint: name another one, which all nodes see, with --dir\n"
    )
