"""A plan for people (text) and for programs (JSON).  Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from launcher.plan import ENVIRONMENT_VERBS, FILE_VERBS, MOUNT_VERBS, MpiDecision, Plan
from launcher.program import ROOT_VERBS, Operation, Verb
from mpi_abi.shown import printable

SCHEMA = 1
"""Version of the JSON form; it grows when a reader of the old one would go wrong."""

_VERDICTS = {
    "": "not judged",
    "native": "the host's MPI fits (same ABI)",
    "translated": "the host's MPI fits through a translation",
    "impossible": "the host's MPI does not fit",
    "no-mpi": "no MPI is used",
    "no_mpi": "no MPI is used",
}


def to_text(plan: Plan) -> str:
    """Say what a launch would do, each part with its origin and its reason."""
    parts = [
        _heading("Image", f"{plan.image}" + (f"  ({plan.os_name})" if plan.os_name else "")),
        _heading("Program", _program(plan)),
        _table("Mounts, in this order", _mount_rows(plan)),
        _table("Files", _rows(plan, FILE_VERBS, _file)),
        _table("Environment", _rows(plan, ENVIRONMENT_VERBS, _variable)),
        _table("Process", _rows(plan, frozenset({Verb.CWD, Verb.NO_NEW_PRIVS}), _process)),
        _list(
            "Read while the container is made, if root has mounted the image",
            [op.args[0] for op in plan.operations if op.verb is Verb.READ_AHEAD],
        ),
        _table("MPI", _mpi_rows(plan.mpi)),
        _list("Said when the program starts", plan.announcements),
        _list("Made on an overlay, since the image lacks them", plan.missing),
        _list("Notes", plan.notes),
        _list("Warnings", plan.warnings),
    ]
    return "\n".join(part for part in parts if part)


def to_json(plan: Plan) -> str:
    """Write the plan as JSON; ``schema`` is its version.  Bytes that are no UTF-8 appear as ``\\udcXX``."""
    document = {
        "schema": SCHEMA,
        "image": {"path": plan.image, "os": plan.os_name},
        "program": {"path": plan.program, "argv": plan.argv},
        "operations": [
            {"verb": op.verb, "args": op.args, "reason": op.reason, "origin": op.origin}
            for op in plan.operations
        ],
        "network_mounts": plan.network,
        "missing_mount_points": plan.missing,
        "mpi": {
            "mode": plan.mpi.mode,
            "verdict": plan.mpi.verdict,
            "image_library": plan.mpi.image_library,
            "host_library": plan.mpi.host_library,
            "reasons": plan.mpi.reasons,
            "codes": plan.mpi.codes,
            "swap": plan.mpi.swap.summary if plan.mpi.swap else None,
        },
        "notes": plan.notes,
        "warnings": plan.warnings,
    }
    return json.dumps(document, indent=2)


def _program(plan: Plan) -> str:
    if not plan.argv:
        return "(none named)"
    return plan.program or f"{plan.argv[0]}  (not found)"


def _heading(title: str, text: str) -> str:
    return f"{title}: {printable(text)}"


def _list(title: str, lines: Iterable[str]) -> str:
    lines = list(lines)
    return "\n".join(["", title, *(f"  {printable(line)}" for line in lines)]) if lines else ""


def _table(title: str, rows: list[tuple[str, ...]]) -> str:
    """Align the columns of ``rows`` under a title; nothing where there are none."""
    if not rows:
        return ""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(["", title, *(f"  {line.rstrip()}" for line in lines)])


def _rows(plan: Plan, verbs: frozenset[Verb], show: Callable[[Operation], str]) -> list[tuple[str, ...]]:
    return [(show(op), op.origin.value, op.reason) for op in plan.operations if op.verb in verbs]


def _mount_rows(plan: Plan) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for op in plan.operations:
        if op.verb not in MOUNT_VERBS:
            continue
        if op.verb is Verb.BIND_FSTYPES:
            now = ", ".join(plan.network) or "none now"
            rows.append((now, "rw", "network", op.origin.value, f"{op.reason} ({op.args[0]})"))
        else:
            rows.append((*_mount(op), op.origin.value, op.reason))
    return rows


def _mount(op: Operation) -> tuple[str, str, str]:
    """Say where an operation mounts, how, and from where."""
    if op.verb in ROOT_VERBS:
        return "/", "ro", op.args[0]
    if op.verb is Verb.TMPFS:
        return op.args[0], "rw", "tmpfs"
    source, target, flags = op.args
    mode, _, optional = flags.partition(",")
    what = "the same on the host" if source == target else source
    return target, mode, f"{what}, if it is there" if optional else what


def _file(op: Operation) -> str:
    if op.verb is Verb.SYMLINK:
        return f"{op.args[0]} -> {op.args[1]}"
    return f"{op.args[0]} (mode {op.args[1]}, {len(op.args[2].encode('utf-8', 'surrogateescape'))} bytes)"


def _variable(op: Operation) -> str:
    name, value = (*op.args, "")[:2]
    if op.verb is Verb.ENV_UNSET:
        return f"unset {name}"
    if op.verb is Verb.ENV_PREPEND:
        return f"{name}={value}:..."
    if op.verb is Verb.ENV_APPEND:
        return f"{name}=...:{value}"
    return f"{name}={value}" + ("  (unless set)" if op.verb is Verb.ENV_DEFAULT else "")


def _process(op: Operation) -> str:
    return f"working directory {op.args[0]}" if op.verb is Verb.CWD else "no new privileges"


def _mpi_rows(mpi: MpiDecision) -> list[tuple[str, ...]]:
    rows = [("mode", mpi.mode.value), ("verdict", _VERDICTS.get(mpi.verdict, mpi.verdict))]
    if mpi.image_library:
        rows.append(("image's library", mpi.image_library))
    if mpi.host_library:
        rows.append(("host's library", mpi.host_library))
    rows += [("reason", reason) for reason in mpi.reasons]
    rows.append(("swap", mpi.swap.summary if mpi.swap else "none: the program gets what the image has"))
    return list(rows)
