"""What differs from step to step: placeholders in a program, and what becomes of them.  Pure.

A program that is kept for later steps names such values only; the C core puts each step's own in.  What is
printed or run once is resolved here, by the same rules (docs/design.md, section 4).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from launcher.program import Operation, Verb

OPTIONAL, UNLESS_SHOWN = "optional", "unless-shown"
FLAGS = f"rw,{OPTIONAL},{UNLESS_SHOWN}"
"""Of each bind with a placeholder: it is passed over where its source is missing or its place is taken."""


class Placeholder(StrEnum):
    """The values: the working directory, the batch script's directory, and variables of the task."""

    CWD = "%{cwd}"
    SPOOL = "%{spool}"
    TMPDIR = "%{TMPDIR}"
    PMIX_SERVER = "%{PMIX_SERVER_TMPDIR}"
    PMIX_SYSTEM = "%{PMIX_SYSTEM_TMPDIR}"


VARIABLES = (Placeholder.TMPDIR, Placeholder.PMIX_SERVER, Placeholder.PMIX_SYSTEM)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Operations without placeholders, and the directories that placeholders brought into view."""

    operations: tuple[Operation, ...]
    shown: tuple[str, ...]


def read_values(*, cwd: str, spool: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """The values of the placeholders; those that are unset or no absolute path are left out."""
    values = {item.value: environment.get(item.value[2:-1], "") for item in VARIABLES}
    values |= {Placeholder.CWD.value: cwd, Placeholder.SPOOL.value: spool or ""}
    # normpath leaves two slashes at the front.
    return {
        name: posixpath.normpath("/" + value.lstrip("/"))
        for name, value in values.items()
        if value.startswith("/")
    }


def is_placeholder(text: str) -> bool:
    """Whether an argument stands for a value."""
    return text.startswith("%{") and text.endswith("}")


def resolve(
    operations: Iterable[Operation],
    values: Mapping[str, str],
    *,
    present: Collection[str],
    covered: Callable[[tuple[Operation, ...], str], bool],
) -> Resolved:
    """Put the values in, and drop what is passed over.

    ``present`` are paths of the host; ``covered`` says whether the operations before, or the image, have
    something at a place.
    """
    done: list[Operation] = []
    shown: list[str] = []
    for operation in operations:
        if not any(is_placeholder(text) for text in operation.args):
            done.append(operation)
            continue
        args = tuple(values.get(text, text) for text in operation.args)
        if any(is_placeholder(text) for text in args):
            continue
        if operation.verb is Verb.BIND:
            if args[0] not in present or covered(tuple(done), args[1]):
                continue
            args = (*args[:2], operation.args[2].removesuffix(f",{OPTIONAL},{UNLESS_SHOWN}"))
            shown.append(args[1])
        done.append(replace(operation, args=args))
    return Resolved(tuple(done), tuple(shown))
