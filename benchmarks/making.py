"""Finds the MPI of each side, and compiles the programs: on the host, and in the container by its own MPI."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cases import BARE, CONTAINER
from benchmarks.errors import BenchError
from benchmarks.probes import PROGRAMS
from benchmarks.programs import SOURCES, compile_command, compile_plain, compile_programs, source_of
from benchmarks.progress import Progress
from benchmarks.runner import Allocation, Client, Step, run_step
from benchmarks.suites.common import open_image
from mpi_abi import AbiError, HostMpi, ImageMpiFacts, choose_host, find_closure, probe_host, probe_image
from mpi_abi.elfcache import ElfCache
from mpi_abi.pmi import PmiAdvice, spoken_by
from mpi_abi.rootfs import Opener, RootView
from mpi_abi.srun import ask_srun

NEEDS_MPI = frozenset({"osu", "npb"})
"""Suites that have no case without MPI."""

_LIMIT = 300.0
"""Seconds for one compilation."""
_USUAL = ("/usr/local/bin", "/usr/bin", "/bin")
_ABOVE = 4
_OF = {side: f"compiler of {side}" for side in (BARE, CONTAINER)}


@dataclass(frozen=True, slots=True)
class Mpi:
    """The MPI of each side: the host's, and what the image has (and its compilers, by their paths inside)."""

    host: HostMpi
    image: ImageMpiFacts
    compilers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """Programs by side and name, and how they came: (what, by which compiler), and what a reader is told.

    missing: why there are no MPI programs, where some were wanted.
    """

    programs: Mapping[tuple[str, str], str]
    compilers: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    missing: BenchError | None = None


def find_mpi(opener: Opener, image: str, prefix: str | None) -> Mpi:
    """Find the host's MPI for an image.  prefix: the only one to look at, None: search.

    Raises BenchError where the image holds no MPI, or the host none of its family (nor any other).
    """
    try:
        hosts = _probe(prefix)
        with open_image(opener, image) as view:
            facts = probe_image(
                view, program=None, environment={}, prefer=tuple(host.family for host in hosts)
            )
            compilers = tuple(_compilers(view, facts))
    except AbiError as error:
        raise BenchError(str(error), hint=error.hint) from error
    if not facts.mpi:
        raise BenchError(
            f"the image {image} has no MPI library: only the launch and io suites can be run in it",
            hint="give --suite launch,io, or an image with an MPI",
        )
    host = choose_host(hosts, facts.family, values=facts.mpi[0].values) or next(iter(hosts), None)
    if host is None:
        raise BenchError(
            "this host has no MPI library to measure with", hint="name its directory: --host-mpi PREFIX"
        )
    return Mpi(host, facts, compilers)


def find_hosts(opener: Opener, image: str, prefix: str | None) -> tuple[HostMpi, ...]:
    """The host's MPIs, of which one may start ranks of any program: the one for the image, else all.

    Raises BenchError where ``prefix`` holds none.
    """
    try:
        return (find_mpi(opener, image, prefix).host,)
    except BenchError:
        try:
            return _probe(prefix)
        except AbiError as error:
            raise BenchError(str(error), hint=error.hint) from error


def _probe(prefix: str | None) -> tuple[HostMpi, ...]:
    return probe_host(prefixes=(prefix,) if prefix else (), search=prefix is None)


def advise_pmi(host: HostMpi) -> str:
    """The value for ``srun --mpi`` that the host's MPI speaks, "" if srun offers none.

    Raises BenchError where its libraries cannot be read.
    """
    try:
        return PmiAdvice(host.title, spoken_by(host, find_closure(host)), ask_srun()).use
    except AbiError as error:
        raise BenchError(str(error), hint=error.hint) from error


def check_family(mpi: Mpi, program: str) -> None:
    """Raise BenchError where a program of the site was built with another MPI than the host's.

    A file that is no ELF file (a script) is not looked into.
    """
    try:
        needed = ElfCache().facts(program).needed
    except (AbiError, OSError):
        return
    ours = {item.soname for item in mpi.host.libraries}
    theirs = [soname for soname in needed if soname.startswith("libmpi")]
    if theirs and not ours & set(theirs):
        raise BenchError(
            f"{program} was built with another MPI: it needs {', '.join(theirs)}, and the host's "
            f"{mpi.host.title} is {mpi.host.c_library.soname}",
            hint="name programs that were built with it, or the prefix of theirs: --host-mpi PREFIX",
        )


