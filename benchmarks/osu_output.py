"""Reads what OSU's micro-benchmarks 7.5 print, and ours (``benchmarks/src/osu``) in the same format.  Pure.

A run ends in tables or in one of four errors: it did not start to measure (`OsuUsage`, `OsuRefused`), it
found wrong data (`OsuInvalid`), or its output is none that is known (`OsuGarbled`).  A figure is what a line
says under a heading that is known, or the whole output is refused.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.errors import BenchError
from benchmarks.excerpts import clip, last_lines


class OsuUsage(BenchError):
    """The program printed how it is called, and no figure."""


class OsuRefused(BenchError):
    """The program would not run so: number of ranks, nodes or neighbours."""


class OsuInvalid(BenchError):
    """The program compared what arrived, and it was wrong."""


class OsuGarbled(BenchError):
    """The output is damaged, incomplete, or not a benchmark's."""


@dataclass(frozen=True, slots=True)
class OsuRow:
    """A line of a table: message size in bytes (None: the test has none), values, what validation said."""

    size: int | None
    values: Mapping[str, float]
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class OsuTable:
    """A table of one datatype: headings of its values, lines by ascending size.

    name: of tables that have one ("Message Rate Profile"); datatype: e.g. "MPI_CHAR", "" if none is printed.
    """

    columns: tuple[str, ...]
    rows: tuple[OsuRow, ...]
    datatype: str = ""
    name: str = ""

    def column(self, heading: str) -> dict[int | None, float]:
        """The values below a heading, by size.

        Raises OsuGarbled where the heading is missing, or a value is 0: nothing takes no time, so that the
        figure is below what was printed of it.
        """
        found = self.share(heading)
        for size, value in found.items():
            if value <= 0:
                raise OsuGarbled(
                    f"{heading} of {_title(size)} is 0: too small for the digits that are printed"
                )
        return found

    def share(self, heading: str) -> dict[int | None, float]:
        """The same of a column that may hold 0, as a share of something does.

        Raises OsuGarbled where the heading is missing.
        """
        if heading not in self.columns:
            raise OsuGarbled(f"the table has no column {heading!r}, but {', '.join(self.columns)}")
        return {row.size: row.values[heading] for row in self.rows}


