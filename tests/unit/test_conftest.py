"""The rules of tests/conftest.py, tried on small test suites of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
REFUSAL = "nothing may be skipped; mark it optin, or give it what it lacks: Skipped: "


def outcome_of(directory: Path, text: str, *, folder: str = "unit") -> subprocess.CompletedProcess[str]:
    """Run pytest on one file of tests below our conftest.py."""
    suite = directory / folder
    suite.mkdir()
    (directory / "conftest.py").write_text((TOP / "tests" / "conftest.py").read_text())
    (suite / "test_it.py").write_text(text)
    options = ("-p", "no:cacheprovider", "-c", str(TOP / "pyproject.toml"), "--rootdir", str(directory))
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(suite)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_skip_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    done = outcome_of(tmp_path, "import pytest\ndef test_it():\n    pytest.skip('no fabric')\n")
    assert done.returncode == 1
    assert f"{REFUSAL}no fabric" in done.stdout
    assert "1 failed" in done.stdout


def test_a_skipped_module_is_an_error_with_its_reason(tmp_path: Path) -> None:
    done = outcome_of(tmp_path, "import pytest\npytest.importorskip('no_such_module')\n")
    assert done.returncode == 2
    assert f"{REFUSAL}could not import" in done.stdout


def test_an_optin_test_is_deselected_unless_asked_for(tmp_path: Path) -> None:
    text = "import pytest\n@pytest.mark.optin\ndef test_it():\n    pass\ndef test_other():\n    pass\n"
    done = outcome_of(tmp_path, text)
    assert done.returncode == 0
    assert "1 passed, 1 deselected" in done.stdout


def test_an_expected_failure_is_none(tmp_path: Path) -> None:
    done = outcome_of(tmp_path, "import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert False\n")
    assert done.returncode == 0
    assert "1 xfailed" in done.stdout


def test_the_time_limit_is_the_tests_and_not_that_of_an_image_built_first(tmp_path: Path) -> None:
    done = outcome_of(tmp_path, "def test_it():\n    pass\n")
    assert "timeout: 300.0s\ntimeout method: signal\ntimeout func_only: True\n" in done.stdout


@pytest.mark.parametrize("folder", ["slurm", "unit"])
def test_a_test_that_leaves_a_process_fails(tmp_path: Path, folder: str) -> None:
    text = """
import subprocess
from slurm.testbed import leftovers
leftovers.SETTLE = 0.1
def test_it():
    subprocess.Popen(['sleep', '60'])
"""
    done = outcome_of(tmp_path, text, folder=folder)
    found = re.search(r"process (\d+) \(sleep, started at \d+\)", done.stdout)
    assert found
    os.kill(int(found[1]), signal.SIGKILL)
    assert done.returncode == 1
    assert "left behind:" in done.stdout
    assert "1 passed, 1 error" in done.stdout


@pytest.mark.parametrize(("folder", "end"), [("slurm", "1 passed, 1 error"), ("unit", "1 passed in")])
def test_what_strangers_make_meanwhile_is_not_for_a_run_that_makes_nothing_like_it(
    tmp_path: Path, folder: str, end: str
) -> None:
    # Under a name that other runs on this machine take for one with an owner.
    stranger = f"/var/tmp/bareboat-test-{os.getpid()}-{folder}"
    text = f"""
import pathlib
from slurm.testbed import leftovers
leftovers.SETTLE = 0.1
leftovers._OWNED = leftovers.re.compile("none")
def test_it():
    pathlib.Path({stranger!r}).touch()
"""
    done = outcome_of(tmp_path, text, folder=folder)
    Path(stranger).unlink()
    assert end in done.stdout
    assert (stranger in done.stdout) == (folder == "slurm")
