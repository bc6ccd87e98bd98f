"""``bareboat bench`` on a real Slurm of two nodes, with real images, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.progress import Silent
from benchmarks.report import from_json
from benchmarks.results import Results
from benchmarks.runner import Client
from benchmarks.stats import Outcome
from benchmarks.suites.common import Target
from benchmarks.suites.latency import BANDWIDTH, LATENCY, LatencyOptions, run_latency
from benchmarks.suites.launch import LaunchOptions, run_launch
from benchmarks.suites.ways import Image
from slurm.testbed import Testbed
from slurm.testbed.images import host_programs

Bench = Callable[..., subprocess.CompletedProcess[str]]
QUICK = (
    replace(LATENCY, message_bytes=(8,), iterations=100, warmup=10),
    replace(BANDWIDTH, message_bytes=(1 << 20,), iterations=2, warmup=1),
)


@pytest.fixture
def home(user: pwd.struct_passwd) -> Path:
    return Path(user.pw_dir)


@pytest.fixture
def bench(cluster: Testbed, prefix: Path, user: pwd.struct_passwd) -> Bench:
    """Runs ``bareboat bench ARGS`` as the user, from the installed prefix; all jobs are gone afterwards."""

    def run(*arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        argv = [*before, f"{prefix}/bin/bareboat", "bench", *map(str, arguments)]
        done = cluster.run(argv, user=user.pw_name, timeout=240)
        assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
        return done

    return run


def client_of(
    cluster: Testbed, user: pwd.struct_passwd, variables: Mapping[str, str] | None = None
) -> Client:
    environment = {"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment, **(variables or {})}
    return Client(environment, directory=user.pw_dir, user=user.pw_name)


def test_launch(bench: Bench, plain: Path, home: Path) -> None:
    done = bench(
        "launch",
        "--image",
        plain,
        "--rounds",
        6,
        "--warmup",
        0,
        "--ranks",
        "1,3",
        "--engines=none",
        "--json",
        home / "launch.json",
    )
    assert (done.returncode, done.stderr.splitlines()[1]) == (0, "launch: 48 runs")
    results = from_json((home / "launch.json").read_text())
    assert [row.metric for row in results.rows] == [
        "launch, 1 node, 1 rank",
        "launch, 1 node, 3 ranks",
        "launch, 2 nodes, 2 ranks",
        "launch, 2 nodes, 3 ranks",
    ]
    assert {len(samples) for row in results.rows for samples in (row.bare, row.container)} == {6}
    assert [derived.name for derived in results.derived] == [
        "added time a node (1 node)",
        "added time a rank of a node (1 node)",
        "added time a node (2 nodes)",
        "added time a rank of a node (2 nodes)",
    ]
    assert (results.failures, results.setting.nodes) == ((), ("n1", "n2"))
    for expected in ("medians of 6 rounds", "launch, 2 nodes, 3 ranks", "added time a node (1 node): "):
        assert expected in done.stdout


def test_the_present_allocation_is_used(bench: Bench, plain: Path) -> None:
    done = bench(
        "launch",
        "--image",
        plain,
        "--rounds",
        1,
        "--ranks",
        1,
        "--engines=none",
        before=("salloc", "--nodes=1"),
    )
    assert done.returncode == 0
    assert "unresolved: needs 5 more rounds" in done.stdout
    assert "2 nodes" not in done.stdout


def test_cold_launches_mpi_and_another_engine(bench: Bench, mpich: Path, home: Path) -> None:
    file = home / "ways.json"
    options = ("--cold", "--engines=ch-run", "--rounds=1", "--warmup=0", "--nodes=2", "--ranks=2")
    done = bench(
        "launch", "--image", f"mpich={mpich}", "--bare-bin", host_programs("mpich"), "--json", file, *options
    )
    assert done.returncode == 0, done.stderr + done.stdout
    results = from_json(file.read_text())
    # No note: warm launches took the plan that was kept, cold ones were planned.
    assert (results.failures, results.notes) == ((), ())
    ways = ["bareboat mpich", "bareboat mpich, cold", "ch-run mpich"]
    shapes = ["1 node, 2 ranks", "2 nodes, 2 ranks"]
    assert [(row.metric, row.side) for row in results.rows] == [
        (f"{title}, {shape}", way)
        for title in ("launch", "MPI start and end")
        for shape in shapes
        for way in ways
    ]
    assert str(results.rows[-1].verdict) == (
        "not compared: bare used MPICH Version: 4.0.2, ch-run mpich MPICH Version: 4.2.1"
    )
    assert all(row.comparison is not None for row in results.rows if row.side != "ch-run mpich")
    command = results.commands[-1]
    assert (command.side, command.version) == ("ch-run mpich", "0.31")
    assert command.command == f"srun /usr/bin/ch-run {mpich} -- /usr/bin/true"
    assert f"ch-run mpich: {command.command} (version 0.31)" in done.stdout


@pytest.fixture
def packed(plain: Path, store: Path) -> Iterator[Path]:
    """The plain image as a file of the site's store."""
    file = store / "plain.sqsh"
    subprocess.run(
        ["mksquashfs", plain, file, "-quiet", "-no-progress", "-comp", "gzip", "-Xcompression-level", "1"],
        check=True,
        capture_output=True,
    )
    file.chmod(0o644)
    yield file
    file.unlink()


