"""Runs the C compiler: the one place that knows its flags."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORE = HERE / "core"
ENTER = HERE / "enter"
SPANK = HERE.parent / "slurm" / "spank"

FLAGS = (
    "-std=c11",
    "-O2",
    "-g",
    "-fstack-protector-strong",
    "-D_FORTIFY_SOURCE=2",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wvla",
)


class CompileError(Exception):
    """The compiler refused; the text holds its command and what it said."""


def core_sources() -> tuple[Path, ...]:
    """Return the C files of the core, in a fixed order."""
    return tuple(sorted(CORE.glob("*.c")))


def compile_c(output: Path, sources: tuple[Path, ...], *flags: str, compiler: tuple[str, ...] = ()) -> None:
    """Compile and link ``sources`` into ``output``, replacing it in one step.

    The compiler is ``$CC``, by default ``cc``, if none is given.

    Raises:
        CompileError: the compiler is missing or failed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    compiler = compiler or tuple(shlex.split(os.environ.get("CC", "cc")))
    command = [*compiler, *FLAGS, f"-I{CORE}", "-o", str(partial), *map(str, sources), *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise CompileError(f"{shlex.join(command)}\n{done.stderr}")
        partial.chmod(0o755)
        partial.replace(output)
    except FileNotFoundError as error:
        raise CompileError(f"no C compiler: {compiler[0]} was not found; install gcc or set CC") from error
    finally:
        partial.unlink(missing_ok=True)
