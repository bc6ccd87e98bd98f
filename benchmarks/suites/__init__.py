"""One module a suite: what is run, and how its output is read."""

from __future__ import annotations

import importlib
from typing import cast

from benchmarks.cases import Suite
from benchmarks.errors import BenchError

SUITES = {"launch": "launches", "osu": "osu", "npb": "npb", "io": "io", "app": "app"}
"""Names of suites, in the order in which they are shown, and their modules here."""


def get_suite(name: str) -> Suite:
    """Import a suite.  Raises BenchError for a name that there is not."""
    if name not in SUITES:
        raise BenchError(f"there is no suite {name!r}", hint=f"known: {', '.join(SUITES)}")
    return cast("Suite", importlib.import_module(f"benchmarks.suites.{SUITES[name]}"))
