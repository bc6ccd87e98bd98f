"""The configuration of ``srun --multi-prog``: which rank runs which program.  Pure.

Source: srun(1), MULTIPLE PROGRAM CONFIGURATION.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slurm.errors import SlurmError

_RANKS = re.compile(r"[0-9]{1,9}(?:-[0-9]{1,9}(?::[0-9]{1,9})?)?", re.ASCII)
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"[^"]*"|'[^']*')+""")


def parse_multi_prog(text: str) -> tuple[tuple[str, str], ...]:
    """Read a configuration as pairs (ranks, program), in its order; ``ranks`` as written: ``0-3,5`` or ``*``.

    Raises:
        SlurmError: if a line names no program.
    """
    return tuple(_entries(text))


def programs_of(text: str, ranks: tuple[int, ...]) -> tuple[str, ...]:
    """The programs that any of ``ranks`` runs, each once, in the configuration's order.

    Raises:
        SlurmError: see :func:`parse_multi_prog`.
    """
    found = [
        program for wanted, program in parse_multi_prog(text) if any(_holds(wanted, rank) for rank in ranks)
    ]
    return tuple(dict.fromkeys(found))


def _entries(text: str) -> Iterator[tuple[str, str]]:
    for line in text.replace("\\\n", " ").split("\n"):
        words = _WORD.findall(line)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise SlurmError(
                f"the --multi-prog configuration has a line without a program: {line.strip()!r}",
                hint="write: RANKS PROGRAM [ARGUMENT...]",
            )
        yield words[0], words[1].strip("\"'")


def _holds(ranks: str, rank: int) -> bool:
    if ranks == "*":
        return True
    for part in ranks.strip("[]").split(","):
        if not _RANKS.fullmatch(part):
            continue
        first, _, rest = part.partition("-")
        last, _, stride = rest.partition(":")
        if rank in range(int(first), int(last or first) + 1, max(1, int(stride or 1))):
            return True
    return False
