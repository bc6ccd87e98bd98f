"""How errors of every package look to the user.  Used by the entries that print: ``cli`` and ``step``."""

from __future__ import annotations


def known_errors() -> tuple[type[Exception], ...]:
    """Return the error classes whose text is for the user; others are defects and keep their traceback."""
    from benchmarks.errors import BenchError
    from launcher.errors import BareboatError
    from mpi_abi.errors import AbiError
    from slurm.errors import SlurmError

    return (BareboatError, AbiError, SlurmError, BenchError)


def describe(error: BaseException) -> str:
    """Write an error as lines: what failed and why, then what to do."""
    from mpi_abi.shown import printable

    hint = getattr(error, "hint", "")
    lines = [f"bareboat: error: {error}", *([f"bareboat: hint: {hint}"] if hint else [])]
    return "".join(f"{printable(line)}\n" for text in lines for line in text.split("\n"))


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error stands for; 125 where its class names none."""
    code = getattr(error, "exit_code", 125)
    return code if isinstance(code, int) else 125
