"""The page of results must hold for every set of results, not only for nice ones."""

from __future__ import annotations

from xml.etree import ElementTree

from bench_rows import SETTING, bench_row
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.page.html import to_html
from benchmarks.page.plots import plots_of, spread
from benchmarks.results import Results
from benchmarks.stats import Outcome, Verdict, median

positive = st.floats(min_value=1e-6, max_value=1e9)
names = st.text(min_size=1, max_size=12) | st.sampled_from(["a", "b"])
rows = st.builds(
    bench_row,
    st.sampled_from(["launch", "osu", "npb", "io", "app"]),
    names,
    positive,
    figure=names,
    nodes=st.integers(1, 3),
    ranks=st.sampled_from([1, 2, 16]),
    size=st.none() | st.sampled_from([0, 1, 3, 4096, 1 << 22]),
    side=st.sampled_from(["container", "squashfs"]),
    ratio=st.floats(min_value=0.5, max_value=2.0),
    refused=st.none() | st.just(Verdict(Outcome.NOT_COMPARED, reason="why")),
)


@given(st.lists(positive, min_size=1, max_size=40))
def test_the_spread_lies_within_what_was_measured_and_around_the_median(samples: list[float]) -> None:
    low, high = spread(samples)
    assert min(samples) <= low <= median(samples) <= high <= max(samples)


@given(
    st.lists(
        rows,
        min_size=1,
        max_size=12,
        unique_by=lambda row: (
            row.suite,
            row.case,
            row.figure,
            row.nodes,
            row.ranks,
            row.message_bytes,
            row.side,
        ),
    )
)
def test_every_row_that_is_compared_is_in_some_plot(found: list) -> None:  # type: ignore[type-arg]
    for suite in {row.suite for row in found}:
        chosen = [row for row in found if row.suite == suite]
        drawings = list(plots_of(suite, chosen))
        shown = {curve.label for drawing in drawings for curve in drawing.curves}
        assert {row.side for row in chosen if row.comparison} <= shown
        for drawing in drawings:
            for curve in drawing.curves:
                assert len(curve.x) == len(curve.y) == len(curve.low) == len(curve.high)
                assert len(set(curve.x)) == len(curve.x)


@settings(max_examples=15, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), names)
def test_whatever_is_shown_the_plots_are_well_formed(found: list, note: str) -> None:  # type: ignore[type-arg]
    page = to_html(Results("run", SETTING, tuple(found), notes=(note,)))
    for part in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>")
