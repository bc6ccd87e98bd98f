"""Results with any value in the place of any other are refused by name, or can be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from bench_cases import bench_case, bench_kept, bench_record
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.analysis import analyse
from benchmarks.asked import check_asked
from benchmarks.cases import BARE, CONTAINER
from benchmarks.comparing import compare_results
from benchmarks.errors import BenchError
from benchmarks.folder import ROUNDS, Folder
from benchmarks.folder import SETTING as SETTING_FILE
from benchmarks.page.content import page_of
from benchmarks.page.html import to_html
from benchmarks.page.table import to_csv
from benchmarks.records import PROBE, Record, to_line
from benchmarks.report import from_json, to_json
from benchmarks.results import Failure, NodeFacts, Results, Row, Setting, SideCommand, SideFacts
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
EXTREME = (10**400, -1, 0, 1e308, 1e-308, -1e308, 1e149)
VALUES = st.one_of(
    st.sampled_from(EXTREME),
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


def put(data: Any, path: tuple[Any, ...], value: object) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def show(results: Results) -> None:
    """All that a reader gets of it."""
    console = make_console()
    for part in render_run(results):
        console.render_lines(part)
    to_csv(results)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), VALUES)
def test_a_damaged_value(path: tuple[Any, ...], value: object) -> None:
    data: Any = json.loads(to_json(RESULTS))
    put(data, path, value)
    try:
        results = from_json(json.dumps(data))
    except BenchError:
        return
    show(results)
    if results.rows:
        page_of(replace(results, rows=()))
        compare_results(results, results, limit=0.02)


ROW_PLACES = tuple(path for path in PLACES if path[0] == "rows")


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ROW_PLACES), st.sampled_from(EXTREME))
def test_a_page_of_damaged_rows(path: tuple[Any, ...], value: object) -> None:
    data: Any = json.loads(to_json(RESULTS))
    put(data, path, value)
    try:
        results = from_json(json.dumps(data))
    except BenchError:
        return
    to_html(results)


CASES = tuple(replace(bench_case("true", suite="launch"), ranks=ranks) for ranks in (2, 4))
KEPT = replace(
    bench_kept(*CASES),
    commands=(SideCommand("bare", "srun true"),),
    failures=(Failure("io", "the disk was full"),),
    notes=("n",),
    images=(("/images/app", "1"),),
)
RECORDS = (
    *(
        bench_record(number, side, 1.0 + number / 10, case=case)
        for number in range(6)
        for case in CASES
        for side in (BARE, CONTAINER)
    ),
    Record(0, -1, PROBE, "1", BARE, 1.0, 0.1),
    Record(0, 6, "launch", CASES[0].key, BARE, 1.0, 0.1, error="e"),
)
SETTING_PLACES = tuple(places(json.loads(json.dumps(asdict(KEPT)))))
RECORD_PLACES = tuple(places([json.loads(to_line(record)) for record in RECORDS]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("folder"))


def read_damaged(folder: Folder, place: tuple[Any, ...], value: object, *, setting: bool) -> None:
    """Write a folder with a value in another's place, read it, and show what it holds."""
    folder.keep(KEPT)
    lines = [json.loads(to_line(record)) for record in RECORDS]
    if setting:
        data = json.loads((folder.path / SETTING_FILE).read_text())
        put(data, place, value)
        (folder.path / SETTING_FILE).write_text(json.dumps(data))
    else:
        put(lines, place, value)
    (folder.path / ROUNDS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        kept, records = folder.kept(), folder.records()
        check_asked(kept.asked, where="here")
    except BenchError:
        return
    show(analyse(kept, records))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SETTING_PLACES), VALUES)
def test_a_damaged_setting(folder: Folder, place: tuple[Any, ...], value: object) -> None:
    read_damaged(folder, place, value, setting=True)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RECORD_PLACES), VALUES)
def test_a_damaged_run(folder: Folder, place: tuple[Any, ...], value: object) -> None:
    read_damaged(folder, place, value, setting=False)


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
