"""The line that closes ``make test``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOTAL = Path(__file__).parents[2] / ".ci" / "total"


def test_runs_are_added_up(tmp_path: Path) -> None:
    for name, counts in {
        "a": 'tests="5" failures="1" errors="0" skipped="0"',
        "b": 'tests="7" failures="0" errors="2" skipped="0"',
    }.items():
        (tmp_path / name).write_text(f"<testsuites><testsuite {counts}/></testsuites>")
    done = subprocess.run(
        [sys.executable, TOTAL, tmp_path / "a", tmp_path / "b"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "9 passed, 1 failures, 2 errors in all runs\n"