def test_a_directory_a_file_of_the_store_and_another(
    bench: Bench, plain: Path, packed: Path, shared_path: Path, home: Path
) -> None:
    other = Path(shutil.copy(packed, shared_path / "plain.sqsh"))
    images = (f"--image={plain}", f"--image=kernel={packed}", f"--image=fuse={other}")
    options = ("--engines=none", "--rounds=1", "--warmup=0", "--ranks=2", f"--json={home / 'files.json'}")
    done = bench("launch", *images, *options)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "the kernel does not show this image" not in done.stderr
    results = from_json((home / "files.json").read_text())
    assert (results.failures, results.notes) == ((), ())
    shapes = ["1 node, 2 ranks", "2 nodes, 2 ranks"]
    ways = ["bareboat directory", "bareboat kernel", "bareboat fuse"]
    assert [(row.metric, row.side) for row in results.rows] == [
        (f"launch, {shape}", way) for shape in shapes for way in ways
    ]
    assert all(row.comparison is not None for row in results.rows)
    # By the path inside, as in a directory: the file was looked into, and is open no more.
    assert [command.command for command in results.commands[1:]] == [
        f"srun --container={image} /usr/bin/true" for image in (plain, packed, other)
    ]
    assert not processes_with(other)


def processes_with(file: Path) -> list[str]:
    """Who has the file open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(link.readlink()) == str(file):
                found.append(link.parts[2])
    return found


@pytest.fixture
def squashfs(tiny: Path, user: pwd.struct_passwd) -> Iterator[Path]:
    """An image file with the mount points that ch-run wants."""
    for name in ("dev", "etc", "home", "proc", "run", "sys", "tmp", "usr/bin", "var"):
        (tiny / name).mkdir(parents=True)
    for name in ("passwd", "group", "hosts", "resolv.conf"):
        (tiny / "etc" / name).touch()
    (tiny / "bin/readlink").symlink_to("busybox")
    file = tiny.with_suffix(".sqfs")
    subprocess.run(["mksquashfs", tiny, file, "-quiet", "-no-progress"], check=True)
    yield file
    # Where ch-run mounts such a file; it leaves the directory.
    shutil.rmtree(f"/var/tmp/{user.pw_name}.ch", ignore_errors=True)


def test_squashfs_by_another_engine(bench: Bench, plain: Path, squashfs: Path, home: Path) -> None:
    options = (
        "--engines=ch-run",
        "--rounds=1",
        "--warmup=0",
        "--nodes=1",
        "--ranks=1",
        "--program=/bin/true",
    )
    bench(
        "launch", f"--image={plain}", f"--image=squashfs={squashfs}", *options, f"--json={home / 'sq.json'}"
    )
    results = from_json((home / "sq.json").read_text())
    assert {"bareboat directory", "ch-run directory", "ch-run squashfs"} <= {row.side for row in results.rows}


def test_a_way_that_does_not_work_is_left_out_and_told(
    bench: Bench, plain: Path, shared_path: Path, home: Path
) -> None:
    garbage = shared_path / "garbage"
    garbage.write_text("no image")
    images = (f"--image={plain}", f"--image=garbage={garbage}")
    options = ("--rounds=1", "--warmup=0", "--nodes=1", "--ranks=1", f"--json={home / 'out.json'}")
    done = bench("launch", *images, *options)
    assert done.returncode == 125
    results = from_json((home / "out.json").read_text())
    assert {"bareboat directory", "ch-run directory"} <= {row.side for row in results.rows}
    (failure,) = results.failures
    assert failure.metric == "bareboat garbage is left out"
    assert f"readlink in {garbage} (1 rank on 1 node) failed with exit code 125" in failure.text
    # A developer's machine may have further engines.
    (note,) = (note for note in results.notes if note.startswith("ch-run"))
    assert note.startswith("ch-run garbage is left out: readlink by ch-run garbage (1 rank on 1 node) failed")
    assert "bareboat garbage is left out: " in done.stderr
    # An engine that was asked for by name has to work.
    done = bench("launch", *images, *options, "--engines=ch-run")
    results = from_json((home / "out.json").read_text())
    assert [failure.metric for failure in results.failures] == [
        "bareboat garbage is left out",
        "ch-run garbage is left out",
    ]
    assert results.notes == ()


def measure(
    cluster: Testbed, user: pwd.struct_passwd, image: Path, variables: Mapping[str, str] | None = None
) -> Results:
    target = Target(client_of(cluster, user, variables), nodes=2, rounds=1, warmup=0)
    return run_latency(LatencyOptions(target, str(image), str(host_programs("mpich")), tests=QUICK), Silent())


def test_latency_says_library_and_transport(cluster: Testbed, user: pwd.struct_passwd, mpich: Path) -> None:
    results = measure(cluster, user, mpich)
    assert [row.metric for row in results.rows] == [
        "latency inside a node, 8 B",
        "bandwidth inside a node, 1 MiB",
        "latency between nodes, 8 B",
        "bandwidth between nodes, 1 MiB",
    ]
    assert [(side.place, side.library, side.transport) for side in results.sides] == [
        ("inside a node", "MPICH Version: 4.0.2", "shared memory; cross-memory attach ok"),
        ("inside a node", "MPICH Version: 4.0.2", "shared memory; cross-memory attach ok"),
        ("between nodes", "MPICH Version: 4.0.2", "network interfaces (TCP)"),
        ("between nodes", "MPICH Version: 4.0.2", "network interfaces (TCP)"),
    ]
    assert len({side.library_digest for side in results.sides}) == 1
    assert all(row.comparison is not None for row in results.rows)


def test_the_images_own_library_is_not_compared(
    cluster: Testbed, user: pwd.struct_passwd, mpich: Path
) -> None:
    results = measure(cluster, user, mpich, {"BAREBOAT_MPI": "image"})
    assert {row.verdict.outcome for row in results.rows} == {Outcome.NOT_COMPARED}
    assert results.rows[0].verdict.reason == (
        "bare used MPICH Version: 4.0.2, the container MPICH Version: 4.2.1"
    )


def test_without_the_plugin_nothing_is_measured(
    testbed: Testbed, user: pwd.struct_passwd, plain: Path
) -> None:
    target = Target(client_of(testbed, user), nodes=2, rounds=1)
    with pytest.raises(BenchError, match="the container side ran on the bare host: rank 0") as caught:
        run_launch(LaunchOptions(target, (Image(str(plain)),)), Silent())
    assert caught.value.hint == "bareboat's plugin is not loaded there; see: bareboat slurm status --nodes"
    assert testbed.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""


def test_a_failing_program_is_told_and_the_rest_is_kept(bench: Bench, plain: Path) -> None:
    done = bench(
        "launch",
        "--image",
        plain,
        "--nodes",
        1,
        "--rounds",
        1,
        "--ranks",
        2,
        "--program",
        "/bin/false",
        "--engines=none",
    )
    assert done.returncode == 125
    assert "launch, 1 node, 2 ranks, bare" in done.stderr
    assert "failed with exit code 1" in " ".join(done.stdout.split())
    assert "Exited with exit code 1" in done.stdout


def test_a_program_that_hangs_is_ended(cluster: Testbed, user: pwd.struct_passwd, plain: Path) -> None:
    target = Target(client_of(cluster, user), nodes=1, rounds=1, warmup=0, limit=3)
    results = run_launch(
        LaunchOptions(target, (Image(str(plain)),), ranks=(1,), program="/usr/bin/yes"), Silent()
    )
    assert results.rows == ()
    assert "/usr/bin/yes" in results.failures[0].text
    assert "(1 rank on 1 node) did not end within 3 s and was stopped" in results.failures[0].text


def test_an_image_without_the_programs(bench: Bench, plain: Path) -> None:
    done = bench("latency", "--image", plain, "--bare-bin", host_programs("mpich"))
    assert done.returncode == 125
    assert f"/opt/bareboat-tests/bin/mpi_latency is not in image {plain}" in done.stderr


def test_more_nodes_than_there_are(bench: Bench, plain: Path) -> None:
    done = bench("launch", "--image", plain, "--nodes", 3, "--wait", 3)
    assert done.returncode == 125
    assert "Slurm gave no allocation of 3 nodes within 3 s" in done.stderr
    assert "--salloc-option" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_what_is_measured_and_releases_the_nodes(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, plain: Path, number: signal.Signals
) -> None:
    file = Path(user.pw_dir) / f"{number.name}.json"
    options = (
        "--rounds=500",
        "--warmup=0",
        "--ranks=1",
        "--nodes=1",
        "--engines=none",
        f"--image={plain}",
        f"--json={file}",
    )
    process = subprocess.Popen(
        [f"{prefix}/bin/bareboat", "bench", "launch", *options],
        env={"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **cluster.environment},
        cwd=user.pw_dir,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
    )
    assert process.stderr is not None
    # A line after the first ten seconds: by then some rounds are complete.
    while "run " not in process.stderr.readline():
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    results = from_json(file.read_text())
    assert results.stopped == f"stopped by {number.name}"
    assert 0 < len(results.rows[0].bare) == len(results.rows[0].container) < 500
    assert f"stopped by {number.name}: {len(results.rows[0].bare)} of 500 rounds are measured" in stdout
    assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
