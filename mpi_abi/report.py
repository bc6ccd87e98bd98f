"""Facts and verdicts as text and as JSON values.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .image import ImageMpiFacts
from .libc import show_version
from .node import NodeFacts
from .pmi import PmiAdvice
from .portability import needed_kernel, needed_level
from .shown import printable
from .swap import Swap
from .verdict import Verdict, VerdictKind

# DESIGN, rules: commands that judge have codes for their verdicts.
EXIT_CODES = {
    VerdictKind.NATIVE: 0,
    VerdictKind.TRANSLATED: 3,
    VerdictKind.IMPOSSIBLE: 4,
    VerdictKind.NO_MPI: 5,
}
NOT_JUDGED = 125
"""Exit code where it cannot be told."""
_MOST_EVIDENCE = 10
_MOST_CLOSED = 5
_BEST_FIRST = (VerdictKind.NO_MPI, VerdictKind.NATIVE, VerdictKind.TRANSLATED, VerdictKind.IMPOSSIBLE)


@dataclass(frozen=True, slots=True)
class Program:
    """A program (or plugin) of an image, with the verdict; None where ``problem`` says why there is none."""

    path: str
    verdict: Verdict | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Programs:
    """An image's MPI programs; the other fields are those of `programs.ProgramsFound`."""

    judged: tuple[Program, ...]
    left_out: int = 0
    closed: tuple[str, ...] = ()
    ended: bool = False

    @property
    def unjudged(self) -> bool:
        """Whether there are such programs, and not one of them could be judged."""
        return bool(self.judged) and not any(each.verdict for each in self.judged)


def exit_code(kind: VerdictKind | None) -> int:
    """What a command that judges ends with; None: it could not tell."""
    return NOT_JUDGED if kind is None else EXIT_CODES[kind]


def worst(kinds: Sequence[VerdictKind]) -> VerdictKind:
    """The verdict on several programs together."""
    return max(kinds, key=_BEST_FIRST.index)


def verdict_lines(
    image: ImageMpiFacts,
    verdict: Verdict,
    swap: Swap | None,
    pmi: PmiAdvice | None = None,
    node: NodeFacts | None = None,
) -> list[str]:
    """A verdict for people: the answer first, then why, then what would change."""
    lines = [f"verdict: {verdict.kind.name}"]
    if image.program:
        lines.append(f"program: {image.program} ({image.kind}, {image.machine})")
    if image.mpi:
        lines.append(f"image:   {image.mpi[0].title}")
        lines += [f"         {item.real}" for item in image.mpi]
    lines.append(f"libc:    {image.libc.kind} {show_version(image.glibc)}".rstrip())
    if node is not None:
        needs = filter(None, (needed_level(image), _linux(needed_kernel(image))))
        lines.append(f"needs:   {', '.join(needs) or 'nothing of processor or kernel that is known'}")
        lines.append(f"node:    {node.cpu} ({node.level}), {_linux(node.kernel)}")
    for reason in verdict.reasons:
        lines.append(f"{reason.code}: {reason.text}")
        lines += [f"    {line}" for line in reason.evidence[:_MOST_EVIDENCE]]
        if len(reason.evidence) > _MOST_EVIDENCE:
            lines.append(f"    and {len(reason.evidence) - _MOST_EVIDENCE} more")
        if reason.hint:
            lines.append(f"  hint: {reason.hint}")
    if pmi is not None:
        lines.append(f"pmi:     {pmi.text}")
    if swap is not None:
        lines.append(f"swap:    {swap.summary}")
        lines += [f"    {cover.target} <- {cover.source}" for cover in swap.covers]
        lines += [f"    {change.action} {change.name} {change.value}".rstrip() for change in swap.environment]
    return [printable(line) for line in lines]


def _linux(version: tuple[int, ...]) -> str:
    return f"Linux {show_version(version)}" if version else ""


