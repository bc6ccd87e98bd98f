"""Images and host programs of the tests and the demo: made once, cached by what they are made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed.cached import POLL, Progress, cache_directory, digest_of, made_once
from slurm.testbed.recipes import Program, Recipe, RecipeTable, read_table
from slurm.testbed.wheels import entry_of_wheel, get_wheel

BUILDER = Path(__file__).with_name("build_image.sh")
MIRROR = "http://deb.debian.org/debian"
BUILD_LIMIT = 1200.0
"""Seconds that one image may take to build, a slow mirror included."""


def image_names() -> tuple[str, ...]:
    """Names of all images that can be made."""
    return tuple(recipe.name for recipe in read_table().images)


def get_image(name: str, *, progress: Progress | None = None, table: RecipeTable | None = None) -> Path:
    """Give the directory of an image, made first if the cache does not have it.

    ``progress`` is told in a few words what is being done while an image is built; for one from the cache it
    is not called.  Building needs root, mmdebstrap and the archive.  One process builds; others that want
    the same image wait for it, with a limit.

    Raises SlurmError: unknown name, not root, or a build that failed (with the end of its log).
    """
    table = table or read_table()
    final = entry_of_image(name, table)
    recipe = table.recipe(name)
    report = progress or _silent
    return made_once(final, lambda directory: _build_image(recipe, directory, report), report)


def entry_of_image(name: str, table: RecipeTable) -> Path:
    """Where an image lies in the cache, built or not.

    Raises SlurmError: unknown name, or a source that cannot be read.
    """
    recipe = table.recipe(name)
    trees = (entry_of_wheel(prefix).name for prefix, _ in recipe.wheels)
    what = [recipe.suite, *recipe.packages, *recipe.build, repr(recipe.wheels), repr(recipe.compilers)]
    what += [recipe.part] if recipe.part else []
    digest = digest_of(*what, MIRROR, _read(BUILDER), *trees, *_contents(recipe.programs))
    return cache_directory() / "images" / f"{name}-{digest}"


def host_programs(mpi: str, *, progress: Progress | None = None, table: RecipeTable | None = None) -> Path:
    """Give the directory of the MPI programs, compiled with this host's MPI.

    ``mpi`` is the family, ``mpich`` or ``openmpi``.

    Raises SlurmError: unknown family, no such compiler here, or a compilation that failed (with its output).
    """
    table = table or read_table()
    wrapper = table.host_compiler(mpi)
    compiler = shutil.which(wrapper)
    if compiler is None:
        raise SlurmError(
            f"the MPI programs cannot be compiled for the host: {wrapper} is not there",
            hint=f"install the development package of the host's {mpi}",
        )
    # What the wrapper would run changes with the MPI that it belongs to.
    shown = subprocess.run([compiler, "-show"], capture_output=True, text=True, check=False, timeout=60)
    stamp = str(Path(compiler).resolve().stat().st_mtime_ns)
    digest = digest_of(compiler, stamp, shown.stdout, *_contents(table.programs))
    report = progress or _silent
    return made_once(
        cache_directory() / "programs" / f"host-{mpi}-{digest}",
        lambda directory: _compile(compiler, table.programs, directory, report),
        report,
    )


def _silent(_text: str) -> None:
    pass


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise SlurmError(f"a source of the test images cannot be read: {path}: {error.strerror}") from error


def _contents(programs: Iterable[Program]) -> Iterable[str]:
    """All that programs are made from, but for their compiler."""
    for program in programs:
        yield repr((program.name, program.source.name, program.language, program.flags))
        yield from (_read(path) for path in (program.source, *program.files))


def _build_image(recipe: Recipe, directory: Path, progress: Progress) -> Path:
    if os.geteuid() != 0:
        raise SlurmError(
            f"the test image {recipe.name} is not in {cache_directory()}, and only root can build it",
            hint="do the same as root once: what is built stays in the cache for everybody",
        )
    if shutil.which("mmdebstrap") is None:
        raise SlurmError(
            f"the test image {recipe.name} cannot be built: mmdebstrap is not installed",
            hint="apt-get install mmdebstrap",
        )
    command = [
        # The build dies with its caller, even a killed one: then the namespaces go, with all that is in them.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *("sh", os.fspath(BUILDER), os.fspath(directory)),
        *(recipe.suite, MIRROR, ",".join(recipe.packages), ",".join(recipe.build)),
    ]
    trees = [(get_wheel(prefix, progress=progress), target) for prefix, target in recipe.wheels]
    (directory / "trees").write_text("".join(f"{source}\t{target}\n" for source, target in trees))
    (directory / "programs").write_text("".join(_line(recipe, program) for program in recipe.programs))
    (directory / "sources").mkdir()
    for path in {path for program in recipe.programs for path in (program.source, *program.files)}:
        shutil.copy(path, directory / "sources" / path.name)
    _run_logged(command, directory / "log", what=recipe.name, progress=progress)
    return directory / "root" / recipe.part.lstrip("/")


def _line(recipe: Recipe, program: Program) -> str:
    """What build_image.sh is told of a program: name, language, compiler, source, flags."""
    compiler = recipe.compiler(program.language) or "-"
    parts = (program.name, program.language, compiler, program.source.name, " ".join(program.flags))
    return "\t".join(parts) + "\n"


def _run_logged(command: Sequence[str], log: Path, *, what: str, progress: Progress) -> None:
    """Run a build with its output in ``log``; lines "step: TEXT" of it are progress."""
    with log.open("wb") as output, log.open(errors="replace") as lines:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/"
        )
        deadline = time.monotonic() + BUILD_LIMIT
        try:
            while process.poll() is None and time.monotonic() < deadline:
                _report_steps(lines.read(), what, progress)
                time.sleep(POLL)
        finally:
            late = process.poll() is None
            process.kill()
            process.wait()
    if late or process.returncode != 0:
        reason = f"took longer than {BUILD_LIMIT:.0f} seconds" if late else f"ended with {process.returncode}"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SlurmError(f"building the test image {what} {reason}; the end of its log:\n{tail}")


def _report_steps(text: str, what: str, progress: Progress) -> None:
    for line in text.splitlines():
        if line.startswith("step: "):
            progress(f"{what}: {line.removeprefix('step: ')}")


def _compile(compiler: str, programs: Sequence[Program], directory: Path, progress: Progress) -> Path:
    result = directory / "bin"
    result.mkdir()
    result.chmod(0o755)
    for program in programs:
        source, output = program.source, result / program.name
        progress(f"{program.name}: compile with {compiler}")
        command = [compiler, "-O2", *program.flags, "-o", os.fspath(output), os.fspath(source), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise SlurmError(f"{compiler} does not compile {source}:\n{done.stdout}{done.stderr}")
        output.chmod(0o755)
    return result
