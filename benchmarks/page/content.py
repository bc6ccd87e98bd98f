"""What the page says, from the results: plain values, which the template lays out.  Pure."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.cases import BARE, CONTAINER
from benchmarks.page.figures import draw
from benchmarks.page.plots import plots_of
from benchmarks.report import format_comparison, format_estimate, format_value
from benchmarks.results import ADDED_TIMES, Results, Row
from benchmarks.shown import printable_all
from benchmarks.stats import MARGIN, Outcome, median

_TITLES = {
    "launch": "Start-up",
    "osu": "MPI: OSU micro-benchmarks",
    "npb": "NAS Parallel Benchmarks",
    "io": "Small input and output",
    "app": "Application",
    "latency": "Latency and bandwidth",
}
_LINES = {
    "launch": "Time from srun's start to its end.  Lower is better.",
    "osu": "Lower is better for times, higher for bandwidths and rates.",
    "npb": "Each run has checked its result against the published values.  Higher is better.",
    "io": "Lower is better for times, higher for rates.",
}
_STYLES = {
    Outcome.SAME: "good",
    Outcome.FASTER: "good",
    Outcome.SLOWER: "warn",
    Outcome.UNRESOLVED: "open",
    Outcome.NOT_COMPARED: "bad",
}
_OUTCOMES = {
    Outcome.SAME: "the same",
    Outcome.FASTER: "faster",
    Outcome.SLOWER: "slower",
    Outcome.UNRESOLVED: "unresolved",
    Outcome.NOT_COMPARED: "not compared",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """A number at the top of the page; style: a class of the template's style sheet."""

    value: str
    text: str
    style: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table; style: of its last cell."""

    cells: tuple[str, ...]
    style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; numbers: the columns that are aligned to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Line, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PlotPart:
    """A plot of a section, drawn."""

    key: str
    title: str
    svg: str


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter of the page; key: its anchor."""

    key: str
    title: str
    lines: tuple[str, ...] = ()
    figures: tuple[PlotPart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the page says."""

    title: str
    subtitle: str
    tiles: tuple[Tile, ...]
    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    repeat_lines: tuple[str, ...]
    command: str


def page_of(results: Results) -> Page:
    """Say what was found, in the order in which a reader asks."""
    results = printable_all(results)
    setting = results.setting
    done = max((len(row.bare) for row in results.rows), default=0)
    started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(setting.started)) if setting.started else ""
    where = f"on {_count(len(setting.nodes), 'node')} ({', '.join(setting.nodes)})"
    suites = tuple(dict.fromkeys(row.suite or results.suite for row in results.rows))
    return Page(
        title="Container against bare metal",
        subtitle=", ".join(filter(None, (setting.image, where, _count(done, "round"), started))),
        tiles=tuple(_tiles(results)),
        summary=tuple(_summary(results)),
        warnings=tuple(_warnings(results, done)),
        sections=(*(_suite(results, suite) for suite in suites), _machine(results)),
        repeat_lines=(
            f"{_count(setting.rounds, 'round')} after {setting.warmup} for warming up, seed {setting.seed}.",
        ),
        command=shlex.join(setting.command) if setting.command else "(not recorded)",
    )


def _tiles(results: Results) -> Iterator[Tile]:
    found = Counter(row.verdict.outcome for row in results.judged)
    for outcome in Outcome:
        if found[outcome]:
            yield Tile(str(found[outcome]), _OUTCOMES[outcome], _STYLES[outcome])
    if results.failures:
        yield Tile(str(len(results.failures)), "failed", "bad")


def _summary(results: Results) -> Iterator[str]:
    yield (
        "Each verdict compares medians of paired rounds.  “The same” means that the whole interval of the "
        f"ratio container / bare lies within 1 ± {MARGIN:g}; “unresolved”, that the rounds were too few."
    )
    judged = results.judged
    slower = [row for row in judged if row.verdict.outcome is Outcome.SLOWER]
    if slower:
        worst = max(slower, key=lambda row: row.verdict.percent)
        side = "" if worst.side == CONTAINER else f": {worst.side}"
        yield f"Slowest against bare: {worst.metric}{side}, {worst.verdict}."
    further = dict.fromkeys(row.side for row in judged if row.side != CONTAINER)
    if further:
        yield f"Verdicts are of these sides, too: {'; '.join(further)}."
    shown = {CONTAINER, *further}
    if apart := dict.fromkeys(row.side for row in results.rows if row.side not in shown):
        yield f"Not counted above, but shown below: {'; '.join(apart)}."


def _warnings(results: Results, done: int) -> Iterator[str]:
    if results.stopped:
        yield f"{results.stopped}: {done} of {results.setting.rounds} rounds are measured."
    yield from results.notes
    for failure in results.failures:
        hint = f" ({failure.hint})" if failure.hint else ""
        yield f"Failed: {failure.metric}: {failure.text}{hint}"


def _suite(results: Results, suite: str) -> Section:
    rows = [row for row in results.rows if (row.suite or results.suite) == suite]
    labels = list(dict.fromkeys((BARE, *(row.side for row in results.rows))))
    figures = tuple(
        PlotPart(key, drawing.title, draw(key, drawing, labels))
        for key, drawing in (
            (f"{suite}-{number}", drawing) for number, drawing in enumerate(plots_of(suite, rows), 1)
        )
    )
    line = _LINES.get(suite)
    tables = (_derived_table(results), _rows_table(rows)) if suite in ADDED_TIMES else (_rows_table(rows),)
    return Section(
        suite,
        _TITLES.get(suite, suite),
        (line,) if line else (),
        figures,
        tuple(table for table in tables if table.rows),
    )


def _derived_table(results: Results) -> Table:
    lines = tuple(
        Line((item.name, item.side, f"{format_estimate(item.estimate, signed=True)} {item.unit}"))
        for item in results.derived
    )
    return Table("What follows from several figures", ("what", "side", "estimate"), lines, (2,))


def _rows_table(rows: Iterable[Row]) -> Table:
    lines = []
    for row in rows:
        bare, other = (f"{format_value(median(values))} {row.unit}" for values in (row.bare, row.container))
        cells = (row.metric, row.side, bare, other, *format_comparison(row.comparison), str(row.verdict))
        lines.append(Line(cells, _STYLES[row.verdict.outcome]))
    columns = ("metric", "side", "bare", "this side", "ratio", "added", "verdict")
    return Table("All figures", columns, tuple(lines), (2, 3, 4, 5))


def _machine(results: Results) -> Section:
    nodes = tuple(
        Line(
            (
                node.host,
                node.model,
                node.kernel,
                f"{node.memory_mib} MiB" if node.memory_mib else "",
                node.governor or "not told",
                node.megahertz or "not told",
                node.load,
                "; ".join(f"{side}: {cpus}" for side, cpus in node.binding),
            )
        )
        for node in results.setting.machine
    )
    columns = ("node", "processor", "kernel", "memory", "governor", "MHz", "load before", "binding of ranks")
    sides = tuple(
        Line((facts.side, facts.place, facts.library, facts.library_digest[:16], facts.transport))
        for facts in results.sides
    )
    commands = tuple(Line((item.side, item.command, item.version)) for item in results.commands)
    versions = tuple(Line(pair) for pair in results.setting.versions)
    tables = (
        Table("Nodes", columns, nodes),
        Table(
            "MPI and transport, as each side really used them",
            ("side", "place", "library", "digest", "transport"),
            sides,
        ),
        Table("How each side starts a program", ("side", "command", "version"), commands),
        Table("Versions", ("what", "version"), versions),
    )
    return Section("machine", "Machine and libraries", tables=tuple(table for table in tables if table.rows))


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
