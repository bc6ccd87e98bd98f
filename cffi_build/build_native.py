"""Builds ``bareboat-enter`` and ``noop``: ``python -m cffi_build.build_native --output DIR``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cffi_build.compile import ENTER, CompileError, compile_c, core_sources


def build(directory: Path) -> None:
    """Build both programs into ``directory``.

    Raises:
        CompileError: see :func:`cffi_build.compile.compile_c`.
    """
    compile_c(directory / "bareboat-enter", (ENTER / "enter_main.c", *core_sources()))
    compile_c(directory / "noop", (ENTER / "noop.c",), "-static", "-s")


def main() -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory that gets the programs")
    try:
        build(parser.parse_args().output)
    except CompileError as error:
        print(f"bareboat: error: cannot build the native programs: {error}", file=sys.stderr)
        return 125
    return 0


if __name__ == "__main__":
    sys.exit(main())
