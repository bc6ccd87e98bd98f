"""Runs the properties of the readers in Python for some seconds each, with ever new examples.

usage: readers.py SECONDS

A finding ends it with the example, which hypothesis keeps in .hypothesis for the next run of the test.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

PROPERTIES = {
    "test_abi_elf_bytes": ("test_arbitrary_bytes", "test_mutated_files", "test_mutated_dynamic_entries"),
    "test_abi_ldcache_bytes": ("test_arbitrary_bytes", "test_mutations_of_a_real_one"),
}


def main(seconds: float) -> None:
    """Run each property at least once, and until its time is over."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "property"))
    for module, names in PROPERTIES.items():
        for name in names:
            check = getattr(importlib.import_module(module), name)
            end, rounds = time.monotonic() + seconds, 0
            while not rounds or time.monotonic() < end:
                check()
                rounds += 1
            print(f"{module}.{name}: {rounds} rounds", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
