"""Facts and verdicts as text and as JSON values.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .image import ImageMpiFacts
from .libc import show_version
from .node import NodeFacts
from .pmi import PmiAdvice
from .portability import needed_kernel, needed_level
from .swap import Swap
from .verdict import Verdict, VerdictKind

# DESIGN, rules: commands that judge have codes for their verdicts.
EXIT_CODES = {
    VerdictKind.NATIVE: 0,
    VerdictKind.TRANSLATED: 3,
    VerdictKind.IMPOSSIBLE: 4,
    VerdictKind.NO_MPI: 5,
}
_MOST_EVIDENCE = 10
_BEST_FIRST = (VerdictKind.NO_MPI, VerdictKind.NATIVE, VerdictKind.TRANSLATED, VerdictKind.IMPOSSIBLE)


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
    return lines


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
        "reasons": [
            {"code": r.code, "text": r.text, "evidence": list(r.evidence), "hint": r.hint}
            for r in verdict.reasons
        ],
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
