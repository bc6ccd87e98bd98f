"""``bareboat bench run`` without Slurm: the host's mpiexec, and containers by ``bareboat run``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.report import from_json
from mpi_abi import probe_host

BAREBOAT = str(Path(sys.executable).with_name("bareboat"))


def run(*arguments: object, verb: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BAREBOAT, "bench", verb, *map(str, arguments)],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def without_slurm(tmp_path: Path) -> str:
    """A PATH with all programs of this host but Slurm's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in ("/usr/bin", "/usr/sbin"):
        for program in Path(place).iterdir():
            link = folder / program.name
            if program.name not in {"srun", "scontrol", "salloc"} and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


@pytest.mark.parametrize(("name", "library"), [("deb13-mpich", "MPICH"), ("deb12-openmpi", "Open MPI")])
def test_a_machine_without_slurm(
    image: Callable[[str], Path], tmp_path: Path, without_slurm: str, name: str, library: str
) -> None:
    out = tmp_path / "results"
    options = (
        "--quick",
        "--suite=launch,osu,npb",
        "--only=true,osu_latency,is.S",
        "--rounds=2",
        "--warmup=0",
    )
    done = run("--image", image(name), "--out", out, "--ranks=2", *options, PATH=without_slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "without Slurm: the host's mpiexec starts the ranks" in done.stderr
    results = from_json((out / "results.json").read_text())
    assert {row.case for row in results.rows} == {"true", "osu_latency", "is.S"}
    assert {row.nodes for row in results.rows} == {1}
    # Without the plugin no plan is kept: a cold launch would be the same once more.
    assert not [row.side for row in results.rows if "cold" in row.side]
    assert all(row.comparison is not None for row in results.rows), done.stdout
    assert {(facts.side, facts.transport) for facts in results.sides} == {
        ("bare", "shared memory"),
        ("container", "shared memory"),
    }
    assert all(facts.library.startswith(library) for facts in results.sides)
    assert results.setting.job_id == "none (no Slurm)"


def test_python_on_both_sides(image: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "results"
    options = ("--local", "--quick", "--suite=osu", "--lang=python", "--only=osu_latency", "--rounds=1")
    done = run("--image", image("deb12-openmpi"), "--out", out, "--warmup=0", *options, PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = from_json((out / "results.json").read_text()).rows
    assert {row.case for row in rows} == {"osu_latency"}
    assert all(row.comparison is not None for row in rows)


def test_more_nodes_than_this_machine(image: Callable[[str], Path], tmp_path: Path) -> None:
    done = run("--image", image("deb13-mpich"), "--out", tmp_path / "results", "--local", "--nodes=2")
    assert done.returncode == 125
    assert "bareboat: error: 2 nodes are needed, but without Slurm there is this machine alone" in done.stderr


def test_a_slurm_whose_controller_does_not_answer(image: Callable[[str], Path], tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=none\nSlurmctldHost=nowhere(127.0.0.1)\nSlurmctldPort=1\nNodeName=nowhere\n")
    done = run(
        "--image", image("deb13-mpich"), "--out", tmp_path / "results", "--quick", SLURM_CONF=str(conf)
    )
    assert done.returncode == 125
    assert "bareboat: error: Slurm is installed, but no controller answers: " in done.stderr
    assert "measure on this machine alone with --local" in done.stderr


def test_an_image_with_a_compiler_makes_its_own_programs(tmp_path: Path) -> None:
    """This host's own tree as an image: it has compilers."""
    out = tmp_path / "results"
    options = ("--local", "--quick", "--suite=npb", "--only=is.S", "--ranks=2", "--rounds=1", "--warmup=0")
    done = run("--image", "/", "--out", out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert dict(results.setting.versions)["compiler of container"].endswith(" of the image")
    assert not any("were compiled on the host" in note for note in results.notes)
    assert (out / "programs" / "container" / "npb_is").exists()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An image of one static program, which a test may change."""
    root = tmp_path / "tiny"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("true", "readlink", "grep"):
        (root / "bin" / name).symlink_to("busybox")
    return root


LAUNCHES = ("--local", "--suite=launch", "--only=true", "--engines=none", "--warmup=0", "--ranks=1")


def test_an_image_that_was_changed_is_not_gone_on_with(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = run("--image", tiny, "--out", out, "--rounds=1", *LAUNCHES)
    assert done.returncode == 0, done.stdout + done.stderr
    again = run("--resume", out, "--rounds=2")
    assert again.returncode == 0, again.stdout + again.stderr
    (tiny / "usr/lib").mkdir(parents=True)
    refused = run("--resume", out, "--rounds=3")
    assert refused.returncode == 125
    assert f"bareboat: error: the image {tiny} is not the one that was measured: " in refused.stderr
    assert "measure it into a new directory (--out DIR)" in refused.stderr
    assert len(from_json((out / "results.json").read_text()).rows[0].bare) == 2


def test_a_form_that_is_not_proved_to_be_a_container_is_its_own_failure(
    tiny: Path, tmp_path: Path, without_slurm: str
) -> None:
    out, form = tmp_path / "results", tmp_path / "form"
    (form / "bin").mkdir(parents=True)
    options = ("--nodes=1", "--ranks=1", "--rounds=2", "--warmup=0", "--out", out)
    images = ("--image", tiny, "--form", f"other={form}")
    done = run(*images, *options, "--", "true", verb="app", PATH=without_slurm)
    assert done.returncode == 125, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert {(row.side, len(row.container)) for row in results.rows} == {("container", 2)}
    (failure,) = results.failures
    assert failure.metric == "app: true, 1 node, 1 rank, other"
    assert failure.text == f"readlink is not in image {form}"
    assert any("if true is an MPI program, whether all sides used" in note for note in results.notes)


def test_ranks_of_a_users_program_run_where_the_user_is(
    tiny: Path, tmp_path: Path, without_slurm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image has no MPI: any mpiexec of this host starts them."""
    (tiny / "bin/sh").symlink_to("busybox")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    options = ("--ranks=3", "--rounds=1", "--warmup=0", "--out", tmp_path / "results")
    script = "echo rank >> ranks"
    done = run("--image", tiny, *options, "--", "sh", "-c", script, verb="app", PATH=without_slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (here / "ranks").read_text() == "rank\n" * 6
    assert "sh, 1 node, 3 ranks" in done.stdout


def test_an_image_without_mpi_fails_the_suites_that_need_it(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    options = ("--local", "--quick", "--ranks=1", "--rounds=1", "--warmup=0", "--engines=none")
    done = run("--image", tiny, "--out", out, *options, "--suite=launch,npb", "--only=true,is.S")
    assert done.returncode == 125, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert {row.case for row in results.rows} == {"true"}
    why = f"the image {tiny} has no MPI library: only the launch and io suites can be run in it"
    assert [(failure.metric, failure.text) for failure in results.failures] == [("suite npb", why)]
    assert f"MPI is not measured: {why}" in results.notes


def test_a_host_without_an_mpi_compiler_fails_the_suites_that_need_it(
    image: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "results"
    options = ("--local", "--quick", "--ranks=1", "--rounds=1", "--warmup=0", "--engines=none")
    suites = ("--suite=launch,npb", "--only=true,is.S")
    done = run("--image", image("deb13-mpich"), "--out", out, *options, *suites, MPICH_CC="/bin/false")
    assert done.returncode == 125, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert {row.case for row in results.rows} == {"true"}
    (failure,) = results.failures
    assert failure.metric == "suite npb"
    assert failure.text.startswith("no compiler of MPICH 4.0.2 ")
    assert f"MPI is not measured: {failure.text}" in results.notes


def test_a_host_without_mpiexec_starts_one_rank(tiny: Path, tmp_path: Path, without_slurm: str) -> None:
    out, prefix = tmp_path / "results", tmp_path / "mpi/lib"
    prefix.mkdir(parents=True)
    shutil.copy(probe_host(family="mpich")[0].c_library.real, prefix / "libmpich.so.12")
    for name in Path(without_slurm).glob("mpiexec*"):
        name.unlink()
    options = ("--suite=launch", "--only=true", "--engines=none", "--rounds=1", "--warmup=0")
    words = ("--image", tiny, "--out", out, "--host-mpi", prefix.parent, "--ranks=1,4", *options)
    done = run(*words, PATH=without_slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    results = from_json((out / "results.json").read_text())
    assert {row.ranks for row in results.rows} == {1}
    said = "without Slurm, the host's mpiexec starts several ranks (4), and none was found"
    assert f"one rank alone was measured: {said}" in results.notes
