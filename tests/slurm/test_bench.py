"""``bareboat bench launch`` and ``latency`` on a real Slurm of two nodes, with real images, as a user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.cases import Asked
from benchmarks.errors import BenchError
from benchmarks.folder import Folder
from benchmarks.progress import Silent
from benchmarks.report import from_json
from benchmarks.results import Results
from benchmarks.runner import Client
from benchmarks.running import RunOptions, run_bench
from benchmarks.stats import Outcome
from benchmarks.suites.common import Target
from slurm.testbed import Testbed

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(user: pwd.struct_passwd) -> Iterator[Path]:
    """The user's home; what a test leaves in it is taken away."""
    path = Path(user.pw_dir)
    before = set(path.iterdir())
    yield path
    for new in set(path.iterdir()) - before:
        shutil.rmtree(new, ignore_errors=True)


@pytest.fixture
def bench(cluster: Testbed, prefix: Path, user: pwd.struct_passwd, home: Path) -> Bench:
    """Runs ``bareboat bench ARGS`` as the user, from the installed prefix; all jobs are gone afterwards."""

    def run(*arguments: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        argv = [*before, f"{prefix}/bin/bareboat", "bench", *map(str, arguments)]
        done = cluster.run(argv, user=user.pw_name, cwd=str(home), timeout=240)
        assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
        return done

    return run


def results_of(out: Path) -> Results:
    return from_json((out / "results.json").read_text())


def test_launch(bench: Bench, plain: Path, home: Path) -> None:
    out = home / "launch"
    done = bench(
        *("launch", "--image", plain, "--rounds=6", "--warmup=0", "--ranks=1,3", "--engines=none"),
        *("--out", out),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("MPI is not measured: the image", "measuring: 48 runs"):
        assert said in done.stderr
    results = results_of(out)
    shapes = ["1 node, 1 rank", "1 node, 3 ranks", "2 nodes, 2 ranks", "2 nodes, 3 ranks"]
    assert [row.metric for row in results.rows] == [f"true, {shape}" for shape in shapes]
    assert {len(samples) for row in results.rows for samples in (row.bare, row.container)} == {6}
    assert [derived.name for derived in results.derived] == [
        f"true: added time a {what} ({nodes})"
        for nodes in ("1 node", "2 nodes")
        for what in ("node", "rank of a node")
    ]
    assert (results.failures, results.setting.nodes) == ((), ("n1", "n2"))
    assert results.setting.command[:3] == ("bareboat", "bench", "launch")
    assert [(one.side, one.command) for one in results.commands] == [
        ("bare", "srun true"),
        ("container", f"srun --container={plain} true"),
    ]
    shown = " ".join(done.stdout.split())
    for expected in ("medians of 6 rounds", "true, 2 nodes, 3 ranks", "\u2503 added \u2503", " ms \u2502"):
        assert expected in shown
    assert f"results: {out}" in done.stdout


def test_the_present_allocation_is_used(bench: Bench, plain: Path) -> None:
    options = ("--rounds=1", "--ranks=1", "--engines=none")
    done = bench("launch", "--image", plain, *options, before=("salloc", "--nodes=1"))
    assert done.returncode == 0
    assert "unresolved: needs 5 more rounds" in done.stdout
    assert "2 nodes" not in done.stdout


def test_cold_launches_mpi_and_another_engine(bench: Bench, mpich: Path, home: Path) -> None:
    out = home / "ways"
    options = ("--cold", "--engines=ch-run", "--rounds=1", "--warmup=0", "--nodes=2", "--ranks=2")
    done = bench("launch", "--image", f"mpich={mpich}", "--out", out, *options)
    assert done.returncode == 0, done.stderr + done.stdout
    results = results_of(out)
    # Warm launches took the plan that was kept, cold ones were planned.
    assert not [note for note in results.notes if "third start" in note or "left out" in note]
    assert results.failures == ()
    ways = ["mpich", "mpich, cold", "ch-run mpich"]
    shapes = ["1 node, 2 ranks", "2 nodes, 2 ranks"]
    assert [(row.metric, row.side) for row in results.rows] == [
        row
        for shape in shapes
        for row in (
            *((f"true, {shape}", way) for way in ways),
            (f"MPI start and end, {shape}", "mpich"),
        )
    ]
    assert all(row.comparison is not None for row in results.rows)
    command = results.commands[-1]
    assert (command.side, command.version) == ("ch-run mpich", "0.31")
    assert command.command == f"srun /usr/bin/ch-run {mpich} -- true"
    assert f"ch-run mpich: {command.command} (version 0.31)" in done.stdout
    # The sides are those that it was begun with.
    done = bench("run", "--resume", out, "--rounds=2")
    assert done.returncode == 0, done.stderr + done.stdout
    assert {(row.side, len(row.bare)) for row in results_of(out).rows} == {(side, 2) for side in ways}
    done = bench("run", "--resume", out, "--engines=none")
    assert done.returncode == 125
    assert f"{out} was measured with another --engines: ['ch-run'], not ()" in done.stderr


def test_launches_need_no_compiler(bench: Bench, mpich: Path, home: Path) -> None:
    options = ("--engines=none", "--rounds=1", "--warmup=0", "--nodes=1", "--ranks=1")
    broken = ("env", "MPICH_CC=/bin/false")
    done = bench("launch", "--image", mpich, *options, f"--out={home / 'launch'}", before=broken)
    assert done.returncode == 0, done.stderr + done.stdout
    results = results_of(home / "launch")
    assert [row.metric for row in results.rows] == ["true, 1 node, 1 rank"]
    assert [note for note in results.notes if note.startswith("MPI is not measured: ")]
    done = bench("latency", "--image", mpich, f"--out={home / 'latency'}", before=broken)
    assert done.returncode == 125
    assert not (home / "latency").exists()


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
    options = ("--engines=none", "--rounds=1", "--warmup=0", "--ranks=2", f"--out={home / 'files'}")
    done = bench("launch", *images, *options)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "the kernel does not show this image" not in done.stderr
    results = results_of(home / "files")
    assert results.failures == ()
    assert not [note for note in results.notes if "third start" in note]
    assert [(row.metric, row.side) for row in results.rows] == [
        (f"true, {shape}", way)
        for shape in ("1 node, 2 ranks", "2 nodes, 2 ranks")
        for way in ("container", "kernel", "fuse")
    ]
    assert all(row.comparison is not None for row in results.rows)
    assert [command.command for command in results.commands[1:]] == [
        f"srun --container={image} true" for image in (plain, packed, other)
    ]
    # The file was looked into, and is open no more.
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
    images = (f"--image={plain}", f"--image=squashfs={squashfs}")
    options = ("--engines=ch-run", "--rounds=1", "--warmup=0", "--nodes=1", "--ranks=1")
    bench("launch", *images, *options, f"--out={home / 'sq'}")
    assert [row.side for row in results_of(home / "sq").rows] == [
        *("container", "squashfs", "ch-run", "ch-run squashfs")
    ]


def test_a_way_that_does_not_work_is_left_out_and_told(
    bench: Bench, plain: Path, shared_path: Path, home: Path
) -> None:
    garbage = shared_path / "garbage"
    garbage.write_text("no image")
    images = (f"--image={plain}", f"--image=garbage={garbage}")
    options = ("--rounds=1", "--warmup=0", "--nodes=1", "--ranks=1")
    done = bench("launch", *images, *options, f"--out={home / 'auto'}")
    assert done.returncode == 125
    results = results_of(home / "auto")
    assert {"container", "ch-run"} <= {row.side for row in results.rows}
    (failure,) = results.failures
    assert failure.metric == "launch: true, 1 node, 1 rank, garbage"
    assert failure.text == f"{garbage} is not an image: it is a file of no known image format"
    # A developer's machine may have further engines.
    (note,) = (note for note in results.notes if note.startswith("ch-run"))
    assert note.startswith("ch-run garbage is left out: readlink by ch-run garbage (1 rank on 1 node) failed")
    assert "garbage does not work: " in done.stderr
    # An engine that was asked for by name has to work.
    bench("launch", *images, *options, "--engines=ch-run", f"--out={home / 'named'}")
    results = results_of(home / "named")
    assert [failure.metric for failure in results.failures] == [
        "ch-run garbage is left out",
        "launch: true, 1 node, 1 rank, garbage",
    ]
    assert not [note for note in results.notes if "left out" in note]


def test_latency_says_library_and_transport(bench: Bench, mpich: Path, home: Path) -> None:
    out = home / "latency"
    done = bench("latency", "--image", mpich, "--rounds=1", "--warmup=0", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    results = results_of(out)
    assert {(row.case, row.nodes, row.ranks) for row in results.rows} == {
        (case, nodes, 2) for case in ("osu_latency", "osu_bw") for nodes in (1, 2)
    }
    facts = {(side.place, side.side): (side.library, side.transport) for side in results.sides}
    assert facts == {
        (place, side): ("MPICH Version: 4.0.2", transport)
        for place, transport in (
            ("inside a node", "shared memory; cross-memory attach ok"),
            ("between nodes", "network interfaces (TCP)"),
        )
        for side in ("bare", "container")
    }
    assert len({side.library_digest for side in results.sides}) == 1
    assert all(row.comparison is not None for row in results.rows)


def test_the_images_own_library_is_not_compared(bench: Bench, mpich: Path, home: Path) -> None:
    options = ("--rounds=1", "--warmup=0", "--nodes=1", f"--out={home / 'own'}")
    bench("latency", "--image", mpich, *options, before=("env", "BAREBOAT_MPI=image"))
    rows = results_of(home / "own").rows
    assert {row.verdict.outcome for row in rows} == {Outcome.NOT_COMPARED}
    assert rows[0].verdict.reason == "bare used MPICH Version: 4.0.2, the container MPICH Version: 4.2.1"


def test_without_the_plugin_nothing_is_measured(
    testbed: Testbed, user: pwd.struct_passwd, plain: Path, shared_path: Path
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": user.pw_dir, **testbed.environment}
    target = Target(Client(environment, user=user.pw_name), nodes=2, rounds=1)
    folder = Folder.make(shared_path / "none")
    with pytest.raises(BenchError, match="the container side ran on the bare host: rank 0") as caught:
        run_bench(RunOptions(target, str(plain), ("launch",), Asked()), folder, Silent())
    assert caught.value.hint == "bareboat's plugin is not loaded there; see: bareboat slurm status --nodes"
    assert testbed.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""


def test_an_image_without_mpi_has_no_latency(bench: Bench, plain: Path) -> None:
    done = bench("latency", "--image", plain)
    assert done.returncode == 125
    assert f"the image {plain} has no MPI library" in done.stderr


def test_more_nodes_than_there_are(bench: Bench, plain: Path) -> None:
    done = bench("launch", "--image", plain, "--nodes", 3, "--wait", 3)
    assert done.returncode == 125
    assert "Slurm gave no allocation of 3 nodes within 3 s" in done.stderr
    assert "--salloc-option" in done.stderr


def test_a_measurement_of_one_node_goes_on_with_one(
    cluster: Testbed, bench: Bench, plain: Path, home: Path
) -> None:
    """The other one was away when it began, and is back when it goes on."""
    out = home / "one"
    options = ("--ranks=1", "--rounds=1", "--warmup=0", "--engines=none", "--only=true")
    node = ("scontrol", "update", "nodename=n2")
    cluster.run([*node, "state=drain", "reason=test"])
    try:
        done = bench("launch", "--image", plain, "--out", out, *options)
    finally:
        cluster.run([*node, "state=resume"])
    assert done.returncode == 0, done.stdout + done.stderr
    note = "Slurm gave one node, so nothing was measured between nodes: --nodes 2 waits until there are two"
    assert note in results_of(out).notes
    done = bench("run", "--resume", out, "--rounds=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(row.nodes, len(row.bare)) for row in results_of(out).rows} == {(1, 2)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_what_is_measured_and_releases_the_nodes(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, plain: Path, number: signal.Signals
) -> None:
    out = Path(user.pw_dir) / number.name
    options = ("--rounds=500", "--warmup=0", "--ranks=1", "--nodes=1", "--engines=none", f"--image={plain}")
    process = subprocess.Popen(
        [f"{prefix}/bin/bareboat", "bench", "launch", *options, f"--out={out}"],
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
    while "measuring: run " not in process.stderr.readline():
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    results = results_of(out)
    assert results.stopped == f"stopped by {number.name}"
    assert 0 < len(results.rows[0].bare) == len(results.rows[0].container) < 500
    assert f"ended early: stopped by {number.name}" in stdout
    assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
