"""The io suite of ``bareboat bench run`` on a real Slurm: the image as a directory and as a file."""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from squash import pack

from benchmarks.image_python import find_python
from benchmarks.report import from_json
from benchmarks.results import Results
from slurm.testbed import Testbed


def bench_io(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, *arguments: object
) -> subprocess.CompletedProcess[str]:
    words = ("--suite", "io", "--quick", "--nodes", 1, "--rounds", 2, "--warmup", 0, *arguments)
    argv = [f"{prefix}/bin/bareboat", "bench", "run", *map(str, words)]
    return cluster.run(argv, user=user.pw_name, timeout=240)


@pytest.fixture
def out(user: pwd.struct_passwd) -> Iterator[Path]:
    path = Path(user.pw_dir) / "io"
    yield path
    shutil.rmtree(path, ignore_errors=True)


def results_of(out: Path) -> Results:
    return from_json((out / "results.json").read_text())


def test_writing_metadata_trees_and_imports_in_every_form_of_an_image(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, plain: Path, out: Path
) -> None:
    file = pack(plain, Path(user.pw_dir) / "plain.sqfs", "-comp", "lz4")
    done = bench_io(
        cluster, prefix, user, "--image", plain, "--form", f"file={file}", "--ranks", 2, "--out", out
    )
    assert done.returncode == 0, done.stderr
    found = {(row.case, row.side): row for row in results_of(out).rows}
    both = ("writes of 512 B", "make, look at, rename, remove")
    assert set(found) == {
        *((f"{work}, {place}", "container") for work in both for place in ("shared directory", "tmpfs")),
        *(
            (f"{what}", side)
            for what in ("read Python's library", "Python imports")
            for side in ("container", "file")
        ),
    }
    tree = found["read Python's library", "file"]
    assert (tree.unit, len(tree.bare), len(tree.container)) == ("MB/s", 2, 2)
    assert all(row.comparison is not None for row in found.values()), done.stdout
    assert all(value > 0 for row in found.values() for value in (*row.bare, *row.container))
    assert not list(out.glob("bareboat-io-*"))
    assert not list(Path("/dev/shm").glob("bareboat-io-*"))


def test_a_form_with_other_files_is_not_compared(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, plain: Path, out: Path
) -> None:
    python = find_python(str(plain))
    assert python is not None
    lacking = f"{python.library.lstrip('/')}/this.py"
    file = pack(plain, Path(user.pw_dir) / "lacks.sqfs", "-comp", "lz4", "-e", lacking)
    words = ("--image", plain, "--form", f"file={file}", "--ranks", 1, "--out", out)
    done = bench_io(cluster, prefix, user, *words, "--only", "read Python's library")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row.side: row for row in results_of(out).rows}
    assert found["container"].comparison is not None
    assert found["file"].comparison is None
    said = r"not compared: bare read (\d+) files, (\d+) bytes, file read (\d+) files, (\d+) bytes"
    match = re.fullmatch(said, str(found["file"].verdict))
    assert match and int(match[1]) == int(match[3]) + 1 and int(match[2]) > int(match[4])


def test_a_python_with_an_mpi_that_the_hosts_does_not_fit(
    cluster: Testbed,
    prefix: Path,
    user: pwd.struct_passwd,
    image: Callable[[str], Path],
    out: Path,
) -> None:
    """Its mpi4py wants symbols that the host's Open MPI lacks: no step of that Python starts with it."""
    words = ("--image", image("deb13-openmpi"), "--ranks", 1, "--out", out, "--only", "Python imports")
    done = bench_io(cluster, prefix, user, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = results_of(out).rows
    assert (row.case, len(row.container)) == ("Python imports", 2)


def test_an_image_without_a_directory_or_a_python_says_what_was_not_measured(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, plain: Path, out: Path
) -> None:
    file = pack(plain, Path(user.pw_dir) / "plain.sqfs", "-comp", "lz4")
    done = bench_io(cluster, prefix, user, "--image", file, "--ranks", 1, "--out", out)
    assert done.returncode == 0, done.stderr
    assert any("(--form directory=DIR)" in note for note in results_of(out).notes)
    assert {row.case.partition(",")[0] for row in results_of(out).rows} == {"writes of 512 B", "make"}


def test_a_form_needs_a_name_and_a_path(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, plain: Path, out: Path
) -> None:
    for form, told in (
        (str(plain), "is not LABEL=PATH, like squashfs=/images/a.sqfs"),
        ("a=/missing", "the image /missing does not exist"),
        (f"bare={plain}", "the label 'bare' is taken: give each form one of its own"),
    ):
        done = bench_io(cluster, prefix, user, "--image", plain, "--form", form, "--out", out)
        assert done.returncode == 2
        assert told in done.stderr
    assert not out.exists()
