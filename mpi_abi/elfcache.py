"""What was read from ELF files, remembered for the time of one decision.

Files are open only while they are read: a process that held every library and plugin of an MPI open would
run out of file descriptors.
"""

from __future__ import annotations

from collections.abc import Mapping

from .elf import open_as, open_elf
from .elfcode import ElfCode
from .elftypes import ElfFacts, Symbol, machine_name
from .errors import unreadable
from .files import read_start

_MOST_NAMES, _MOST_OF_ONE, _MOST_PUBLIC = 300_000, 100_000, 5_000
"""Symbols that are remembered, of all files and of one: a program may name any number of huge libraries.

The standard's own, of one file, are fewer: MPI 5 has some 1300 with the profiling names.
"""


class ElfCache:
    """Answers about ELF files by host path; a file is read once for each kind of question, as room allows.

    All methods raise AbiError as `elf.open_elf` and `elf.Elf` do; errors show the first name a file was asked
    by.
    """

    def __init__(self) -> None:
        self._facts: dict[str, ElfFacts] = {}
        self._names: dict[tuple[str, str], frozenset[str]] = {}
        self._found: dict[tuple[str, tuple[str, ...]], Mapping[str, Symbol]] = {}
        self._held = 0
        self._shown: dict[str, str] = {}
        self._matches: dict[tuple[str, str], str] = {}
        self._public: dict[str, frozenset[str]] = {}
        self._reached: dict[tuple[str, frozenset[str]], tuple[frozenset[str], frozenset[str]]] = {}

    def facts(self, host_path: str, *, shown: str = "") -> ElfFacts:
        """What the loader decides by."""
        if host_path not in self._facts:
            self._shown.setdefault(host_path, shown or host_path)
            with open_elf(host_path, shown=self._shown[host_path]) as elf:
                self._facts[host_path] = elf.facts
        return self._facts[host_path]

    def exports(self, host_path: str) -> frozenset[str]:
        """Names of all symbols that the file defines for others."""
        return self._read_names(host_path, "exports")

    def undefined(self, host_path: str) -> frozenset[str]:
        """Names of all symbols that others must define (weak ones are not among them)."""
        return self._read_names(host_path, "undefined")

    def reached(self, host_path: str, names: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Of what others must define: the names bound at start, and those that calls of ``names`` may use."""
        key = host_path, names
        if key not in self._reached:
            with open_as(ElfCode, host_path, shown=self._shown.get(host_path, "")) as elf:
                self._reached[key] = elf.bound_at_start, elf.reached(names)
        return self._reached[key]

    def _read_names(self, host_path: str, which: str) -> frozenset[str]:
        if (host_path, which) in self._names:
            return self._names[host_path, which]
        with open_elf(host_path, shown=self._shown.get(host_path, "")) as elf:
            names = elf.exports if which == "exports" else elf.undefined
        if len(names) <= _MOST_OF_ONE:
            self._held += len(names)
            if self._held > _MOST_NAMES:
                self._names.clear()
                self._held = len(names)
            self._names[host_path, which] = names
        return names

    def find(self, host_path: str, names: tuple[str, ...]) -> Mapping[str, Symbol]:
        """Those of ``names`` that the file exports."""
        if (host_path, names) not in self._found:
            with open_elf(host_path, shown=self._shown.get(host_path, "")) as elf:
                found = ((name, elf.find(name)) for name in names)
                self._found[host_path, names] = {name: symbol for name, symbol in found if symbol}
        return self._found[host_path, names]

    def public(self, host_path: str) -> frozenset[str]:
        """Those exports that are functions of the MPI standard, by their names."""
        if host_path in self._public:
            return self._public[host_path]
        names = frozenset(n for n in self.exports(host_path) if n.startswith(("MPI_", "PMPI_")))
        if len(names) <= _MOST_PUBLIC:
            self._public[host_path] = names
        return names

    def text(self, host_path: str, name: str) -> str:
        """The C string in an exported character array, or ""."""
        with open_elf(host_path, shown=self._shown.get(host_path, "")) as elf:
            symbol = elf.find(name)
            return elf.text_at(symbol) if symbol else ""

    def match(self, host_path: str, pattern: str) -> str:
        """The first group of a regular expression over the constants of a file, "" if it is not there.

        That takes milliseconds a megabyte, so the answer is kept.
        """
        if (host_path, pattern) not in self._matches:
            with open_elf(host_path, shown=self._shown.get(host_path, "")) as elf:
                self._matches[host_path, pattern] = elf.search(pattern.encode("latin-1"))
        return self._matches[host_path, pattern]

    def objects(self, host_path: str) -> Mapping[str, int]:
        """Exported data objects: name -> size in bytes."""
        with open_elf(host_path, shown=self._shown.get(host_path, "")) as elf:
            return elf.objects

    def copies(self, host_path: str) -> Mapping[str, int]:
        """Objects that a program copies out of libraries: name -> size in bytes."""
        with open_elf(host_path, shown=self._shown.get(host_path, "")) as elf:
            return elf.copies


def file_machine(host_path: str, *, shown: str = "") -> str | None:
    """Architecture of a file by its header, None if it is not ELF.

    Raises AbiError if it is unreadable, which names it as ``shown`` (default: ``host_path``).
    """
    try:
        return machine_name(read_start(host_path, 64))
    except OSError as error:
        raise unreadable(shown or host_path, error) from error
