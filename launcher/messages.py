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
    hint = getattr(error, "hint", "")
    return f"bareboat: error: {error}\n" + (f"bareboat: hint: {hint}\n" if hint else "")


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error stands for; 125 where its class names none."""
    code = getattr(error, "exit_code", 125)
    return code if isinstance(code, int) else 125
