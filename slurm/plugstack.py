"""plugstack.conf (spank(8)): which plugins it loads, and how a line is added and taken out again.

``parse``, ``add`` and ``remove`` are pure; the others read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from slurm.errors import SlurmError

PLUGIN = "bareboat.so"
_DEFAULT_CONF = "/etc/slurm/slurm.conf"
_DEPTH = 8
"""So many files may include each other; spank(8) names no limit, but a file that includes itself has none."""
_STATED = re.compile(r"^\s*PlugStackConfig\s*=\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class Kind(StrEnum):
    """What a line asks for."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    INCLUDE = "include"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that says something: what, of which plugin or file pattern, in which file, its arguments."""

    kind: Kind
    path: str
    file: str = ""
    arguments: tuple[str, ...] = ()


def parse(text: str, file: str = "") -> tuple[Entry, ...]:
    """Read the lines of a plugstack.conf; comments and what spank(8) does not name are passed over."""
    entries = []
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0] in set(Kind):
            entries.append(Entry(Kind(words[0]), words[1], file, tuple(words[2:])))
    return tuple(entries)


def add(text: str, plugin: str, stores: Iterable[str] = ()) -> str:
    """The text with exactly one line that requires a plugin; other lines for the same plugin go.

    With ``stores``, these become its arguments; without, a line that is there keeps those that it has.
    """
    arguments = [f"store={store}" for store in stores]
    if not arguments and [entry.kind for entry in parse(text) if entry.path == plugin] == [Kind.REQUIRED]:
        return text
    kept = remove(text, plugin)
    line = " ".join([Kind.REQUIRED, plugin, *arguments])
    return kept + ("" if kept.endswith("\n") or not kept else "\n") + f"{line}\n"


def remove(text: str, plugin: str) -> str:
    """The text without the lines that load a plugin."""
    lines = re.split(r"(?<=\n)", text)
    return "".join(line for line in lines if not any(entry.path == plugin for entry in _loads(line)))


def _loads(line: str) -> tuple[Entry, ...]:
    return tuple(entry for entry in parse(line) if entry.kind is not Kind.INCLUDE)


def read_entries(file: Path, depth: int = _DEPTH) -> tuple[Entry, ...]:
    """The plugins that a plugstack.conf loads, with those of the files that it includes, in their order.

    Raises:
        SlurmError: if the file cannot be read, or includes go round in circles.
    """
    if depth == 0:
        raise SlurmError(f"{file} is included too deeply; do files include each other?")
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise SlurmError(f"{file} cannot be read: {error.strerror}") from error
    found: list[Entry] = []
    for entry in parse(text, str(file)):
        if entry.kind is Kind.INCLUDE:
            pattern = Path(file.parent, entry.path)
            for included in sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))):
                found += read_entries(included, depth - 1)
        else:
            found.append(entry)
    return tuple(found)


def bareboats(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The entries that load a bareboat, from whatever prefix."""
    return tuple(entry for entry in entries if Path(entry.path).name == PLUGIN)


def find(environment: Mapping[str, str]) -> Path:
    """This site's plugstack.conf, existing or not: as slurm.conf says, else beside it.

    Args:
        environment: may name slurm.conf by SLURM_CONF; /etc/slurm/slurm.conf otherwise.

    Raises:
        SlurmError: if the directory of slurm.conf does not exist.
    """
    conf = Path(environment.get("SLURM_CONF") or _DEFAULT_CONF)
    if not conf.parent.is_dir():
        raise SlurmError(
            f"Slurm's configuration is not at {conf}",
            hint="set SLURM_CONF, or name the file that gets the plugin's line with --plugstack",
        )
    try:
        stated = _STATED.search(conf.read_text(errors="replace"))
    except OSError:
        stated = None
    return Path(conf.parent, stated[1] if stated else "plugstack.conf")
