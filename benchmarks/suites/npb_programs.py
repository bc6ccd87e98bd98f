"""The programs of the NPB suite as data: kernels, the classes of each level, how many ranks they take.

The built-in programs (``benchmarks/src/npb``) take their class as an argument; a site's own, NASA's, are one
for each class, ``cg.A.x``.  Both print the same result block (`benchmarks.npb`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Figure, Level
from benchmarks.errors import BenchError
from benchmarks.npb import NpbResult
from benchmarks.stats import Better

CLASSES: Mapping[Level, tuple[str, ...]] = {
    Level.QUICK: ("S",),
    Level.NORMAL: ("S", "A"),
    Level.FULL: ("S", "W", "A", "B", "C"),
}
"""The problem classes of each level, by ascending size; of a site's own programs the last has all."""

ORDER = "SWABCDEF"
"""All classes, by ascending size."""

_MOST: Mapping[str, Mapping[str, int]] = {
    "ep": {"S": 1 << 8, "W": 1 << 9, "A": 1 << 12, "B": 1 << 14, "C": 1 << 16},
    "is": {"S": 128, "W": 1024, "A": 1024, "B": 1024, "C": 1024},
    "cg": dict.fromkeys("SWABC", 1 << 20),
    "mg": {"S": 8**3, "W": 32**3, "A": 64**3, "B": 64**3, "C": 128**3},
    "ft": {"S": 64, "W": 32, "A": 128, "B": 256, "C": 512},
}
"""Up to how many ranks each built-in kernel runs: batches; NPB's own limit; the grid; the cube; slabs."""

_NAME = re.compile(r"([a-z]{2})\.([A-Z])\.x")


@dataclass(frozen=True, slots=True)
class NpbKernel:
    """One kernel: its name ("cg"), whether it is built in, and whether it runs on so many ranks."""

    name: str
    built_in: bool
    takes: Callable[[int], bool]

    def ranks_for(self, wanted: int) -> int:
        """The largest number of ranks up to ``wanted`` (at least 1) that the kernel takes."""
        return next(ranks for ranks in range(wanted, 0, -1) if self.takes(ranks))


@dataclass(frozen=True, slots=True)
class NpbProgram:
    """A kernel of one class, and how it is started: ``arguments`` behind the program's path.

    most: the largest number of ranks that the class has work for, None: any.
    """

    kernel: NpbKernel
    problem_class: str
    arguments: tuple[str, ...] = ()
    most: int | None = None

    def ranks_for(self, wanted: int) -> int:
        """The largest number of ranks up to ``wanted`` (at least 1) that it runs on."""
        return self.kernel.ranks_for(wanted if self.most is None else min(wanted, self.most))

    @property
    def title(self) -> str:
        """The name of the case."""
        return f"{self.kernel.name}.{self.problem_class}"


def _any(ranks: int) -> bool:
    return ranks >= 1


def _power_of_two(ranks: int) -> bool:
    return ranks >= 1 and ranks & (ranks - 1) == 0


def _square(ranks: int) -> bool:
    return ranks >= 1 and math.isqrt(ranks) ** 2 == ranks


def _near_square(ranks: int) -> bool:
    """N1 * n2 with n1/2 <= n2 <= n1: 1, 2, 4, 6, 8, 9, 12, ..."""
    sides = range(1, math.isqrt(ranks) + 1) if ranks >= 1 else range(0)
    return any(ranks % side == 0 and ranks // side <= 2 * side for side in sides)


KERNELS: Mapping[str, NpbKernel] = {
    kernel.name: kernel
    for kernel in (
        NpbKernel("ep", True, _any),
        NpbKernel("is", True, _power_of_two),
        NpbKernel("cg", True, _power_of_two),
        NpbKernel("mg", True, _power_of_two),
        NpbKernel("ft", True, _power_of_two),
        NpbKernel("lu", False, _near_square),
        NpbKernel("sp", False, _square),
        NpbKernel("bt", False, _square),
    )
}


def program_name(kernel: NpbKernel) -> str:
    """The built-in program of a kernel, as `benchmarks.programs` knows it."""
    return f"npb_{kernel.name}"


def built_in(level: Level) -> tuple[NpbProgram, ...]:
    """What a level runs of the built-in programs."""
    return tuple(
        NpbProgram(kernel, problem_class, ("-c", problem_class), _MOST[kernel.name][problem_class])
        for problem_class in CLASSES[level]
        for kernel in KERNELS.values()
        if kernel.built_in
    )


def choose(level: Level, found: Mapping[NpbProgram, Path]) -> tuple[NpbProgram, ...]:
    """What a level runs of a site's programs: of each kernel its classes, or the smallest that there is.

    A full measurement has all that were found, D and above too.
    """
    chosen: list[NpbProgram] = []
    for kernel in KERNELS.values():
        programs = sorted(
            (program for program in found if program.kernel is kernel),
            key=lambda program: ORDER.index(program.problem_class),
        )
        fitting = [
            program for program in programs if level is Level.FULL or program.problem_class in CLASSES[level]
        ]
        chosen += fitting or programs[:1]
    return tuple(sorted(chosen, key=lambda program: ORDER.index(program.problem_class)))


def find_npb(directory: Path) -> dict[NpbProgram, Path]:
    """Find a site's programs: DIR/cg.A.x or, as NPB's makefiles leave them, DIR/bin/cg.A.x.

    Raises BenchError where there is none.
    """
    found: dict[NpbProgram, Path] = {}
    for folder in (directory, directory / "bin"):
        for path in sorted(folder.glob("*.x")):
            match = _NAME.fullmatch(path.name)
            if match is None or match[1] not in KERNELS or match[2] not in ORDER:
                continue
            if path.is_file() and os.access(path, os.X_OK):
                found.setdefault(NpbProgram(KERNELS[match[1]], match[2]), path)
    if not found:
        raise BenchError(
            f"{directory} holds no program of NPB (cg.A.x, bin/cg.A.x, ...)",
            hint="name the directory NPB3.4-MPI after `make suite`, or its bin",
        )
    return found


def speed_of(result: NpbResult) -> Figure:
    """The figure of a run; its time is the same once more, printed by NASA's programs with too few digits."""
    return Figure("rate", result.mops, "Mop/s", Better.HIGHER)
