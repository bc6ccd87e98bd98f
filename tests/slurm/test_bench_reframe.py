"""benchmarks/reframe, as it is installed, run by the real ReFrame on a real Slurm, as a user."""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slurm.testbed import Testbed

REFRAME = Path(sys.executable).parent / "reframe"
QUICK = {"suites": "launch", "bench_options": "--warmup=0 --ranks=2"}
LAUNCH = "launch.true.wall_time.1n.2r"

Reframe = Callable[..., dict[str, Any]]


@pytest.fixture
def home(user: pwd.struct_passwd) -> Iterator[Path]:
    """A directory of the user's for all that ReFrame writes."""
    path = Path(user.pw_dir) / "reframe"
    path.mkdir()
    shutil.chown(path, user.pw_uid, user.pw_gid)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def reframe(cluster: Testbed, prefix: Path, user: pwd.struct_passwd, home: Path) -> Reframe:
    """Runs the test on a partition of the example settings; gives ReFrame's report of it."""
    (folder,) = prefix.glob("venv/lib/python3*/site-packages/benchmarks/reframe")

    def run(partition: str, **variables: object) -> dict[str, Any]:
        given = {"executable": f"{prefix}/bin/bareboat", **QUICK, **variables}
        words = ["-C", folder / "settings.py", "-c", folder / "bareboat_bench.py"]
        words += ["--system", f"example:{partition}", "--prefix", home, "--report-file", home / "report.json"]
        words += [word for name, value in given.items() for word in ("-S", f"{name}={value}")]
        argv = list(map(str, (REFRAME, *words, "--run")))
        done = cluster.run(
            argv, user=user.pw_name, cwd=str(home), environment={"TMPDIR": str(home)}, timeout=120
        )
        assert cluster.run(["squeue", "--noheader", "--states=running,pending"]).stdout == ""
        return report_of(home, done)

    return run


def report_of(home: Path, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The report's only test."""
    assert (home / "report.json").exists(), done.stdout + done.stderr
    (session,) = json.loads((home / "report.json").read_text())["runs"]
    (found,) = session["testcases"]
    assert isinstance(found, dict)
    assert done.returncode == (0 if found["result"] == "pass" else 1)
    return found


def references(home: Path, partition: str, lines: str) -> Path:
    path = home / "references.yaml"
    path.write_text(f'BareboatBench:\n  "example:{partition}":\n    {lines}\n')
    return path


def test_it_passes_with_figures_of_each_row(reframe: Reframe, plain: Path, home: Path) -> None:
    """ReFrame's local scheduler: bench run asks Slurm for the nodes."""
    found = reframe("login", image=plain, nodes=2, rounds=2, tolerance=9)
    assert found["result"] == "pass", found["fail_reason"]
    figures = {name.removeprefix("example:login:"): rest for name, rest in found["perfvalues"].items()}
    rows = {name.removesuffix(".bare") for name in figures if name.endswith(".bare")}
    assert rows == {LAUNCH, LAUNCH.replace("1n", "2n")}
    for row in rows:
        bare, container = figures[f"{row}.bare"], figures[f"{row}.container"]
        ratio = figures[f"{row}.container.ratio"]
        assert (bare[4], container[4], ratio[4]) == ("ms", "ms", "container/bare")
        assert ratio[0] == pytest.approx(container[0] / bare[0])
        low, high = (figures[f"{row}.container.ratio_{end}"] for end in ("low", "high"))
        assert 0 < low[0] <= ratio[0] <= high[0]
        assert low[1:] == [1, None, 9, "container/bare", "pass"]
        # Cold launches are measured, and judged by references alone.
        assert figures[f"{row}.container, cold.ratio_low"][1:4] != low[1:4]
    kept = {path.name for path in Path(found["outputdir"]).iterdir()}
    assert {"results.json", "rounds.jsonl", "results.csv", "report.html"} <= kept


def test_a_missed_reference_fails_in_a_job_of_reframes(reframe: Reframe, plain: Path, home: Path) -> None:
    """ReFrame's Slurm scheduler: bench run measures in that job."""
    given = references(home, "nodes", f"{LAUNCH}.container.ratio: [0.1, null, 0.1, container/bare]")
    found = reframe("nodes", image=plain, nodes=1, rounds=1, references=given)
    assert (found["result"], found["fail_phase"]) == ("fail", "performance")
    assert found["fail_reason"].startswith(
        f"performance error: failed to meet reference(s): {LAUNCH}.container.ratio="
    )
    results = json.loads(Path(found["stagedir"], "bench/results.json").read_text())
    assert results["setting"]["job_id"] == found["jobid"]


def test_a_reference_without_a_figure_fails(reframe: Reframe, plain: Path, home: Path) -> None:
    name = "launch.true.wall_time.7n.7r.container.ratio"
    given = references(home, "login", f"{name}: [1.0, null, 0.1, container/bare]")
    found = reframe("login", image=plain, nodes=1, rounds=1, references=given)
    assert (found["result"], found["fail_phase"]) == ("fail", "sanity")
    assert found["fail_reason"] == f"sanity error: no figure was measured for the reference of {name}"


def test_a_wrong_image_fails_with_bareboats_reason(reframe: Reframe) -> None:
    for partition in ("login", "nodes"):
        found = reframe(partition, image="/missing", nodes=1)
        assert (found["result"], found["fail_phase"]) == ("fail", "sanity")
        assert found["fail_reason"] == (
            "sanity error: bareboat bench run ended with exit code 125: image /missing does not exist; "
            "bareboat: hint: give the path of an image"
        )
