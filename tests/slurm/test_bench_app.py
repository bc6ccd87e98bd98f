"""``bareboat bench app`` with programs that Debian ships: the host's build against the image's."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.report import from_json
from benchmarks.results import Row
from slurm.testbed import Testbed

SOURCES = Path(__file__).parents[1] / "matrix/src"
FEW = ("--nodes", "1", "--ranks", "2", "--rounds", "2", "--warmup", "0")


@pytest.fixture
def home(user: pwd.struct_passwd) -> Iterator[Path]:
    directory = Path(user.pw_dir) / "app"
    directory.mkdir()
    for name in ("in.melt", "hpccinf.txt"):
        shutil.copy(SOURCES / name, directory / name)
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def app(
    cluster: Testbed, prefix: Path, user: pwd.struct_passwd, home: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``bareboat bench app ARGS`` in the directory of the inputs, as the user."""

    def run(*arguments: object, verb: str = "app") -> subprocess.CompletedProcess[str]:
        words = (f"{prefix}/bin/bareboat", "bench", verb, *map(str, arguments))
        argv = ["sh", "-c", f'cd {home} && exec "$@"', "sh", *words]
        return cluster.run(argv, user=user.pw_name, timeout=240)

    return run


def rows_of(out: Path) -> dict[str, Row]:
    return {row.figure: row for row in from_json((out / "results.json").read_text()).rows}


def test_lammps(
    app: Callable[..., subprocess.CompletedProcess[str]], image: Callable[[str], Path], home: Path
) -> None:
    metric = "Performance: .* (?P<steps>[0-9.]+) timesteps/s"
    options = ("--image", image("deb13-science"), "--mpi", "pmix", *FEW, "--out", home / "out")
    melt = ("lmp", "-in", "in.melt", "-log", "none")
    done = app(*options, "--metric", metric, "--higher", "steps", "--unit", "steps=1/s", "--", *melt)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(home / "out")
    assert set(rows) == {"wall time", "steps"}
    assert (rows["steps"].unit, rows["steps"].better, rows["steps"].case) == ("1/s", "higher", "lmp")
    assert len(rows["steps"].bare) == len(rows["steps"].container) == 2
    more = app("--resume", home / "out", "--rounds", 3, verb="run")
    assert more.returncode == 0, more.stdout + more.stderr
    assert len(rows_of(home / "out")["steps"].container) == 3


def test_hpcc_in_a_file_of_its_own(
    app: Callable[..., subprocess.CompletedProcess[str]], image: Callable[[str], Path], home: Path
) -> None:
    options = ("--image", image("deb13-science"), "--mpi", "pmix", *FEW, "--out", home / "out")
    script = "hpcc && cat hpccoutf.txt"
    done = app(*options, "--metric", "^HPL_Tflops=(?P<hpl>.*)", "--higher", "hpl", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_of(home / "out")["hpl"].container[0] > 0


def test_an_output_without_the_metric_is_a_failure_and_no_figure(
    app: Callable[..., subprocess.CompletedProcess[str]], plain: Path, home: Path
) -> None:
    done = app(
        "--image", plain, *FEW, "--metric", "speed ([0-9]+)", "--out", home / "out", "--", "echo", "hello"
    )
    assert done.returncode == 125
    assert "the output does not have what 'speed ([0-9]+)' looks for" in done.stdout
    assert rows_of(home / "out") == {}


def test_the_bare_side_may_have_other_words_and_both_run_here(
    app: Callable[..., subprocess.CompletedProcess[str]], plain: Path, home: Path
) -> None:
    metric = "^rate (?P<rate>[0-9]+)$"
    bare = "sh -c 'test -e in.melt && echo rate 4'"
    inside = ("sh", "-c", "test -e in.melt && echo rate 2 && echo rate 5")
    done = app(
        "--image", plain, *FEW, "--metric", metric, "--bare", bare, "--out", home / "out", "--", *inside
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rate = rows_of(home / "out")["rate"]
    assert (set(rate.bare), set(rate.container)) == ({4.0}, {5.0})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--metric", "a"), "'a' has 0 groups, and a metric is what one group matches"),
        (("--metric", "("), "'(' is no regular expression"),
        (("--metric", "(a)(b)"), "has 2 groups"),
        (("--metric", "(?P<x>a)", "--metric", "(?P<x>b)"), "two metrics are called 'x'"),
        (("--higher", "x"), "no metric is called 'x'; there is: none"),
        (("--unit", "x"), "'x' is not NAME=UNIT, like loop=s"),
    ],
)
def test_metrics_that_make_no_sense(
    app: Callable[..., subprocess.CompletedProcess[str]],
    plain: Path,
    home: Path,
    words: tuple[str, ...],
    told: str,
) -> None:
    done = app("--image", plain, "--out", home / "out", *words, "--", "true")
    assert done.returncode in {2, 125}
    assert told in done.stderr
    assert not (home / "out").exists()
