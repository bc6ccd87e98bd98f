"""What is kept of runs is read again as it was, and damage is never taken for a run."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import Facts, Figure
from benchmarks.errors import BenchError
from benchmarks.records import Record, read_lines, to_line
from benchmarks.stats import Better

text = st.text(max_size=12)
number = st.floats(min_value=1e-9, max_value=1e12)
figures = st.builds(Figure, text, number, text, st.sampled_from(Better), st.none() | st.integers(0, 1 << 30))
records = st.builds(
    Record,
    st.integers(0, 9),
    st.integers(-3, 99),
    text,
    text,
    text,
    number,
    number,
    st.lists(figures, max_size=3).map(tuple),
    st.builds(Facts, text, text, text),
    st.lists(text, max_size=2).map(tuple),
    text,
    text,
)


@given(st.lists(records, max_size=4))
def test_records_are_read_as_they_were_written(written: list[Record]) -> None:
    assert read_lines("".join(map(to_line, written)), where="rounds.jsonl") == tuple(written)


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_whatever_is_cut_off_the_whole_lines_are_read(written: list[Record], data: st.DataObject) -> None:
    whole = "".join(map(to_line, written))
    cut = data.draw(st.integers(0, len(whole)))
    assert read_lines(whole[:cut], where="rounds.jsonl") == tuple(written[: whole[:cut].count("\n")])


@given(st.text() | st.recursive(st.none() | text | st.integers(), st.lists).map(json.dumps))
def test_other_lines_are_damage_and_nothing_worse(line: str) -> None:
    with suppress(BenchError):
        assert read_lines(line + "\n", where="rounds.jsonl") == ()
