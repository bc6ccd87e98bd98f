"""The testbeds that the tests of this folder share."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from squash import Step, complete, make_null, pack
from steps import QuietTestbed, Run, Srun

from slurm.testbed import Testbed
from slurm.testbed.account import temporary_user


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Two nodes of a real Slurm, without bareboat's plugin (``set_plugin`` loads one)."""
    with QuietTestbed(nodes=2) as bed:
        yield bed


@pytest.fixture(scope="session")
def store() -> Iterator[Path]:
    """A directory of root's whose squashfs images the kernel mounts."""
    directory = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-store-", dir="/var/lib"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def packed(image: Callable[[str], Path], store: Path) -> Path:
    """The MPICH image, in the store."""
    return pack(image("deb13-mpich"), store / "mpich.sqsh", "-comp", "gzip", "-Xcompression-level", "1")


@pytest.fixture(scope="session")
def cluster(prefix: Path, store: Path) -> Iterator[Testbed]:
    """Two nodes of a real Slurm with bareboat's plugin."""
    with QuietTestbed(nodes=2, plugin=prefix, stores=[store]) as bed:
        yield bed


@pytest.fixture
def tiny(shared_path: Path) -> Path:
    """An image of one static program: no mount points, no libraries, nothing that a test could not change."""
    root = shared_path / "tiny"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "ls", "cat", "touch", "wc", "pwd", "sleep", "true"):
        (root / "bin" / name).symlink_to("busybox")
    return root


@pytest.fixture
def hostile(tiny: Path, attack: Path) -> Path:
    """The tiny image with the attacker's program, and a mark to know it by."""
    shutil.copy(attack, tiny / "bin/attack")
    (tiny / "mark").write_text("the image's\n")
    return tiny


@pytest.fixture(scope="session")
def other() -> Iterator[pwd.struct_passwd]:
    """Somebody else, with a home that is closed to the user."""
    with temporary_user("bareboat-test-other") as account:
        Path(account.pw_dir).chmod(0o700)
        Path(account.pw_dir, "file").write_text("theirs\n")
        yield account


@pytest.fixture
def nodes_stay(cluster: Testbed) -> Iterator[None]:
    """Fails a test that drains a node or takes it down."""
    yield
    states = set(cluster.run(["sinfo", "-h", "-o", "%T"]).stdout.split())
    assert states <= {"idle", "completing", "mixed", "allocated"}


@pytest.fixture
def srun(cluster: Testbed, user: pwd.struct_passwd) -> Srun:
    """Runs ``srun ARGS`` as the user, with the given variables on top of a clean environment."""

    def run(*arguments: object, input: str | None = None, cwd: str | None = None, **variables: str) -> Run:
        argv = ["srun", *map(str, arguments)]
        return cluster.run(argv, user=user.pw_name, environment=variables, input=input, cwd=cwd)

    return run


@pytest.fixture
def step(cluster: Testbed, user: pwd.struct_passwd, shared_path: Path) -> Iterator[Callable[..., Step]]:
    """Starts steps; one that a failed test leaves running is ended, or others would be blamed for it."""
    shared_path.chmod(0o777)
    begun: list[Step] = []

    def begin(*arguments: str) -> Step:
        begun.append(Step(cluster, user, shared_path, *arguments))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.end()


@pytest.fixture
def whole(hostile: Path, attack: Path, user: pwd.struct_passwd) -> Path:
    """The hostile image with all mount points, a device node, and set-uid and capable programs."""
    complete(hostile)
    (hostile / user.pw_dir.lstrip("/")).mkdir(parents=True)
    make_null(hostile / "null")
    for name in ("setuid", "capable"):
        shutil.copy(attack, hostile / name)
    (hostile / "setuid").chmod(0o4755)
    subprocess.run(["setcap", "cap_dac_override,cap_sys_admin+ep", hostile / "capable"], check=True)
    return hostile


@pytest.fixture
def place(store: Path) -> Iterator[Path]:
    """A directory of the store for one test."""
    path = store / "place"
    path.mkdir()
    yield path
    shutil.rmtree(path)
