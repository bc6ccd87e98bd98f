"""Builds the SPANK plugin against a site's Slurm: ``python -m cffi_build.build_spank --output FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cffi_build.compile import SPANK, CompileError, compile_c, core_sources


def build(output: Path, *, slurm_include: Path | None = None) -> None:
    """Build the plugin into ``output``.

    ``slurm_include`` is the directory that holds ``slurm/spank.h`` (default: the compiler's own search path).
    A plugin fits only the major release of Slurm whose headers it was built against.

    Raises:
        CompileError: no headers, or see :func:`cffi_build.compile.compile_c`.
    """
    include = [f"-I{slurm_include}"] if slurm_include else []
    compile_c(
        output,
        (*sorted(SPANK.glob("*.c")), *core_sources()),
        *include,
        "-shared",
        "-fPIC",
        f"-Wl,--version-script={SPANK / 'export.map'}",
    )


def main() -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the plugin's file")
    parser.add_argument("--slurm-include", type=Path, help="directory that holds slurm/spank.h")
    arguments = parser.parse_args()
    try:
        build(arguments.output, slurm_include=arguments.slurm_include)
    except CompileError as error:
        print(f"bareboat: error: cannot build the SPANK plugin: {error}", file=sys.stderr)
        return 125
    return 0


if __name__ == "__main__":
    sys.exit(main())
