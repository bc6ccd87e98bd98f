"""The loader's walk as text and as a JSON value.  Pure."""

from __future__ import annotations

from typing import Any

from .judging import Judgement
from .loader import Attempt, Found
from .shown import printable
from .why import Lookup, Mark, Step, Walk, Why


def why_lines(judgement: Judgement, why: Why) -> list[str]:
    """What was searched where and found, in the order of the search; what was there already is left out."""
    image = judgement.image
    loader = f", {image.interpreter}" if image.interpreter else ""
    lines = [f"program: {image.program} ({image.machine}{loader})"]
    if judgement.swap is not None:
        lines.append(f"swap:    {judgement.swap.summary}")
        lines += [f"    {each.action} {each.name} {each.value}" for each in judgement.swap.environment]
        lines.append("* another file with the swap, + only with it, - only without it")
    else:
        reasons = "; ".join(reason.text for reason in judgement.verdict.reasons)
        lines.append(f"swap:    none; {judgement.verdict.kind.name}: {reasons}")
    for step in why.steps:
        lines += _step_lines(step)
    walk = why.after or why.before
    lines += [f"{asker} has {name} audit it, which is loaded apart" for asker, name in walk.audits]
    return [printable(line) for line in lines]


def _step_lines(step: Step) -> list[str]:
    if step.mark is Mark.OTHER and step.before and step.after:
        head = step.after
        lines = ["    before:", *_search_lines(step.before, deep=2), "    after:"]
        lines += _search_lines(step.after, deep=2)
    else:
        # Where both find the same file, the image's own walk tells how.
        found = step.before or step.after
        assert found is not None
        head, lines = found, _search_lines(found, deep=1)
    return [f"{step.mark} {head.name}, needed by {head.asker}", *lines]


def _search_lines(lookup: Lookup, *, deep: int) -> list[str]:
    indent = "    " * deep
    lines = [f"{indent}{_rule(each):16} {each.place}  {each.outcome}" for each in lookup.attempts]
    if lookup.how is Found.INTERPRETER:
        lines.append(f"{indent}{lookup.how:16} {lookup.path}  loaded by the kernel")
    if not lookup.path:
        return [*lines, f"{indent}= not found"]
    whose = f"this host's {lookup.host}" if lookup.host else f"the image's {lookup.real}"
    return [*lines, f"{indent}= {whose}"]


def _rule(attempt: Attempt) -> str:
    return f"{attempt.rule} of {attempt.owner}" if attempt.owner else attempt.rule


def why_json(judgement: Judgement, why: Why) -> dict[str, Any]:
    """Both walks in full as a value for `json.dumps`."""
    marks = {id(each): step.mark for step in why.steps for each in (step.before, step.after) if each}
    names = {Mark.OTHER: "other", Mark.ONLY_AFTER: "only-after", Mark.ONLY_BEFORE: "only-before"}

    def walk_json(walk: Walk) -> dict[str, Any]:
        return {
            "lookups": [
                {**_lookup_json(each), "change": names.get(marks.get(id(each), Mark.SAME), "")}
                for each in walk.lookups
            ],
            "audits": [{"file": file, "library": name} for file, name in walk.audits],
        }

    return {
        "program": judgement.image.program,
        "machine": judgement.image.machine,
        "interpreter": judgement.image.interpreter,
        "verdict": judgement.verdict.kind,
        "reasons": [reason.text for reason in judgement.verdict.reasons],
        "swap": judgement.swap.summary if judgement.swap is not None else None,
        "before": walk_json(why.before),
        "after": walk_json(why.after) if why.after is not None else None,
    }


def _lookup_json(lookup: Lookup) -> dict[str, Any]:
    return {
        "name": lookup.name,
        "needed_by": lookup.asker,
        "found": lookup.path or None,
        "file": lookup.real or None,
        "host_file": lookup.host or None,
        "rule": lookup.how,
        "loaded_already": lookup.loaded,
        "searched": [
            {"rule": each.rule, "of": each.owner or None, "place": each.place, "outcome": each.outcome}
            for each in lookup.attempts
        ],
    }