def verdict_json(
    image: ImageMpiFacts,
    verdict: Verdict,
    swap: Swap | None,
    pmi: PmiAdvice | None = None,
    node: NodeFacts | None = None,
) -> dict[str, Any]:
    """The same as a value for `json.dumps`."""
    return {
        "verdict": verdict.kind,
        "reasons": _reasons_json(verdict),
        "program": image.program,
        "kind": image.kind,
        "machine": image.machine,
        "interpreter": image.interpreter,
        "libc": {"kind": image.libc.kind, "version": show_version(image.glibc)},
        "needs": {"cpu_level": needed_level(image), "kernel": show_version(needed_kernel(image))},
        "node": {"cpu": node.cpu, "cpu_level": node.level, "kernel": show_version(node.kernel)}
        if node
        else None,
        "family": image.family,
        "image_libraries": [item.real for item in image.mpi],
        "host_library": verdict.host_library,
        "tree": [{"name": item.name, "path": item.path, "found": item.how} for item in image.tree.objects],
        "missing": [{"name": item.name, "needed_by": item.needed_by} for item in image.missing],
        "pmi": pmi_json(pmi) if pmi is not None else None,
        "swap": swap_json(swap) if swap is not None else None,
    }


def programs_lines(programs: Programs, image: Verdict) -> list[str]:
    """An image's programs for people: the verdict of each, and reasons where these are not the image's."""
    known = {(reason.code, reason.text) for reason in image.reasons}
    count = len(programs.judged) + programs.left_out
    lines = [f"programs: {count or 'none'} that need{'s' if count < 2 else ''} MPI"]
    for each in programs.judged:
        if each.verdict is None:
            lines.append(f"    {'not judged':<12}{each.path}: {each.problem}")
            continue
        lines.append(f"    {each.verdict.kind.name:<12}{each.path}")
        if each.verdict.kind is not image.kind or each.verdict.kind is not VerdictKind.NATIVE:
            more = [reason for reason in each.verdict.reasons if (reason.code, reason.text) not in known]
            lines += [f"        {reason.code}: {reason.text}" for reason in more]
    if programs.unjudged:
        lines.append("    none of them could be judged")
    if programs.left_out:
        lines.append(f"    and {programs.left_out} more, which were not judged: name them by --app")
    if programs.closed:
        some = ", ".join(programs.closed[:_MOST_CLOSED])
        more_of_them = len(programs.closed) - _MOST_CLOSED
        lines.append(
            f"    not looked into: {some}" + (f" and {more_of_them} more" if more_of_them > 0 else "")
        )
    if programs.ended:
        lines.append("    the image holds too many files: the search for programs ended early")
    return [printable(line) for line in lines]


def programs_json(programs: Programs) -> dict[str, Any]:
    """The same as a value for `json.dumps`."""
    return {
        "programs": [
            {
                "program": each.path,
                "verdict": each.verdict.kind if each.verdict else None,
                "reasons": _reasons_json(each.verdict) if each.verdict else [],
                "image_library": each.verdict.image_library if each.verdict else "",
                "host_library": each.verdict.host_library if each.verdict else "",
                "problem": each.problem,
            }
            for each in programs.judged
        ],
        "programs_left_out": programs.left_out,
        "programs_closed": list(programs.closed),
        "programs_ended": programs.ended,
    }


def _reasons_json(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {"code": r.code, "text": r.text, "evidence": list(r.evidence), "hint": r.hint}
        for r in verdict.reasons
    ]


def pmi_json(pmi: PmiAdvice) -> dict[str, Any]:
    """Advice on ``srun --mpi`` as a value for `json.dumps`."""
    return {
        "speaks": list(pmi.spoken.interfaces),
        "offered": list(pmi.offered),
        "asked": pmi.asked,
        "use": pmi.use,
        "text": pmi.text,
    }


def swap_json(swap: Swap) -> dict[str, Any]:
    """A swap as a value for `json.dumps`."""
    return {
        "summary": swap.summary,
        "covers": [{"source": c.source, "target": c.target, "reason": c.reason} for c in swap.covers],
        "environment": [
            {"action": e.action, "name": e.name, "value": e.value, "reason": e.reason}
            for e in swap.environment
        ],
    }
