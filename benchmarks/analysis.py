"""Says what the records of a measurement come to.  Pure, but for `read_results`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cases import BARE, CONTAINER, Facts, Figure
from benchmarks.chance import correct, sign_rank
from benchmarks.engine import CellKey, Tally, complete_rounds
from benchmarks.errors import BenchError
from benchmarks.folder import RESULTS, SETTING, Folder, Kept, Outline, read_regular
from benchmarks.records import PROBE, Record
from benchmarks.report import from_json
from benchmarks.results import ADDED_TIMES, Derived, Failure, Results, Row, SideFacts
from benchmarks.stats import MIN_ROUNDS, Comparison, Outcome, Point, Verdict, compare, fit_added, judge

_UNKNOWN = "a library that it did not name"
_UNSEEN = "unknown"
"""How a transport begins that no counter has shown."""

_VARIES = "varies: "

FigureKey = tuple[str, int | None]
"""Column and message size."""


@dataclass(frozen=True, slots=True)
class _Samples:
    """What one side of a case gave beside bare in the rounds that both have."""

    outline: Outline
    side: str
    bare: tuple[Record, ...]
    other: tuple[Record, ...]


def analyse(kept: Kept, records: Sequence[Record], *, stopped: str = "") -> Results:
    """Make all rows.  stopped: why the measurement ended early, "" if it did not."""
    sides = {(one.suite, one.key): one.sides for one in kept.outlines}
    counted = [record for record in records if record.suite != PROBE]
    rounds = complete_rounds(counted, lambda cell: sides.get(cell, ()))
    probes = _probes(records)
    rows: list[Row] = []
    lines: dict[tuple[str, int, str], list[_Samples]] = {}
    facts: dict[SideFacts, None] = {}
    unknown: dict[str, None] = {}
    for one in kept.outlines:
        for samples in _pair(one, rounds):
            bare = _used(samples.bare, probes, one, BARE)
            other = _used(samples.other, probes, one, samples.side)
            place = _place(one.nodes)
            facts |= {
                SideFacts(
                    side, place, used.library, used.digest or "unknown", used.transport or "unknown"
                ): None
                for side, used in ((BARE, bare), (samples.side, other))
                if used.library
            }
            difference = _difference(bare, other, samples.side)
            if one.mpi and not difference and (not bare.transport or bare.transport.startswith(_UNSEEN)):
                unknown[
                    f"which way messages took {place} is not known of either side: "
                    "the rows are compared as if it were the same"
                ] = None
            rows += _rows(samples, difference, kept.setting.seed)
            timed = all(record.figures for record in (*samples.bare, *samples.other))
            if one.suite in ADDED_TIMES and timed and not difference:
                lines.setdefault((one.title, one.nodes, samples.side), []).append(samples)
    return Results(
        suite="run",
        setting=kept.setting,
        rows=_judged(rows),
        derived=tuple(figure for line in lines.values() for figure in _derive(line, kept.setting.seed)),
        sides=tuple(facts),
        commands=kept.commands,
        failures=(*kept.failures, *_set_aside(counted)),
        notes=(*kept.notes, *_unknown(records), *unknown, *_notes(counted)),
        stopped=stopped,
    )


def read_results(place: Path) -> Results:
    """Read the results of a directory of `bareboat bench run`, or a file of results.

    A measurement that did not come to write them is made up from what it kept.  Raises BenchError for what
    cannot be read, or is none of ours.
    """
    source = place / RESULTS if place.is_dir() else place
    if source != place and not source.exists() and (place / SETTING).exists():
        folder = Folder(place)
        return analyse(folder.kept(), folder.records(), stopped="it did not come to its end")
    try:
        return from_json(read_regular(source))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BenchError(
            f"the results {source} cannot be read: {why}",
            hint="name a directory of `bareboat bench run`, or a file of results",
        ) from error
    except BenchError as error:
        raise BenchError(f"{source}: {error}", hint=error.hint) from error


def _pair(one: Outline, rounds: Mapping[tuple[CellKey, int], Mapping[str, Record]]) -> Iterable[_Samples]:
    cell = one.suite, one.key
    found = [
        both for (other, _), both in sorted(rounds.items(), key=lambda item: item[0][1]) if other == cell
    ]
    for side in one.sides:
        good = [
            (both[BARE], both[side])
            for both in found
            if side != BARE and all(name in both and not both[name].error for name in (BARE, side))
        ]
        if good:
            yield _Samples(one, side, tuple(pair[0] for pair in good), tuple(pair[1] for pair in good))


def _rows(samples: _Samples, difference: str, seed: int) -> Iterable[Row]:
    one = samples.outline
    bare, other = (_by_figure(records) for records in (samples.bare, samples.other))
    common = [key for key in bare[0] if all(key in run for run in (*bare, *other))]
    columns = len({column for column, _ in common})
    for key in common:
        figure = bare[0][key]
        values = tuple(tuple(run[key].value for run in runs) for runs in (bare, other))
        comparison = None if difference else compare(*values, seed=seed)
        yield Row(
            metric=_metric(one, key, several=columns > 1),
            unit=figure.unit,
            better=figure.better,
            nodes=one.nodes,
            ranks=one.ranks,
            message_bytes=figure.message_bytes,
            bare=values[0],
            container=values[1],
            comparison=comparison,
            verdict=Verdict(Outcome.NOT_COMPARED, reason=difference),
            side=samples.side,
            suite=one.suite,
            case=one.title,
            figure=figure.key,
        )


def _judged(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The same with the verdicts that all of them together allow."""
    alone = [sign_rank(row.bare, row.container) for row in rows if row.comparison]
    chances = zip(correct(alone), alone, strict=True)

    def judged(row: Row, comparison: Comparison) -> Row:
        chance, own = next(chances)
        return replace(
            row, verdict=judge(comparison, row.better, chance=chance, alone=own, metrics=len(alone))
        )

    return tuple(judged(row, row.comparison) if row.comparison else row for row in rows)


