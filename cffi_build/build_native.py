"""Builds the native programs: ``python -m cffi_build.build_native --output DIR``."""

from __future__ import annotations

import argparse
import shutil
import sys
import sysconfig
from pathlib import Path

from cffi_build.compile import ENTER, CompileError, compile_c, core_sources

MUSL = "musl-gcc"
"""musl's wrapper of gcc."""


def build(directory: Path) -> None:
    """Build the programs into ``directory``.

    ``bareboat-hold`` is ``bareboat-enter`` once more, for the Slurm plugin, and linked with musl where that
    is to be had: every start of glibc asks the processor for its caches, which in a virtual machine takes
    longer than to enter a container.

    Raises:
        CompileError: see :func:`cffi_build.compile.compile_c`.
    """
    enter = (ENTER / "enter_main.c", *core_sources())
    compile_c(directory / "bareboat-enter", enter)
    if shutil.which(MUSL):
        compile_c(directory / "bareboat-hold", enter, "-static", *_kernel_headers(), compiler=(MUSL,))
    else:
        compile_c(directory / "bareboat-hold", enter)
    compile_c(directory / "noop", (ENTER / "noop.c",), "-static", "-s")


def _kernel_headers() -> tuple[str, ...]:
    """Where the kernel's own headers are, which musl lacks: searched last, after musl's own."""
    places = ("/usr/include", f"/usr/include/{sysconfig.get_config_var('MULTIARCH') or ''}")
    return tuple(f"-idirafter{place}" for place in places)


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
