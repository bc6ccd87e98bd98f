"""Results with any value in the place of any other are refused by name, or can be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.comparing import compare_results
from benchmarks.errors import BenchError
from benchmarks.page.content import page_of
from benchmarks.page.table import to_csv
from benchmarks.report import from_json, to_json
from benchmarks.results import NodeFacts, Results, Row, Setting, SideFacts
from benchmarks.shown import make_console
from benchmarks.stats import Better, Verdict, compare, judge
from benchmarks.table import render_run

COMPARISON = compare((1.0, 1.1) * 3, (1.2, 1.3) * 3, seed=1, replicates=50)
ROW = Row(
    *("metric", "us", Better.LOWER, 1, 2, 8, (1.0, 1.1) * 3, (1.2, 1.3) * 3, COMPARISON),
    judge(COMPARISON, Better.LOWER),
    *("container", "osu", "osu_latency", "latency"),
)
NODE = NodeFacts("n1", "a processor", "6.1", 2048, "", "800-3500", "0.1", 2, (("bare", "0-1"),))
SETTING = Setting(
    "/images/a", "7", ("n1",), 2, 6, 1, 20260, ("bareboat",), 1.8e9, (NODE,), (("Slurm", "22"),)
)
RESULTS = Results(
    "run",
    SETTING,
    (ROW, replace(ROW, case="b")),
    sides=(SideFacts("bare", "p", "l", "d", "t"),),
    notes=("n",),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just([1]),
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(data[key], (*path, key))


PLACES = tuple(places(json.loads(to_json(RESULTS))))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_a_damaged_value(path: tuple[Any, ...], value: object) -> None:
    data: Any = json.loads(to_json(RESULTS))
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    try:
        results = from_json(json.dumps(data))
    except BenchError:
        return
    console = make_console()
    for part in render_run(results):
        console.render_lines(part)
    to_csv(results)
    if results.rows:
        page_of(replace(results, rows=()))
        compare_results(results, results, limit=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bare": ()}, "the samples of metric are no pairs of values above 0"),
        ({"bare": (1.0, 0.0)}, "the samples of metric are no pairs of values above 0"),
        ({"container": (1.0, float("nan"))}, "container is 'nan'"),
        ({"nodes": "1"}, "nodes is '1'"),
        ({"verdict": Verdict("same", percent=True)}, "percent is 'True'"),  # type: ignore[arg-type]
    ],
)
def test_what_is_damaged_is_named(change: dict[str, Any], message: str) -> None:
    text = to_json(replace(RESULTS, rows=(replace(ROW, **change),)))
    with pytest.raises(BenchError, match=f"the results are damaged: .*{message}"):
        from_json(text)


def test_a_deep_file() -> None:
    with pytest.raises(BenchError, match="the results are not JSON"):
        from_json("[" * 200_000)
