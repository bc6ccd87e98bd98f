"""The loader's walk through a program, step by step: before the swap, and after it.  Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .elfcache import ElfCache
from .errors import AbiError
from .image import ImageMpiFacts, ProgramKind
from .libc import LibcKind
from .loader import Attempt, Found, Loader
from .rootfs import RootView
from .swap import Action, EnvironmentChange, Swap


@dataclass(frozen=True, slots=True)
class Lookup:
    """One name that a file asks for, and what stands for it.

    ``asker``, ``path`` and ``real`` (``path`` without links) are container paths, "" where nothing was found;
    ``host`` is the host's file that lies there, "" where it is the image's own.  ``loaded`` says that it was
    loaded already: then nothing was searched.
    """

    name: str
    asker: str
    attempts: tuple[Attempt, ...]
    path: str
    real: str
    host: str
    how: Found | None
    loaded: bool


@dataclass(frozen=True, slots=True)
class Walk:
    """All that the loader does for a program.

    ``audits`` are (file, library) pairs of DT_AUDIT, which are loaded apart and not followed here.
    """

    lookups: tuple[Lookup, ...]
    audits: tuple[tuple[str, str], ...]


class Mark(StrEnum):
    """What the swap does to a lookup: another file, only with it, only without it, nothing."""

    OTHER = "*"
    ONLY_AFTER = "+"
    ONLY_BEFORE = "-"
    SAME = " "


@dataclass(frozen=True, slots=True)
class Step:
    """One search before and after the swap; None where there is none."""

    mark: Mark
    before: Lookup | None
    after: Lookup | None


@dataclass(frozen=True, slots=True)
class Why:
    """The walk before the swap, that after it (None: there is no swap), and both side by side."""

    before: Walk
    after: Walk | None
    steps: tuple[Step, ...]


def explain(view: RootView, facts: ImageMpiFacts, swap: Swap | None, environment: Mapping[str, str]) -> Why:
    """Follow the loader through the program of ``facts``, and again with ``swap`` in place.

    ``environment`` is what the program sees without the swap.

    Raises AbiError if no loader of glibc's searches anything for it, or if a file on the way is damaged.
    """
    _check(facts)
    before = walk(view, facts, environment)
    if swap is None:
        steps = (Step(Mark.SAME, each, None) for each in before.lookups if not each.loaded)
        return Why(before, None, tuple(steps))
    covered = view.covered((cover.target, cover.source) for cover in swap.covers)
    after = walk(covered, facts, changed(environment, swap.environment))
    return Why(before, after, tuple(_side_by_side(before.lookups, after.lookups)))


def walk(view: RootView, facts: ImageMpiFacts, environment: Mapping[str, str]) -> Walk:
    """Follow the loader through a program in one environment, and write every step down."""
    loader = Loader(
        view,
        ElfCache(),
        machine=facts.machine,
        interpreter=facts.interpreter,
        environment=environment,
    )
    loader.trace = []
    asked: list[tuple[str, int, int | None, tuple[Attempt, ...]]] = []

    def note(name: str, asker: int, position: int | None) -> None:
        assert loader.trace is not None
        asked.append((name, asker, position, tuple(loader.trace)))
        loader.trace.clear()

    tree = loader.load(facts.program, asked=note)
    lookups, seen = [], {0}
    for name, asker, position, attempts in asked:
        found = tree.objects[position] if position is not None else None
        lookups.append(
            Lookup(
                name=name,
                asker=tree.objects[asker].path,
                attempts=attempts,
                path=found.path if found else "",
                real=found.real if found else "",
                host=found.host_path if found and view.is_bound(found.real) else "",
                how=found.how if found else None,
                loaded=position in seen,
            )
        )
        if position is not None:
            seen.add(position)
    audits = tuple((item.path, name) for item in tree.objects for name in item.facts.audit)
    return Walk(tuple(lookups), audits)


def changed(environment: Mapping[str, str], changes: Iterable[EnvironmentChange]) -> dict[str, str]:
    """An environment with the changes of a swap.  Pure."""
    result = dict(environment)
    for change in changes:
        if change.action is Action.UNSET:
            result.pop(change.name, None)
        elif change.action is Action.PREPEND and result.get(change.name):
            result[change.name] = f"{change.value}:{result[change.name]}"
        else:
            result[change.name] = change.value
    return result


def _side_by_side(before: tuple[Lookup, ...], after: tuple[Lookup, ...]) -> Iterable[Step]:
    """Pair the searches for one name, in the order of the walk after the swap; lost ones are last.

    Whoever asks first: what one library found before, another may find now.
    """
    left: dict[str, list[Lookup]] = {}
    for each in before:
        if not each.loaded:
            left.setdefault(each.name, []).append(each)
    for each in after:
        if each.loaded:
            continue
        if not left.get(each.name):
            yield Step(Mark.ONLY_AFTER, None, each)
            continue
        other = left[each.name].pop(0)
        same = (other.real, other.host) == (each.real, each.host)
        yield Step(Mark.SAME if same else Mark.OTHER, other, each)
    yield from (Step(Mark.ONLY_BEFORE, each, None) for rest in left.values() for each in rest)


def _check(facts: ImageMpiFacts) -> None:
    """Refuse what has no walk."""
    path, kind = facts.program, facts.kind
    if kind is ProgramKind.SCRIPT and facts.interpreter:
        raise AbiError(
            f"{path}: a script; the loader only sees {facts.interpreter}, which runs it",
            hint=f"ask about {facts.interpreter}",
        )
    if kind is ProgramKind.SCRIPT:
        raise AbiError(f"{path}: not an ELF file", hint="give a program or a library of the image")
    if kind is ProgramKind.STATIC:
        raise AbiError(
            f"{path}: a static program; no loader searches anything for it",
            hint="`bareboat abi check` says whether an MPI is linked into it",
        )
    if kind is ProgramKind.FOREIGN:
        raise AbiError(
            f"{path}: built for {facts.machine}; only 64-bit little-endian files can be followed",
            hint="use an image built for this machine",
        )
    if facts.libc.kind is LibcKind.MUSL:
        raise AbiError(
            f"{path}: runs on musl's loader ({facts.libc.path}), which searches in other ways than glibc's",
            hint="this host's MPI needs an image with glibc",
        )
