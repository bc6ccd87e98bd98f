"""Tables in OSU's format, of any columns and figures, read back; damage never makes a figure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import BenchError
from benchmarks.osu_output import OsuOutput, parse_osu

COLUMNS = (
    ("Avg Latency(us)",),
    ("Avg Latency(us)", "P50 Tail Lat(us)", "P99 Tail Lat(us)"),
    ("Avg Latency(us)", "Min Latency(us)", "Max Latency(us)", "Iterations"),
    ("Latency (us)",),
    ("Bandwidth (MB/s)", "P50 Tail BW(MB/s)"),
    ("MB/s", "Messages/s"),
    ("Overall(us)", "Compute(us)", "Pure Comm.(us)", "Overlap(%)"),
)
CENTS = st.integers(0, 10**12)
SIZES = st.lists(st.integers(0, 1 << 31), min_size=1, max_size=8, unique=True).map(sorted)


@st.composite
def runs(draw: st.DrawFn) -> tuple[str, list[tuple[str, dict[int | None, tuple[str, ...]]]]]:
    """A run as the programs print it, and what it says: for each datatype the words of each size."""
    columns = draw(st.sampled_from(COLUMNS))
    width = draw(st.sampled_from((18, 20)))
    checked = draw(st.booleans())
    text = "\n# OSU MPI Some Test v7.5\n"
    said = []
    for datatype in draw(st.sampled_from((("MPI_CHAR",), ("MPI_CHAR", "MPI_INT", "MPI_FLOAT")))):
        heads = (*columns, *(("Validation",) if checked else ()))
        text += (
            f"# Datatype: {datatype}.\n" + "# Size    " + "".join(f"{name:>{width}}" for name in heads) + "\n"
        )
        rows: dict[int | None, tuple[str, ...]] = {}
        for size in draw(SIZES):
            cents = [draw(CENTS) for _ in columns]
            rows[size] = tuple(f"{value // 100}.{value % 100:02}" for value in cents)
            words = (*rows[size], *(("Pass",) if checked else ()))
            text += f"{size:<10}" + "".join(f"{word:>{width}}" for word in words) + "\n"
        said.append((datatype, rows))
    return text, said


def figures(output: OsuOutput) -> list[float]:
    return [value for table in output.tables for row in table.rows for value in row.values.values()]


@given(runs())
def test_round_trip(run: tuple[str, list[tuple[str, dict[int | None, tuple[str, ...]]]]]) -> None:
    text, said = run
    output = parse_osu(text)
    assert output.validated == ("Validation" in text)
    read = [
        (table.datatype, {row.size: tuple(row.values.values()) for row in table.rows})
        for table in output.tables
    ]
    assert read == [
        (datatype, {size: tuple(map(float, words)) for size, words in rows.items()})
        for datatype, rows in said
    ]


@given(runs(), st.data())
def test_a_run_cut_anywhere_gives_no_new_figure(
    run: tuple[str, list[tuple[str, dict[int | None, tuple[str, ...]]]]], data: st.DataObject
) -> None:
    text, said = run
    try:
        output = parse_osu(text[: data.draw(st.integers(0, len(text)))])
    except BenchError:
        return
    whole = [float(word) for _, rows in said for words in rows.values() for word in words]
    assert figures(output) == whole[: len(figures(output))]


@given(runs(), st.data())
def test_a_changed_character_gives_an_error_or_what_the_text_then_says(
    run: tuple[str, list[tuple[str, dict[int | None, tuple[str, ...]]]]], data: st.DataObject
) -> None:
    text, _ = run
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    try:
        output = parse_osu(text)
    except BenchError:
        return
    words = [line.split()[1:] for line in text.split("\n") if not line.startswith("#")]
    numbers = [float(word) for line in words for word in line if word != "Pass"]
    assert figures(output) == numbers


@given(st.text(st.sampled_from("# OSUMPITestv75.\n01 9-+enaif()/:,[]%") | st.characters()), st.text())
def test_garbage_is_refused(text: str, errors: str) -> None:
    try:
        output = parse_osu(text, errors)
    except BenchError:
        return
    assert all(f"{value:.2f}".rstrip("0").rstrip(".") in text for value in figures(output))
