"""What is kept of each run: a line of ``rounds.jsonl``, and reading it back.  Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.cases import Facts, Figure
from benchmarks.errors import BenchError
from benchmarks.stats import Better
from benchmarks.typed import require_sample, require_types

PROBE = "probe"
"""The suite whose records say what each side uses, where a program does not say it itself.

Their case is the number of nodes.
"""

_NUMBER = re.compile("[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one side of a case in a round (below 0: warm-up, never counted).

    session: how many times the measurement had been started before; started: seconds since 1970; seconds:
    of wall time; error: why it gave no figures ("" if it did).
    """

    session: int
    round: int
    suite: str
    case: str
    side: str
    started: float
    seconds: float
    figures: tuple[Figure, ...] = ()
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""


def to_line(record: Record) -> str:
    """One line of JSON, with its end."""
    return json.dumps(asdict(record), separators=(",", ":")) + "\n"


def read_lines(text: str, *, where: str) -> tuple[Record, ...]:
    """Read what `to_line` wrote; a last line without an end was cut off by a crash and is passed over.

    Raises BenchError for a damaged line before it.
    """
    lines = text.split("\n")
    found: list[Record] = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            found.append(_record(json.loads(line)))
        except (
            BenchError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            name = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
            raise BenchError(
                f"line {number} of {where} is damaged: {name}{error}",
                hint="take that line out, or measure anew into another directory",
            ) from error
    return tuple(found)


def _record(data: dict[str, Any]) -> Record:
    figures = tuple(Figure(**{**item, "better": Better(item["better"])}) for item in data["figures"])
    changed = {"figures": figures, "facts": Facts(**data["facts"]), "notes": tuple(data["notes"])}
    record = Record(**{**data, **changed})
    require_types(record, Record, "the whole")
    for figure in figures:
        require_sample(figure.value, figure.message_bytes, figure.key)
    if record.suite == PROBE and not _NUMBER.fullmatch(record.case):
        raise ValueError(f"case is {record.case!r}, no number of nodes")
    return record
