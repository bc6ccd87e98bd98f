"""Parsers never raise but their own error; what is written is read back."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cases import BARE, CONTAINER
from benchmarks.errors import BenchError
from benchmarks.probe_output import (
    Hello,
    Traffic,
    describe_transport,
    parse_cma,
    parse_hello,
    parse_table,
)
from benchmarks.report import from_json, to_json
from benchmarks.results import Derived, Failure, Results, Row, Setting, SideFacts
from benchmarks.stats import Better, Comparison, Estimate, Outcome, Verdict

_FRAGMENTS = (
    "# library: ",
    "# library digest: ",
    "# net bytes rank 0 on n1: sent 1 received 2 loopback 3 fabric-sent 4 fabric-received 5 payload 6",
    "# Size       Avg Latency(us)",
    "8  0.5",
    "8\t-1",
    "9" * 400 + "  1",
    "rank 0 of 2 on n1 library x",
    "rank 1 of 2 on n2 library x",
    "cma ok on n1: ...",
    "cma failed",
)
noise = st.lists(st.one_of(st.sampled_from(_FRAGMENTS), st.text(max_size=40)), max_size=8).map("\n".join)
words = st.from_regex(r"[A-Za-z0-9.]{1,10}( [A-Za-z0-9.]{1,10}){0,3}", fullmatch=True)
counts = st.integers(min_value=0, max_value=2**64 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
positive = st.floats(min_value=1e-3, max_value=1e9)
text = st.text(max_size=20)


@given(noise)
def test_parsers_raise_only_their_own_error(output: str) -> None:
    for parse in (parse_table, parse_hello, parse_cma, from_json):
        try:
            parse(output)
        except BenchError as error:
            assert str(error)


@given(st.dictionaries(st.integers(min_value=1, max_value=2**30), positive, min_size=1), words, st.booleans())
def test_tables_are_read_back(values: dict[int, float], library: str, validated: bool) -> None:
    rows = sorted(values.items())
    lines = ["", "# OSU MPI Latency Test v7.5", f"# library: {library}", "# Size       Avg Latency(us)"]
    lines += [f"{size:<10}{value:>18.4f}" + ("    Pass" if validated else "") for size, value in rows]
    table = parse_table("\n".join(lines) + "\n")
    assert [size for size, _ in table.values] == [size for size, _ in rows]
    assert all(math.isclose(a[1], b[1], abs_tol=1e-4) for a, b in zip(table.values, rows, strict=True))
    assert table.library == library


@given(st.permutations(range(5)), words, st.booleans())
def test_hello_is_read_back_in_any_order(order: list[int], library: str, labelled: bool) -> None:
    lines = [
        (f"{rank}: " if labelled else "") + f"rank {rank} of 5 on n{rank % 2} library {library}"
        for rank in order
    ]
    assert parse_hello("\n".join(lines)) == tuple(
        Hello(rank, 5, f"n{rank % 2}", library) for rank in range(5)
    )


@given(
    st.tuples(counts, counts, counts, counts, counts, counts),
    st.tuples(counts, counts, counts, counts, counts, counts),
    st.booleans(),
)
def test_every_counter_has_a_transport(first: tuple[int, ...], second: tuple[int, ...], apart: bool) -> None:
    pair = (Traffic(0, "n1", *first), Traffic(1, "n2" if apart else "n1", *second))
    found = describe_transport(pair)
    assert (found in {"shared memory", "loopback TCP"}) <= (not apart)
    assert found.startswith("network") <= apart
    assert found == describe_transport((pair[1], pair[0]))


whole = st.integers(-(1 << 62), 1 << 62)
counts = st.integers(1, 1 << 62)
estimates = st.builds(Estimate, value=finite, low=finite, high=finite)
verdicts = st.builds(Verdict, outcome=st.sampled_from(Outcome), percent=finite, reason=text)
samples = st.lists(positive, min_size=3, max_size=3).map(tuple)
comparisons = st.builds(
    Comparison, bare=finite, container=finite, ratio=estimates, added=estimates, rounds=whole
)
rows = st.builds(
    Row,
    metric=text,
    unit=text,
    better=st.sampled_from(Better),
    nodes=counts,
    ranks=counts,
    message_bytes=st.none() | counts,
    bare=samples,
    container=samples,
    comparison=st.none() | comparisons,
    verdict=verdicts,
)
facts = st.builds(
    SideFacts,
    side=st.sampled_from((BARE, CONTAINER)),
    place=text,
    library=text,
    library_digest=text,
    transport=text,
)
settings = st.builds(
    Setting,
    image=text,
    job_id=text,
    nodes=st.lists(text, max_size=3).map(tuple),
    cpus_per_node=whole,
    rounds=whole,
    warmup=whole,
    seed=whole,
)
some_results = st.builds(
    Results,
    suite=text,
    setting=settings,
    rows=st.lists(rows, max_size=3).map(tuple),
    derived=st.lists(st.builds(Derived, name=text, unit=text, estimate=estimates), max_size=2).map(tuple),
    sides=st.lists(facts, max_size=2).map(tuple),
    failures=st.lists(st.builds(Failure, metric=text, text=text, hint=text), max_size=2).map(tuple),
    notes=st.lists(text, max_size=2).map(tuple),
    stopped=text,
)


@given(some_results)
def test_results_are_read_back(results: Results) -> None:
    assert from_json(to_json(results)) == results