@dataclass(frozen=True, slots=True)
class OsuOutput:
    """A whole run: the test's name ("MPI Latency"), OSU's version, tables, and what its comment lines say.

    facts: e.g. {"Synchronization": "MPI_Win_fence", "pairs": "2"}.  osu_init has one table of one row,
    osu_hello none.
    """

    title: str
    version: str
    tables: tuple[OsuTable, ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def validated(self) -> bool:
        """Whether the program compared the data of every row (it then passed: else there is no output)."""
        rows = [row for table in self.tables for row in table.rows]
        return bool(rows) and all(row.passed for row in rows)


_TITLE = re.compile(r"# OSU (.+?) Test v(\d\S*)")
_DATATYPE = re.compile(r"# Datatype: (\w+)\.")
_FACT = re.compile(r"# ([A-Za-z][\w .]*?)\s*[:=]\s*(\S.*?)\s*")
_BRACKET = re.compile(r"\[ ([a-z ]+): (\w+) \]")
_SIZE = "# Size"
_VALIDATION = "Validation"
_HEADING = re.compile(
    r"\s*("
    r"(?:Avg|Min|Max) Latency\(us\)|Latency \(us\)|Bandwidth \(MB/s\)|MB/s|Messages/s"
    r"|Iterations|Transmit Size|P\d+ Tail (?:Lat\(us\)|BW\(MB/s\))"
    r"|(?:Overall|Compute|Coll\. Init|MPI_Test|MPI_Wait|Pure Comm\.|Min Comm\.|Max Comm\.)\(us\)|Overlap\(%\)"
    r"|Validation)(?=\s|$)"
)
_NAMED = ("# Uni-directional Bandwidth (MB/sec)", "# Message Rate Profile")
_WINDOWS = re.compile(r"#(?:\s+\d+)+")
_INIT = re.compile(r"nprocs: (\d+), min: ([\d.]+) ms, max: ([\d.]+) ms, avg: ([\d.]+) ms")
_HELLO = re.compile(r"This is a test with (\d+) processes")
_NOISE = re.compile(r"Dimensions size = [\d ]+|Time took to create topology graph: ?[\d.]+ us\.")
_REFUSALS = (
    "This test requires ",
    "ERROR: the given neighborhood radius",
    "Please run this benchmark on more than 1 node",
)
_FAILED = "DATA VALIDATION ERROR"
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_osu(text: str, errors: str = "") -> OsuOutput:
    """Read a run's standard output; ``errors`` is its standard error, used only to say why there is no table.

    Raises OsuUsage, OsuRefused, OsuInvalid or OsuGarbled.
    """
    lines = text.split("\n")
    said = [*lines, *errors.split("\n")]
    _look_for_refusal(said)
    read = _Reader()
    if lines[-1].strip():
        raise OsuGarbled(f"the last line has no end, and may have lost digits: {clip(lines[-1])!r}")
    for number, line in enumerate(lines, 1):
        read.take(line.rstrip(), number)
    return read.end(said)


def _look_for_refusal(lines: list[str]) -> None:
    for line in lines:
        if _FAILED in line or _fails(line):
            raise OsuInvalid(
                f"the data that arrived was wrong: {clip(line)}",
                hint="no figure of this run counts: the MPI library, the transport or memory is at fault",
            )
        if any(refusal in line for refusal in _REFUSALS):
            raise OsuRefused(
                f"the program refused to run: {clip(line)}",
                hint="start it with the number of ranks and nodes that it takes",
            )
    usage = [line for line in lines if line.startswith("Usage: ")]
    if usage:
        wrong = [line.strip() for line in lines if line.startswith("Invalid option")]
        why = f": {clip(wrong[0])}" if wrong else ""
        raise OsuUsage(
            f"the program printed its usage and no result{why} ({clip(usage[0])})",
            hint="give it options that its -h names",
        )


def _fails(line: str) -> bool:
    words = line.split()
    return len(words) > 2 and words[0].isdecimal() and "Fail" in words[1:]


class _Reader:
    """Takes an output line by line; what a line may be depends on those before it."""

    def __init__(self) -> None:
        self.title = self.version = self.datatype = self.name = ""
        self.facts: dict[str, str] = {}
        self.tables: list[OsuTable] = []
        self.columns: tuple[str, ...] | None = None
        self.sized = False
        self.rows: list[OsuRow] = []

    def take(self, line: str, number: int) -> None:
        if not line.strip() or _NOISE.fullmatch(line.strip()):
            return
        if match := _TITLE.fullmatch(line):
            if self.title:
                raise OsuGarbled(f"line {number} begins a second run: {clip(line)!r}")
            self.title, self.version = match[1], match[2]
        elif line.startswith("#"):
            self._comment(line)
        elif self.title and self._starts(line, number):
            return
        else:
            self._row(line, number)

    def _comment(self, line: str) -> None:
        if match := _DATATYPE.fullmatch(line):
            self._close()
            self.datatype = match[1]
        elif line in _NAMED:
            self._close()
            self.name = line.removeprefix("# ")
        elif columns := _read_heading(line):
            self._close()
            self.columns, self.sized = columns, line.startswith(_SIZE) or bool(_WINDOWS.fullmatch(line))
        elif brackets := _BRACKET.findall(line):
            self.facts.update(brackets)
        elif line.startswith("# net bytes "):  # benchmarks.probe_output reads these
            return
        elif match := _FACT.fullmatch(line):
            self.facts[match[1]] = match[2]
        elif line.startswith(_SIZE):
            raise OsuGarbled(f"the heading holds a column that is not known: {clip(line)!r}")

    def _starts(self, line: str, number: int) -> bool:
        """Read a line of osu_init or osu_hello."""
        if match := _INIT.fullmatch(line):
            self.facts["processes"] = match[1]
            names = tuple(f"{name} (ms)" for name in ("min", "max", "avg"))
            values = {name: _number(match[at], number) for at, name in enumerate(names, 2)}
            self.tables.append(OsuTable(names, (OsuRow(None, values),)))
            return True
        if match := _HELLO.fullmatch(line):
            self.facts["processes"] = match[1]
            return True
        return False

    def _row(self, line: str, number: int) -> None:
        if self.columns is None or not self.title:
            raise OsuGarbled(f"line {number} is no row, as no heading was before it: {clip(line)!r}")
        words = line.split()
        size: int | None = None
        if self.sized:
            if not re.fullmatch(r"[0-9]+", words[0]):
                raise OsuGarbled(f"line {number} begins with no message size: {clip(line)!r}")
            size = int(words.pop(0))
        passed: bool | None = None
        names = self.columns
        if _VALIDATION in names and len(words) == len(names):
            said = words.pop(names.index(_VALIDATION))
            names = tuple(name for name in names if name != _VALIDATION)
            if said != "Pass":
                raise OsuGarbled(f"line {number} has no Pass or Fail, but {clip(said)!r}")
            passed = True
        if len(words) != len(names):
            raise OsuGarbled(f"line {number} holds {len(words)} values of {len(names)}: {clip(line)!r}")
        values = {name: _number(word, number) for name, word in zip(names, words, strict=True)}
        self.rows.append(OsuRow(size, values, passed))

    def _close(self) -> None:
        if self.columns is None:
            return
        columns = tuple(name for name in self.columns if name != _VALIDATION)
        if not self.rows:
            of = f" of {self.datatype}" if self.datatype else ""
            raise OsuGarbled(f"the table{of} holds no row: the program ended before its first figure")
        if not self.sized and len(self.rows) > 1:
            raise OsuGarbled("a test without sizes has more than one row")
        sizes = [row.size for row in self.rows if row.size is not None]
        if any(later <= size for size, later in itertools.pairwise(sizes)):
            raise OsuGarbled("the sizes do not ascend: output of several runs, or damaged")
        self.tables.append(OsuTable(columns, tuple(self.rows), self.datatype, self.name))
        self.columns, self.rows = None, []

    def end(self, said: Sequence[str]) -> OsuOutput:
        if not self.title:
            raise OsuGarbled(
                "no line '# OSU ... Test v...' is in the output", hint=last_lines("\n".join(said))
            )
        self._close()
        if not self.tables and "processes" not in self.facts:
            raise OsuGarbled(
                f"the output of {self.title} ends before its table", hint=last_lines("\n".join(said))
            )
        return OsuOutput(self.title, self.version, tuple(self.tables), self.facts)


def _read_heading(line: str) -> tuple[str, ...]:
    """The headings of the value columns, () where the line has none or one that is not known."""
    if _WINDOWS.fullmatch(line):
        return tuple(line.split()[1:])
    rest = line.removeprefix(_SIZE) if line.startswith(_SIZE) else line.removeprefix("#")
    names: list[str] = []
    while rest.strip():
        match = _HEADING.match(rest)
        if match is None:
            return ()
        names.append(match[1])
        rest = rest[match.end() :]
    return tuple(names) if len(set(names)) == len(names) else ()


def _number(word: str, number: int) -> float:
    """Read a figure as C prints it with %.2f: no sign, exponent, or word like nan."""
    value = float(word) if _NUMBER.fullmatch(word) else math.nan
    if not math.isfinite(value):
        raise OsuGarbled(f"line {number} holds {clip(word)!r} where a figure of 0 or more should be")
    return value


def _title(size: int | None) -> str:
    return "the test" if size is None else f"{size} bytes"
