"""An inventory of a host's MPIs as text and as a JSON value.  Pure."""

from __future__ import annotations

from typing import Any

from .inventory import Entry, Inventory
from .shown import printable


def inventory_lines(inventory: Inventory) -> list[str]:
    """The MPIs of a host, one paragraph each."""
    lines: list[str] = []
    for entry in inventory.entries:
        lines += _entry_lines(entry)
    lines += [f"note: {note}" for note in inventory.notes]
    lines = lines if inventory.entries else ["no MPI was found on this host", *lines]
    return [printable(line) for line in lines]


def _entry_lines(entry: Entry) -> list[str]:
    host = entry.host
    lines = [f"{host.title}  {host.prefix}"]
    if entry.answer.text:
        lines.append(f"    says     {entry.answer.line}")
    for item in host.libraries:
        count = len(host.exports[item.role])
        lines.append(f"    {item.role:13} {item.soname:31} {count:5} symbols  {item.real}")
    lines.append("    exports  " + ", ".join(f"{count} {name}*" for name, count in entry.counts.items()))
    lines.append(f"    values   {entry.values or 'unknown'}")
    if entry.glibc.library:
        newest = f", with all that it needs {entry.glibc.closure} ({entry.glibc.newest})"
        more = newest if entry.glibc.closure != entry.glibc.library else ", also with all that it needs"
        lines.append(f"    glibc    {entry.glibc.library}{more}")
    for fabric in entry.fabrics:
        names = ", ".join(_name(path) for path in fabric.libraries)
        plugins = ", ".join(_name(path) for path in fabric.plugins)
        lines.append(f"    fabric   {fabric.group}: {names}" + (f"; plugins {plugins}" if plugins else ""))
    lines.append(f"    speaks   {', '.join(entry.spoken.interfaces) or 'no PMI'}")
    lines.append(f"    auto     {'takes it' if entry.taken else 'does not take it'}: {entry.why}")
    lines += [f"    note: {note}" for note in entry.notes]
    return lines


def inventory_json(inventory: Inventory) -> dict[str, Any]:
    """The same as a value for `json.dumps`."""
    return {"mpis": [_entry_json(entry) for entry in inventory.entries], "notes": list(inventory.notes)}


def _entry_json(entry: Entry) -> dict[str, Any]:
    host = entry.host
    return {
        "family": host.family,
        "product": host.product,
        "title": host.title,
        "version": host.version,
        "says": entry.answer.text,
        "prefix": host.prefix,
        "machine": host.machine,
        "libraries": [
            {"role": i.role, "soname": i.soname, "path": i.real, "symbols": len(host.exports[i.role])}
            for i in host.libraries
        ],
        "exports": dict(entry.counts),
        "values": entry.values,
        "glibc": {
            "library": entry.glibc.library,
            "closure": entry.glibc.closure,
            "newest": entry.glibc.newest,
        },
        "fabrics": [
            {"group": f.group, "libraries": list(f.libraries), "plugins": list(f.plugins)}
            for f in entry.fabrics
        ],
        "pmi": list(entry.spoken.interfaces),
        "auto": {"taken": entry.taken, "why": entry.why},
        "notes": list(entry.notes),
    }


def _name(path: str) -> str:
    return path.rpartition("/")[2]
