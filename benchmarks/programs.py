"""The MPI programs of ``benchmarks/src``, compiled on this host against one of its MPIs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process
from benchmarks.errors import BenchError
from benchmarks.suites.osu_programs import PROGRAMS as OSU_PROGRAMS
from mpi_abi import AbiError, HostMpi
from mpi_abi.elfcache import ElfCache

SOURCES = Path(__file__).with_name("src")
_LIMIT = 300.0
"""Seconds for one compilation."""
_ABOVE = 4
"""In how many directories above a library its bin may lie: /usr/lib/TRIPLET/mpich/lib is the deepest."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a program is made of: files of `SOURCES` and the compiler's arguments before and after them.

    names: the program looks at its own name, and is to be found under these as well (as links).  mpi False:
    it is a plain program, linked statically, so that it runs on the host and in any image.
    """

    files: tuple[str, ...]
    flags: tuple[str, ...] = ("-O2",)
    libraries: tuple[str, ...] = ("-lm",)
    names: tuple[str, ...] = ()
    mpi: bool = True


_SHARED = ("common/ending.c", "common/library.c")
_OSU_FILES = (
    *("main", "options", "output", "data", "pt2pt", "operations", "collective", "nonblocking"),
    *("access", "one_sided", "startup", "facts"),
)
KNOWN: Mapping[str, Source] = {
    "osu": Source(
        (*(f"osu/{name}.c" for name in _OSU_FILES), *_SHARED),
        ("-std=c11", "-O2"),
        names=(*(program.name for program in OSU_PROGRAMS), "osu_hello"),
    ),
    "bareboat_io": Source(("io/bareboat_io.c",), ("-std=c11", "-O2", "-static"), (), mpi=False),
    **{
        f"npb_{kernel}": Source(
            (*(f"npb/{name}.c" for name in (kernel, *parts, "common")), *_SHARED), ("-std=c11", "-O3")
        )
        for kernel, parts in (("ep", ()), ("is", ()), ("cg", ()), ("mg", ("mg_grid",)), ("ft", ("fft",)))
    },
}
"""Programs of more than one file; any other NAME is NAME.c."""


def source_of(name: str) -> Source:
    """What a program, by its name, is compiled from."""
    return KNOWN.get(name, Source((f"{name}.c",)))


def compile_command(compiler: str, name: str, directory: Path, sources: Path = SOURCES) -> list[str]:
    """The call that makes a program; ``sources`` is where the compiler finds `SOURCES`.  Pure."""
    source = source_of(name)
    files = [str(sources / file) for file in source.files]
    return [compiler, *source.flags, "-o", str(directory / name), *files, *source.libraries]


def compile_programs(
    host: HostMpi, names: Sequence[str], directory: Path, *, link: Sequence[str] = ()
) -> str:
    """Compile programs, by their names (`source_of`), into a directory.

    The compiler is the MPI's own: the first of those that may be it whose programs need the library that
    ``host`` is.  With ``link`` (`link_with`), the programs then get another library of that family in its
    place.  Returns the compiler's path.  Raises BenchError where there is none, with what each of them did.
    """
    wanted = {item.soname for item in host.libraries}
    refused: list[str] = []
    for compiler in _candidates(host):
        try:
            for name in names:
                _compile(compiler, name, directory)
        except BenchError as error:
            refused.append(str(error))
            continue
        needed = _needed(directory / names[0])
        if wanted & set(needed):
            for name in names if link else ():
                _compile(compiler, name, directory, link)
            return compiler
        mpi = [soname for soname in needed if "mpi" in soname] or ["no MPI"]
        refused.append(f"{compiler} links with {', '.join(mpi)}")
    said = f" ({'; '.join(refused)})" if refused else ""
    raise BenchError(
        f"no compiler of {host.title} ({host.c_library.path}) was found{said}",
        hint=f"install its mpicc, e.g. Debian's lib{host.family}-dev, or put it in front of PATH",
    )


def compile_plain(names: Sequence[str], directory: Path) -> None:
    """Compile programs without MPI into a directory, by the host's C compiler.

    Raises BenchError where there is none, or it fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if names and compiler is None:
        raise BenchError(
            f"there is no C compiler to make {', '.join(names)} with", hint="install one, e.g. Debian's gcc"
        )
    for name in names:
        _compile(str(compiler), name, directory)


def link_with(library: Path, folder: str) -> list[str]:
    """Arguments by which a program names ``library``, wherever that lies now, and looks in ``folder``."""
    path = ["-Xlinker", "-rpath", "-Xlinker", folder, "-Wl,--enable-new-dtags"]
    # What the wrapper names behind it is then not needed any more.
    return ["-Wl,--as-needed", str(library), *path, "-Wl,--allow-shlib-undefined"]


def _candidates(host: HostMpi) -> Iterator[str]:
    names = ("mpicc", f"mpicc.{host.family}")
    above = Path(host.c_library.real).parents[1 : 1 + _ABOVE]
    paths = [str(folder / "bin" / name) for folder in above for name in reversed(names)]
    paths += [found for name in names if (found := shutil.which(name))]
    seen: set[str] = set()
    for path in paths:
        real = os.path.realpath(path)
        if real not in seen and os.access(path, os.X_OK):
            seen.add(real)
            yield path


def _compile(compiler: str, name: str, directory: Path, more: Sequence[str] = ()) -> None:
    command = [*compile_command(compiler, name, directory), *more]
    shown = " ".join(command)
    try:
        # Not subprocess.run: of a wrapper that is stopped, it leaves the compiler behind.
        code, _, said = process.run(
            command, environment=os.environ, directory=None, identity=None, limit=_LIMIT
        )
    except OSError as error:
        raise BenchError(f"`{shown}` could not be run: {error}") from error
    if code is None:
        raise BenchError(f"`{shown}` was ended after {_LIMIT:g} s")
    if code != 0:
        raise BenchError(f"`{shown}` failed (exit code {code}):\n{said.strip()}")
    for link in source_of(name).names:
        path = directory / link
        path.unlink(missing_ok=True)
        path.symlink_to(name)


def _needed(program: Path) -> Sequence[str]:
    try:
        return ElfCache().facts(str(program)).needed
    except AbiError as error:
        raise BenchError(f"the compiled program cannot be read: {error}") from error
