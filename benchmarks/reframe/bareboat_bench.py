"""A ReFrame test of ``bareboat bench run``: container against bare metal, with a site's references.

ReFrame reads this file by its path (``reframe -c``) and with its own Python, so that it imports nothing of
bareboat's: what it needs stands in results.json.  docs/benchmarks.md says how a site runs it.
"""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import reframe as rfm
import reframe.utility as util
import reframe.utility.sanity as sn
from reframe.core.backends import getlauncher
from reframe.core.builtins import run_after, run_before, sanity_function, variable
from reframe.core.exceptions import SanityError

SCHEMA = "bareboat-bench/3"
OUT = "bench"
_ENDED = "bareboat bench run ended with exit code"


@rfm.simple_test
class BareboatBench(rfm.RunOnlyRegressionTest):
    """One measurement of one image: it passes where all rows were measured and no reference is missed.

    image: its path; suites, nodes, rounds, level ("quick", "full" or ""), limit (seconds of one run): options
    of ``bench run``, 0 or "" for its own choice; bench_options: further ones, as in a shell; tolerance: by
    what share of bare's figure a row's whole interval may be worse, below 0: any; references: a YAML file of
    ReFrame's external references, "": none.
    """

    image = variable(str)
    suites = variable(str, value="launch,osu,npb,io")
    nodes = variable(int, value=0)
    rounds = variable(int, value=0)
    level = variable(str, value="quick")
    limit = variable(float, value=0.0)
    bench_options = variable(str, value="")
    tolerance = variable(float, value=-1.0)
    references = variable(str, value="")
    reference: Any  # ReFrame's own, which has several forms

    descr = "Container against bare metal, by bareboat bench run"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    sourcesdir = None
    executable = "bareboat"
    time_limit = "30m"
    keep_files = [f"{OUT}/*.json", f"{OUT}/*.jsonl", f"{OUT}/*.csv", f"{OUT}/*.html"]

    @run_after("init")
    def read_references(self) -> None:
        if self.references:
            self.reference = {"$ref": str(Path(self.references).absolute())}

    @run_after("setup")
    def ask_for_nodes(self) -> None:
        """``bench run`` starts all steps itself; a launcher of ReFrame's would start many of it."""
        self.job.launcher = getlauncher("local")()
        if not self.current_partition.scheduler.is_local:
            # The job has whole nodes; each step says how many ranks it takes.
            self.num_tasks = None
            self.exclusive_access = True
            self.job.options += [f"--nodes={self.nodes or 2}"]

    @run_before("run")
    def set_options(self) -> None:
        given = {"nodes": self.nodes, "rounds": self.rounds, "limit": self.limit}
        self.executable_opts = [
            "bench run",
            f"--image={shlex.quote(self.image)}",
            f"--suite={shlex.quote(self.suites)}",
            "--engines=none",  # what another engine costs is no reason to fail
            f"--out={OUT}",
            *([f"--{self.level}"] if self.level else []),
            *(f"--{name}={value:g}" for name, value in given.items() if value),
            self.bench_options,
        ]
        # Not every scheduler of ReFrame's tells a job's exit code.
        self.postrun_cmds = ["code=$?", f'echo "{_ENDED} $code"', "(exit $code)"]

    @sanity_function
    def everything_was_measured(self) -> bool:
        folder = Path(self.stagedir)
        output, errors = (
            (folder / sn.evaluate(name)).read_text(encoding="utf-8", errors="replace")
            for name in (self.stdout, self.stderr)
        )
        ended = re.search(rf"^{_ENDED} (\d+)$", output, re.MULTILINE)
        if ended is None:
            raise SanityError(f"bareboat bench run did not come to its end: {_last(errors)}")
        if ended[1] != "0":
            raise SanityError(f"{ended[0]}: {'; '.join(_reasons(folder)) or _last(errors)}")
        results = _results(folder)
        if self.tolerance >= 0:
            for row in _judged(results):
                if row["comparison"] is None:
                    raise SanityError(f"{row['metric']} is not compared: {row['verdict']['reason']}")
        measured = {name for row in results["rows"] for name, _, _ in _figures(row)}
        if lacking := sorted(set(self._references()) - measured):
            raise SanityError(f"no figure was measured for the reference of {', '.join(lacking)}")
        return True

    @run_before("performance")
    def take_figures(self) -> None:
        partition = self.current_partition.fullname
        references = self._references()
        results = _results(Path(self.stagedir))
        for row in results["rows"]:
            for name, value, unit in _figures(row):
                self.perf_variables[name] = sn.make_performance_function(sn.defer(value), unit)
        for row in _judged(results) if self.tolerance >= 0 else ():
            end, bounds = (
                ("low", (None, self.tolerance))
                if row["better"] == "lower"
                else ("high", (-min(self.tolerance, 1), None))
            )
            references.setdefault(f"{_name(row)}.{row['side']}.ratio_{end}", (1, *bounds))
        self.reference = {partition: references}

    def _references(self) -> dict[str, Any]:
        """Those that hold for this partition, by the name of the performance variable."""
        return dict(util.ScopedDict(dict(self.reference.data)).scope(self.current_partition.fullname))


def _results(folder: Path) -> dict[str, Any]:
    """What the run has written."""
    text = (folder / OUT / "results.json").read_text(encoding="utf-8")
    results: dict[str, Any] = json.loads(text)
    if results["schema"] != SCHEMA:
        raise SanityError(f"results.json has schema {results['schema']}, and this test reads {SCHEMA}")
    return results


def _judged(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows that a tolerance holds for: not cold launches, and not other container engines."""
    apart = {command["side"] for command in results["commands"] if command["apart"]}
    return [row for row in results["rows"] if row["side"] not in apart]


def _reasons(folder: Path) -> tuple[str, ...]:
    """Why a run that has written results failed."""
    try:
        results = _results(folder)
    except OSError:
        return ()
    failures = (f"{failure['metric']}: {failure['text']}" for failure in results["failures"])
    return (*failures, *filter(None, [results["stopped"]]))


def _last(errors: str) -> str:
    """bareboat's error with its hint, else the last lines."""
    _, found, text = errors.rpartition("bareboat: error: ")
    lines = [line.strip() for line in (text or errors).splitlines() if line.strip()]
    return "; ".join(lines[:2] if found else lines[-2:])


def _name(row: Mapping[str, Any]) -> str:
    """The row's name as ReFrame takes it: "osu.osu_latency.latency.2n.2r.8B"."""
    size = [] if row["message_bytes"] is None else [f"{row['message_bytes']}B"]
    words = [row["suite"], row["case"], row["figure"], f"{row['nodes']}n", f"{row['ranks']}r", *size]
    return ".".join(re.sub(r"[^\w+-]+", "_", word).strip("_") for word in words)


def _figures(row: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """The row's performance variables: name, value and unit."""
    name, side, comparison = _name(row), row["side"], row["comparison"]
    yield f"{name}.bare", statistics.median(row["bare"]), row["unit"]
    yield f"{name}.{side}", statistics.median(row["container"]), row["unit"]
    if comparison is not None:
        for key, end in (("ratio", "value"), ("ratio_low", "low"), ("ratio_high", "high")):
            yield f"{name}.{side}.{key}", comparison["ratio"][end], f"{side}/bare"
