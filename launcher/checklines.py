"""What ``BAREBOAT_CHECK=1`` says: one line a rank, warnings, and one line that compares the nodes.  Pure.

A rank's line is ``bareboat: NODE: check: rank R: KEY=VALUE ...`` with the keys of ``KEYS`` in their order, or
``... rank R: tasks=N unseen=REASON``.  Values have no spaces: what else could break a line is written as %XX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

KEYS = ("tasks", "root", "userns", "netns", "shm", "cma", "mpi", "program", "plan")
UNKNOWN = "unknown"
"""The value of what could not be measured, mostly because the program ended meanwhile."""
_NAMED = 3
"""How many nodes are named where some differ."""
_LINE = re.compile(r"(?: *\d+: )?bareboat: (\S+): check: rank (\d{1,10}): (\S+(?: \S+)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured of one rank while it ran its program.

    ``root`` is ``container`` or ``other``; ``userns`` ``shared`` or ``own``; ``netns`` ``job`` or ``other``;
    ``shm`` says whose /dev/shm it is (``host``, ``other``, ``missing``) and after a comma whether the rank
    can write there (``writable`` or an errno's name); ``cma`` is ``works``, ``alone`` (no other rank on the
    node), or an errno's name with ``,yama=N`` where that module decides; ``mpi`` is ``none`` or
    ``host:PATH``, ``image:PATH``, ``mount:PATH``, with the path that the rank sees; ``program`` is
    ``PATH:DIGEST``.
    """

    root: str = UNKNOWN
    userns: str = UNKNOWN
    netns: str = UNKNOWN
    shm: str = UNKNOWN
    cma: str = UNKNOWN
    mpi: str = UNKNOWN
    program: str = UNKNOWN
    plan: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Told:
    """A rank's line as it was read: ``program`` and ``plan`` are "" where it does not say."""

    node: str
    rank: int
    tasks: int
    program: str
    plan: str


def rank_line(node: str, rank: int, tasks: int, report: Report) -> str:
    """Write the line of a rank that was looked at."""
    values = [str(tasks), *(getattr(report, key) for key in KEYS[1:])]
    pairs = " ".join(f"{key}={_escape(value)}" for key, value in zip(KEYS, values, strict=True))
    return f"bareboat: {node}: check: rank {rank}: {pairs}\n"


def unseen_line(node: str, rank: int, tasks: int, reason: str) -> str:
    """Write the line of a rank that could not be looked at; ``reason`` is ``ended`` or ``denied``."""
    text = {
        "ended": "it ended before it could be looked at",
        "denied": "its program does not let itself be looked at (prctl(2), PR_SET_DUMPABLE)",
    }[reason]
    return f"bareboat: {node}: check: rank {rank}: tasks={tasks} unseen={reason} {text}\n"


def left_out_line(node: str, count: int) -> str:
    """Write the line of those beyond the limit of ranks per node (``BB_SEATS`` of the plugin)."""
    return f"bareboat: {node}: check: {count} more ranks of this node were not looked at\n"


def warnings_of(rank: int, report: Report, *, planned: bool, cma_outside: bool) -> tuple[str, ...]:
    """Say what the rank lacks, what that costs, and what to do.

    ``planned`` is whether the plan puts the host's MPI into the container; ``cma_outside`` whether one
    process of the user can read another one's memory outside of it.
    """
    found = []
    if report.root == "other":
        found.append(
            "its root is not the container's: it does not see what the plan shows; "
            "start the program without chroot or another container runtime"
        )
    if report.userns == "own":
        found.append(
            "it has a user namespace of its own: the other ranks of the node cannot reach its memory, and "
            "messages are copied twice; start the program without unshare or another container runtime"
        )
    elif report.cma not in {"works", "alone", UNKNOWN} and cma_outside:
        found.append(
            f"it cannot read another rank's memory ({report.cma}), which works outside: messages on the node "
            "are copied twice; look for a security module that treats containers differently, "
            "and for prctl(2) PR_SET_DUMPABLE in the program"
        )
    owner, _, writable = report.shm.partition(",")
    if owner in {"other", "missing"}:
        what = "missing" if owner == "missing" else "not the host's"
        found.append(
            f"its /dev/shm is {what}: MPI "
            "shares no memory with processes outside or none at all, and is slower or fails; "
            "leave dev in the view (BAREBOAT_WITHOUT)"
        )
    if writable not in {"", "writable"}:
        found.append(
            f"it cannot write to /dev/shm ({writable}): MPI has no shared memory and is slower or fails; "
            "free space in it, or ask the site for its permissions"
        )
    if report.netns == "other":
        found.append(
            "its network namespace is not the job's: MPI does not reach the other nodes as the job does; "
            "start the program without unshare or another container runtime"
        )
    whose, _, path = report.mpi.partition(":")
    if planned and whose in {"image", "mount"}:
        found.append(
            f"it runs with the MPI {path}, and not with the host's as planned: without the host's fabric, or "
            "with another library than its peers; look for LD_PRELOAD, LD_LIBRARY_PATH and RPATH, and at "
            "`bareboat plan IMG -- app`; BAREBOAT_MPI=image says that it is meant"
        )
    return tuple(f"check: rank {rank}: {text}" for text in found)


