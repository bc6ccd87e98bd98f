"""The driver that runs the readers' property tests for `make fuzz`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_each_property_is_run_and_a_finding_ends_it(tmp_path: Path) -> None:
    driver = TOP / "tests/fuzz/readers.py"
    done = subprocess.run([sys.executable, driver, "0"], capture_output=True, text=True, check=False, cwd=TOP)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "test_abi_elf_bytes.test_arbitrary_bytes: 1 rounds",
        "test_abi_elf_bytes.test_mutated_files: 1 rounds",
        "test_abi_elf_bytes.test_mutated_dynamic_entries: 1 rounds",
        "test_abi_ldcache_bytes.test_arbitrary_bytes: 1 rounds",
        "test_abi_ldcache_bytes.test_mutations_of_a_real_one: 1 rounds",
    ]
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "property").mkdir()
    copy = tmp_path / "fuzz/readers.py"
    copy.write_text(driver.read_text())
    (tmp_path / "property/test_abi_elf_bytes.py").write_text(
        "def test_arbitrary_bytes() -> None:\n    1 / 0\n"
    )
    done = subprocess.run([sys.executable, copy, "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