def _derive(line: Sequence[_Samples], seed: int) -> tuple[Derived, ...]:
    """Added time = once a node + for each rank on it (of one node, as nodes enter side by side)."""
    times = [
        {
            bare.round: (bare.figures[0].value, other.figures[0].value)
            for bare, other in zip(one.bare, one.other, strict=True)
        }
        for one in line
    ]
    common = sorted(set.intersection(*map(set, times)))
    if len({one.outline.ranks for one in line}) < 2 or len(common) < MIN_ROUNDS:
        return ()
    points = [
        Point(
            one.outline.ranks / one.outline.nodes,
            *(tuple(found[number][at] for number in common) for at in range(2)),
        )
        for one, found in zip(line, times, strict=True)
    ]
    fitted = fit_added(points, seed=seed)
    first = line[0]
    unit = first.bare[0].figures[0].unit
    nodes = "1 node" if first.outline.nodes == 1 else f"{first.outline.nodes} nodes"
    return (
        Derived(f"{first.outline.title}: added time a node ({nodes})", unit, fitted.start, first.side),
        Derived(
            f"{first.outline.title}: added time a rank of a node ({nodes})", unit, fitted.slope, first.side
        ),
    )


def _by_figure(records: Iterable[Record]) -> list[dict[FigureKey, Figure]]:
    return [{(figure.key, figure.message_bytes): figure for figure in record.figures} for record in records]


def _metric(one: Outline, key: FigureKey, *, several: bool) -> str:
    column, size = key
    words = [one.key, *([column] if several else []), *([format_bytes(size)] if size is not None else [])]
    return ", ".join(words)


def _probes(records: Iterable[Record]) -> dict[tuple[str, int], list[Facts]]:
    """What each side was seen to use, by side and number of nodes."""
    found: dict[tuple[str, int], list[Facts]] = {}
    for record in records:
        if record.suite == PROBE and not record.error:
            found.setdefault((record.side, int(record.case)), []).append(record.facts)
    return found