def read_values(line: str) -> tuple[str, int, dict[str, str]] | None:
    """Read a rank's line back, with or without srun's --label: node, rank and values by key.

    None for any other text.
    """
    found = _LINE.fullmatch(line)
    if not found:
        return None
    values: dict[str, str] = {}
    for pair in found[3].split(" "):
        key, separator, value = pair.partition("=")
        if separator and key not in values:
            values[key] = unquote(value)
    if not re.fullmatch(r"\d{1,10}", values.get("tasks", ""), re.ASCII):
        return None
    return found[1], int(found[2]), values


def read_line(line: str) -> Told | None:
    """Read of a rank's line what `compare` asks for; None for any other text."""
    read = read_values(line)
    if read is None:
        return None
    node, rank, values = read
    known = {key: values[key] for key in ("program", "plan") if values.get(key, UNKNOWN) != UNKNOWN}
    return Told(node, rank, int(values["tasks"]), known.get("program", ""), known.get("plan", ""))


def compare(told: Iterable[Told], *, several: bool) -> str:
    """Write the line that compares the nodes.

    ``several``: under --multi-prog, nodes run different programs and then have different plans by intent;
    only programs of one path are compared.
    """
    ranks = tuple({one.rank: one for one in told}.values())
    if not ranks:
        return (
            "bareboat: check: no rank's line came here, so nothing was compared: the step did not start, its "
            "ranks ended too soon, or -e, -o or --pty leads their standard error elsewhere\n"
        )
    seen = tuple(one for one in ranks if one.program)
    tasks = max(len(ranks), *(one.tasks for one in ranks))
    nodes = len({one.node for one in seen})
    if not seen:
        return (
            f"bareboat: check: none of {_count(tasks, 'rank')} could be looked at, so nothing was compared\n"
        )
    different = _differences(seen, several=several)
    who = _count(tasks, "rank") if len(seen) == tasks else f"{len(seen)} of {_count(tasks, 'rank')}"
    who += f" on {_count(nodes, 'node')}"
    if different:
        return f"bareboat: warning: check: {who}: {'; '.join(different)}\n"
    if several:
        return f"bareboat: check: {who}: each program is the same file on all nodes\n"
    return f"bareboat: check: {who}: same program and same plan on all nodes\n"


def _differences(seen: Sequence[Told], *, several: bool) -> list[str]:
    found = []
    programs: dict[str, set[str]] = {}
    for one in seen:
        programs.setdefault(one.node, set()).add(one.program)
    if several:
        paths: dict[str, dict[str, set[str]]] = {}
        for one in seen:
            path = one.program.rpartition(":")[0]
            paths.setdefault(path, {}).setdefault(one.program, set()).add(one.node)
        groups = [group for _, group in sorted(paths.items()) if len(group) > 1]
    else:
        group: dict[str, set[str]] = {}
        for node, names in programs.items():
            group.setdefault(" and ".join(sorted(names)), set()).add(node)
        groups = [group] if len(group) > 1 else []
    for group in groups:
        found.append(
            f"the program differs between nodes: {_by_node(group)}; "
            "results may be wrong or ranks may hang; put the same image on every node"
        )
    plans: dict[str, set[str]] = {}
    for one in seen:
        if one.plan and not several:
            plans.setdefault(one.plan, set()).add(one.node)
    if len(plans) > 1:
        found.append(
            f"the plan differs between nodes: {_by_node(plans)}; their images, host libraries or "
            "configurations differ; compare what `bareboat plan IMG -- app` prints on them"
        )
    return found


def _by_node(groups: dict[str, set[str]]) -> str:
    texts = []
    for value, nodes in sorted(groups.items(), key=lambda item: min(item[1])):
        named = ",".join(sorted(nodes)[:_NAMED]) + (
            f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        )
        texts.append(f"{_escape(value, keep=' ')} on {named}")
    return ", ".join(texts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _escape(value: str, *, keep: str = "") -> str:
    return quote(value.encode("utf-8", "surrogateescape"), safe="/:,.=+-_@~" + keep)
