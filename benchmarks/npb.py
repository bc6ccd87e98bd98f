"""Reads what a program of the NAS Parallel Benchmarks prints, NASA's and ours.  Pure.

The format: the result block of NPB 3.4.1 (3.3's, without "Active processes", is read too).  A figure is taken
from nothing but one whole block whose verification says SUCCESSFUL.  The comment lines "# library" are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.errors import BenchError
from benchmarks.excerpts import clip, last_lines

_COMPLETED = re.compile(r"^ ?([A-Z]{2}) Benchmark Completed\.?$")
_LABEL = re.compile(r"^ ([A-Z][A-Za-z/ ]*?) *=(.*)$")
_WHOLE = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,300}\.([0-9]{1,30})")
_COUNT = re.compile(r"\*\*\* ERROR determining processor topology for +([0-9]+) processes")
_EXPECTED = re.compile(r"Expecting an? (.+?) number of processes \(such as +([0-9]+)\)")
_IS_COUNT = re.compile(r"ERROR: Number of processes \(([0-9]+)\) is not a power of two")
_REQUIRED = (
    *("Class", "Size", "Iterations", "Time in seconds", "Total processes"),
    *("Mop/s total", "Mop/s/process", "Operation type", "Verification"),
)
_ACTIVE = "Active processes"


@dataclass(frozen=True, slots=True)
class NpbResult:
    """One verified run.

    kernel: "CG"; problem_class: "S"; size: as printed ("64x  64x  64"); seconds: of the timed part, as
    printed (NASA's programs print two digits, so that class S may say 0.00); mops and mops_per_process:
    millions of operations a second; library, digest: of the MPI that answered, "" if not printed.
    """

    kernel: str
    problem_class: str
    size: str
    iterations: int
    seconds: float
    processes: int
    mops: float
    mops_per_process: float
    operation: str
    version: str = ""
    library: str = ""
    digest: str = ""


def parse_npb(
    text: str, *, kernel: str = "", problem_class: str = "", processes: int | None = None
) -> NpbResult:
    """Read one run; ``kernel``, ``problem_class`` and ``processes``: what was started, where it is known.

    Raises BenchError when the program refused to run, its verification failed or was not made, the block is
    missing, double, cut off or damaged, or another kernel, class or number of processes ran.
    """
    lines = [line.rstrip() for line in text.split("\n")]
    kernels = [match[1] for line in lines if (match := _COMPLETED.match(line))]
    if not kernels:
        raise _refusal(text)
    fields = _read_fields(lines)
    if len(kernels) > 1:
        raise _several(len(kernels), fields.get("Total processes", ()))
    missing = [label for label in _REQUIRED if label not in fields]
    if missing:
        raise BenchError(
            f"NPB's result block lacks {', '.join(repr(label) for label in missing)}: cut off or damaged",
            hint=last_lines(text),
        )
    double = [label for label in (*_REQUIRED, _ACTIVE) if len(fields.get(label, ())) > 1]
    if double:
        raise BenchError(f"NPB's result block says {double[0]!r} twice: output of several runs, or damaged")
    result = _make_result(kernels[0], {label: values[0] for label, values in fields.items()}, lines)
    _require_asked(result, kernel.upper(), problem_class.upper(), processes)
    return result


def _read_fields(lines: Sequence[str]) -> dict[str, list[str]]:
    """The lines "label = value" behind the first "Completed", by label."""
    fields: dict[str, list[str]] = {}
    inside = False
    for line in lines:
        if _COMPLETED.match(line):
            inside = True
        elif inside and (match := _LABEL.match(line)):
            fields.setdefault(match[1], []).append(match[2].strip())
    return fields


def _make_result(kernel: str, fields: Mapping[str, str], lines: Sequence[str]) -> NpbResult:
    name = f"{kernel} of class {clip(fields['Class'])}"
    verification = fields["Verification"]
    if verification != "SUCCESSFUL":
        raise _not_verified(name, verification)
    processes = _whole(fields, "Total processes")
    active = _whole(fields, _ACTIVE) if _ACTIVE in fields else processes
    if active != processes or processes < 1:
        raise BenchError(
            f"only {active} of {processes} processes of {name} took part",
            hint="ask for a number of ranks that the kernel takes, and unset NPB_NPROCS_STRICT",
        )
    seconds, _ = _decimal(fields, "Time in seconds")
    mops, mops_step = _decimal(fields, "Mop/s total")
    each, each_step = _decimal(fields, "Mop/s/process")
    if mops <= 0:
        raise BenchError(f"{name} says {mops:g} Mop/s: only values above 0 can be measured")
    if abs(each * processes - mops) > each_step * processes + mops_step:
        raise BenchError(f"{name} says {mops:g} Mop/s in all and {each:g} for each of {processes}: damaged")
    return NpbResult(
        kernel=kernel,
        problem_class=fields["Class"],
        size=fields["Size"],
        iterations=_whole(fields, "Iterations"),
        seconds=seconds,
        processes=processes,
        mops=mops,
        mops_per_process=each,
        operation=fields["Operation type"],
        version=fields.get("Version", ""),
        library=_comment(lines, "# library: "),
        digest=_comment(lines, "# library digest: "),
    )


def _not_verified(name: str, verification: str) -> BenchError:
    if verification == "UNSUCCESSFUL":
        return BenchError(
            f"{name} computed a wrong result: its verification says UNSUCCESSFUL, so its speed is no figure",
            hint="the MPI library, the compiler or the machine is at fault; run it alone to see the numbers",
        )
    return BenchError(
        f"{name} was not verified: it says {clip(verification)!r} instead of SUCCESSFUL",
        hint="take a class that has reference values (S, W, A, B, C, ...)",
    )


def _require_asked(result: NpbResult, kernel: str, problem_class: str, processes: int | None) -> None:
    ran = (result.kernel, result.problem_class, result.processes)
    asked = (kernel or ran[0], problem_class or ran[1], ran[2] if processes is None else processes)
    if ran != asked:
        wanted = f"{asked[0]} of class {asked[1]} on {asked[2]}"
        raise BenchError(
            f"{ran[0]} of class {clip(ran[1])} on {ran[2]} processes ran, not {wanted}",
            hint="look at the program's name, and whether srun's --mpi fits the MPI library",
        )


def _refusal(text: str) -> BenchError:
    """Why there is no block."""
    if match := _COUNT.search(text):
        expected = _EXPECTED.search(text)
        takes = f": it takes a {expected[1]} number, such as {expected[2]}" if expected else ""
        return _wrong_count(match[1], takes)
    if match := _IS_COUNT.search(text):
        return _wrong_count(match[1], ": it takes a power of two")
    return BenchError("the output holds no result block of NPB", hint=last_lines(text))


def _wrong_count(processes: str, takes: str) -> BenchError:
    return BenchError(
        f"the program does not run on {clip(processes)} processes{takes}",
        hint="IS, CG, MG and FT take powers of two, BT and SP squares, LU 1, 2, 4, 6, 8, 9, 12, ...",
    )


def _several(count: int, totals: Sequence[str]) -> BenchError:
    if len(totals) == count and set(totals) == {"1"}:
        return BenchError(
            f"{count} processes did not find each other: each ran alone and printed a result of its own",
            hint="srun's --mpi does not fit the MPI library; try pmi2 (MPICH) or pmix (Open MPI)",
        )
    return BenchError(f"the output holds {count} result blocks of NPB: output of several runs")


def _whole(fields: Mapping[str, str], label: str) -> int:
    if not _WHOLE.fullmatch(fields[label]):
        raise BenchError(f"{label!r} in NPB's result block is no whole number: {clip(fields[label])!r}")
    return int(fields[label])


def _decimal(fields: Mapping[str, str], label: str) -> tuple[float, float]:
    """A value and the step between the values that could have been printed."""
    match = _DECIMAL.fullmatch(fields[label])
    if match is None:
        raise BenchError(f"{label!r} in NPB's result block is no decimal number: {clip(fields[label])!r}")
    return float(match[0]), 10.0 ** -len(match[1])


def _comment(lines: Sequence[str], start: str) -> str:
    found = [line.removeprefix(start) for line in lines if line.startswith(start)]
    return " ".join(found[0].split()) if found else ""