def _unknown(records: Iterable[Record]) -> Iterable[str]:
    """Say what could not be asked: then no difference between the sides would be seen."""
    for record in records:
        if record.suite == PROBE and record.error:
            yield (
                f"what {record.side} uses {_place(int(record.case))} is not known: "
                f"{record.error.partition(chr(10))[0]}"
            )


def _used(
    records: Sequence[Record], probes: Mapping[tuple[str, int], Sequence[Facts]], one: Outline, side: str
) -> Facts:
    """Sum up what a side used over all its runs; what varies is named as such."""
    work = one_of(record.facts.work for record in records)
    if not one.mpi:
        return Facts(work=work)
    seen = probes.get((side, one.nodes)) or probes.get((side, min(one.nodes, 2))) or (Facts(),)

    def of(name: str) -> str:
        said = {value for record in records if (value := getattr(record.facts, name))}
        asked = {getattr(facts, name) for facts in seen} - {""}
        # A program's counters do not tell whether ranks could read each other's memory; the probe asked.
        same = {value.partition(";")[0] for value in asked} == said
        return one_of(asked if same or not said else said)

    return Facts(of("library"), of("digest"), of("transport"), work)


def _difference(bare: Facts, other: Facts, side: str) -> str:
    """Say why two sides must not be compared, or ""."""
    name = "the container" if side == CONTAINER else side
    if bare.library != other.library:
        return f"bare used {bare.library or _UNKNOWN}, {name} {other.library or _UNKNOWN}"
    if bare.digest != other.digest:
        return f"two builds of {bare.library}"
    if bare.transport != other.transport:
        return f"bare went by {bare.transport}, {name} by {other.transport}"
    if bare.work != other.work:
        return f"bare {bare.work}, {name} {other.work}"
    # Over the same ones: then runs of a round may differ all the same.
    for what, used in (("library", bare.library), ("build", bare.digest), ("transport", bare.transport)):
        if used.startswith(_VARIES):
            return f"the {what} of both sides {used.replace(_VARIES, 'varied between runs: ')}"
    return ""


def _place(nodes: int) -> str:
    return "inside a node" if nodes == 1 else "between nodes"


def _lost(records: Sequence[Record]) -> dict[tuple[str, str, str], Record]:
    """What gave no figure in the end, with its last error: it was set aside, or never ran well."""
    tally = Tally.of(records)
    good = {(record.suite, record.case, record.side) for record in records if not record.error}
    last = {(record.suite, record.case, record.side): record for record in records}
    return {key: record for key, record in last.items() if key not in good or tally.is_lost(key[:2], key[2])}


def _set_aside(records: Sequence[Record]) -> tuple[Failure, ...]:
    return tuple(
        Failure(f"{suite}: {case}, {side}", record.error, record.hint)
        for (suite, case, side), record in _lost(records).items()
    )


def _notes(records: Sequence[Record]) -> tuple[str, ...]:
    """What programs noted, and single runs that failed, of sides that went on."""
    lost = _lost(records)
    runs = Counter((record.suite, record.case, record.side) for record in records)
    failed: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        key = (record.suite, record.case, record.side)
        if record.error and key not in lost:
            failed.setdefault(key, []).append(record)
    told = [
        f"{len(found)} of {runs[key]} runs of {key[0]}: {key[1]}, {key[2]} failed, and their rounds are left "
        f"out: {found[-1].error.partition(chr(10))[0]}"
        for key, found in failed.items()
    ]
    said = Counter((f"{record.suite}, {record.side}", note) for record in records for note in record.notes)
    return (
        *told,
        *(
            f"{where}: {note} ({count} {'run' if count == 1 else 'runs'})"
            for (where, note), count in said.items()
        ),
    )


def one_of(values: Iterable[str]) -> str:
    """The one value, or all of them, named as such."""
    distinct = sorted(set(values))
    return (_VARIES if len(distinct) > 1 else "") + " | ".join(distinct)


def format_bytes(size: int) -> str:
    """8 B, 64 KiB, 1 MiB."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"
