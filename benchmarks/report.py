"""How numbers are written, and results as JSON.  Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.results import Derived, Failure, Results, Row, SideCommand, SideFacts, setting_from
from benchmarks.stats import MIN_ROUNDS, Better, Comparison, Estimate, Outcome, Verdict
from benchmarks.typed import require_sample, require_shape, require_types

SCHEMA = "bareboat-bench/3"
"""Changes with the shape of the JSON; readers refuse what they do not know."""

_READ = ("bareboat-bench/1", "bareboat-bench/2", SCHEMA)
"""The first had one side beside bare, which it did not name; the second had one suite, and no machine."""

STYLES = {
    Outcome.SAME: "green",
    Outcome.FASTER: "green",
    Outcome.SLOWER: "yellow",
    Outcome.UNRESOLVED: "dim",
    Outcome.NOT_COMPARED: "red",
}


def format_value(value: float, digits: int = 4) -> str:
    """So many significant digits, without an exponent."""
    size = abs(value)
    before = 4 if size >= 1000 else 3 if size >= 100 else 2 if size >= 10 else 1
    return f"{value:.{max(0, digits - before)}f}"


def format_estimate(estimate: Estimate, *, signed: bool = False, digits: int = 4) -> str:
    """The value with its interval: ``1.05 [1.03, 1.07]``."""
    value, low, high = (
        format_value(number, digits) for number in (estimate.value, estimate.low, estimate.high)
    )
    sign = "+" if signed and estimate.value > 0 else ""
    return f"{sign}{value} [{low}, {high}]"


def format_comparison(comparison: Comparison | None, digits: int = 4) -> tuple[str, str]:
    """Ratio and added value with their intervals, and without them where the rounds are too few; "" for none.

    digits: of the added value.
    """
    if comparison is None:
        return "", ""
    ratio, added = comparison.ratio, comparison.added
    if comparison.rounds < MIN_ROUNDS:  # an interval of so few would promise what it cannot hold
        sign = "+" if added.value > 0 else ""
        return format_value(ratio.value), f"{sign}{format_value(added.value, digits)}"
    return format_estimate(ratio), format_estimate(added, signed=True, digits=digits)


def to_json(results: Results) -> str:
    """All of the results, the samples too."""
    return json.dumps({"schema": SCHEMA, **asdict(results)}, indent=1) + "\n"


def from_json(text: str) -> Results:
    """Read what `to_json` wrote.  Raises BenchError for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"the results are not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schema") not in _READ:
        found = data.get("schema") if isinstance(data, dict) else None
        raise BenchError(
            f"the results have schema {found!r}, only {SCHEMA!r} can be read",
            hint="they are of another version of bareboat, or not of bareboat",
        )
    try:
        results = _results(data)
        require_types(results, Results, "the whole")
        for row in results.rows:
            samples = *row.bare, *row.container
            if len(row.bare) != len(row.container) or min(samples, default=0) <= 0:
                raise ValueError(f"the samples of {row.metric} are no pairs of values above 0")
            require_shape(row.nodes, row.ranks, row.metric)
            for value in samples:
                require_sample(value, row.message_bytes, f"a sample of {row.metric}")
        return results
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BenchError(f"the results are damaged: {type(error).__name__}: {error}") from error


def _results(data: dict[str, Any]) -> Results:
    return Results(
        suite=data["suite"],
        setting=setting_from(data["setting"]),
        rows=tuple(_row(item) for item in data["rows"]),
        derived=tuple(
            Derived(**{**item, "estimate": Estimate(**item["estimate"])}) for item in data["derived"]
        ),
        sides=tuple(SideFacts(**item) for item in data["sides"]),
        commands=tuple(SideCommand(**item) for item in data.get("commands", ())),
        failures=tuple(Failure(**item) for item in data["failures"]),
        notes=tuple(data["notes"]),
        stopped=data["stopped"],
    )


def _row(data: dict[str, Any]) -> Row:
    comparison = data["comparison"]
    if comparison is not None:
        comparison = Comparison(
            **{
                **comparison,
                "ratio": Estimate(**comparison["ratio"]),
                "added": Estimate(**comparison["added"]),
            }
        )
    changed = {
        "better": Better(data["better"]),
        "bare": tuple(data["bare"]),
        "container": tuple(data["container"]),
        "comparison": comparison,
        "verdict": Verdict(**{**data["verdict"], "outcome": Outcome(data["verdict"]["outcome"])}),
    }
    return Row(**{**data, **changed})