def make_all(
    mpi: Mpi | None,
    wanted: Sequence[str],
    directory: Path,
    *,
    client: Client,
    allocation: Allocation,
    image: str,
    progress: Progress,
) -> Made:
    """Compile what the suites want, and the probes; programs without MPI are the same on both sides.

    What cannot be compiled is missing, and its suites say so.  Raises BenchError where the directory of the
    programs cannot be written.
    """
    made = Made({}, ())
    if mpi is not None:
        progress.note(f"compiling the programs with {mpi.host.title} and in the image")
        names = tuple(dict.fromkeys((*PROGRAMS, *(name for name in wanted if source_of(name).mpi))))
        _prepare(directory)
        try:
            made = _make_mpi(mpi, names, directory, client=client, allocation=allocation, image=image)
        except BenchError as error:
            made = replace(made, missing=error)
    plain = [name for name in wanted if not source_of(name).mpi]
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    try:
        compile_plain(plain, directory)
    except BenchError as error:
        progress.note(str(error))
        return made
    both = {(side, name): str(directory / name) for side in (BARE, CONTAINER) for name in plain}
    return replace(made, programs={**made.programs, **both})


def _prepare(directory: Path) -> None:
    with _writing(directory):
        for side in (BARE, CONTAINER):
            (directory / side).mkdir(parents=True, exist_ok=True)
        # Of a measurement that goes on, perhaps older ones are there.
        shutil.copytree(SOURCES, directory / "src", dirs_exist_ok=True)


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Raise BenchError where what is in the context cannot be written to a directory of the measurement."""
    try:
        yield
    except OSError as error:
        # Of a tree, each file that failed: (source, place, why).
        each = isinstance(error, shutil.Error) and error.args and error.args[0]
        why = each[0][2] if each else error.strerror
        raise BenchError(
            f"the programs cannot be put into {directory}: {why}",
            hint="look for room and permission there, or name another directory with --out",
        ) from error


def _make_mpi(
    mpi: Mpi, names: Sequence[str], directory: Path, *, client: Client, allocation: Allocation, image: str
) -> Made:
    """Compile MPI programs for both sides, below ``directory``, which the nodes and the container see.

    Where the image has no compiler (or one that fails), its side gets the host's programs, and a note says
    so.  Raises BenchError when the host has no compiler for its MPI.
    """
    folders = {side: directory / side for side in (BARE, CONTAINER)}
    by_host = compile_programs(mpi.host, names, folders[BARE])
    called = [link for name in names for link in (name, *source_of(name).names)]
    programs = {(BARE, name): str(folders[BARE] / name) for name in called}
    by_image, why = _make_in_image(mpi, names, directory, client=client, allocation=allocation, image=image)
    if by_image:
        programs |= {(CONTAINER, name): str(folders[CONTAINER] / name) for name in called}
        return Made(programs, ((_OF[BARE], by_host), (_OF[CONTAINER], f"{by_image} of the image")))
    programs |= {(CONTAINER, name): programs[BARE, name] for name in called}
    note = f"the container runs the programs that were compiled on the host: {why}"
    return Made(programs, ((_OF[BARE], by_host), (_OF[CONTAINER], by_host)), (note,))


def _make_in_image(
    mpi: Mpi, names: Sequence[str], directory: Path, *, client: Client, allocation: Allocation, image: str
) -> tuple[str, str]:
    """The compiler that made them all, or "" and why there is none."""
    why = "the image has no MPI compiler"
    for compiler in mpi.compilers:
        try:
            for name in names:
                command = compile_command(compiler, name, directory / CONTAINER, directory / "src")
                # With the image's own MPI: its compiler links with it, and need not see the host's.
                step = Step(1, 1, image, tuple(command), _LIMIT, variables=(("BAREBOAT_MPI", "image"),))
                run_step(client, allocation, step)
                _link(directory / CONTAINER, name)
        except BenchError as error:
            why = f"{compiler} of the image does not make them: {str(error).partition(chr(10))[0]}"
            continue
        return compiler, ""
    return "", why


def _link(folder: Path, name: str) -> None:
    for link in source_of(name).names:
        path = folder / link
        path.unlink(missing_ok=True)
        path.symlink_to(name)


def _compilers(view: RootView, facts: ImageMpiFacts) -> Iterator[str]:
    """What may be the compiler of the image's MPI, by its path inside: near the library first."""
    above = list(Path(facts.mpi[0].path).parents)[1 : 1 + _ABOVE] if facts.mpi else []
    folders = dict.fromkeys([*(f"{str(folder).rstrip('/')}/bin" for folder in above), *_USUAL])
    for folder in folders:
        for name in (f"mpicc.{facts.family}", "mpicc"):
            if view.is_file(f"{folder}/{name}"):
                yield f"{folder}/{name}"
