"""A difference of two MPIs as text and as a JSON value.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .diff import Difference, Names
from .families import tables
from .mpilib import MpiLibrary
from .shown import printable

_MOST = 20
"""Names that a list for people shows."""


def diff_lines(found: Difference) -> list[str]:
    """For people: whether anything is lost first, then what, then the rest."""
    lines = [
        f"from {found.before.title} ({found.before.path})",
        f"to   {found.after.title} ({found.after.path})",
        "result: something is lost" if found.loses else "result: nothing is lost",
    ]
    if found.other_values:
        lines.append(
            f"values: {_values(found.before)} -> {_values(found.after)}: handles and constants differ, "
            "programs would have to be translated"
        )
    lines += [f"dropped: {_interface(item)} ({item.path})" for item in found.dropped]
    lines += _names("lost", found.lost)
    for item in found.resized:
        why = "; only its address counts" if item.marker else "; programs that are no PIE hold a copy"
        lines.append(f"size: {item.name} {item.before} -> {item.after} bytes{why}")
    for old, new in found.renamed:
        lines.append(
            f"soname: {old} -> {new}: programs on the bare host ask for the former; in images it is covered"
        )
    lines += [f"added: {_interface(item)} ({item.path})" for item in found.added]
    lines += _names("gained", found.gained)
    if found.internal:
        lines.append(f"beside: {found.internal} names that are no interface went, too")
    return [printable(line) for line in lines]


def diff_json(found: Difference) -> dict[str, Any]:
    """The same as a value for `json.dumps`, with all names."""
    return {
        "loses": found.loses,
        "from": _library(found.before),
        "to": _library(found.after),
        "dropped": [_library(item) for item in found.dropped],
        "added": [_library(item) for item in found.added],
        "lost": {item.role: list(item.names) for item in found.lost},
        "gained": {item.role: list(item.names) for item in found.gained},
        "internal": found.internal,
        "sizes": [
            {"name": i.name, "from": i.before, "to": i.after, "marker": i.marker} for i in found.resized
        ],
        "sonames": [{"from": old, "to": new} for old, new in found.renamed],
    }


def _library(item: MpiLibrary) -> dict[str, str]:
    return {
        "title": item.title,
        "family": item.family,
        "values": item.values,
        "role": item.role,
        "soname": item.soname,
        "path": item.path,
    }


def _values(item: MpiLibrary) -> str:
    return item.values or "unknown"


def _interface(item: MpiLibrary) -> str:
    return f"{tables().role_title(item.role)}, {item.soname}"


def _names(what: str, lists: tuple[Names, ...]) -> Iterator[str]:
    for item in lists:
        # The profiling name of each goes with it, and says no more.
        there = set(item.names)
        names = [name for name in item.names if name[0] not in "Pp" or name[1:] not in there]
        names.sort(key=lambda name: name.lower().startswith("mpix_"))  # what few programs use comes last
        yield f"{what}: {len(names)} of {tables().role_title(item.role)}"
        yield from (f"    {name}" for name in names[:_MOST])
        if len(names) > _MOST:
            yield f"    and {len(names) - _MOST} more"
