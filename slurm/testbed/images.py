"""Images and host programs of the tests and the demo: made once, cached by what they are made from.

The cache is ``$BAREBOAT_CACHE``, else ``/var/cache/bareboat``.  An entry appears by rename, complete, and is
never changed afterwards; its name ends in a hash over the recipe and the sources: a changed one is made
anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slurm.errors import SlurmError

Progress = Callable[[str], None]

TABLE = Path(__file__).with_name("images.toml")
BUILDER = Path(__file__).with_name("build_image.sh")
DEFAULT_CACHE = Path("/var/cache/bareboat")
MIRROR = "http://deb.debian.org/debian"
BUILD_LIMIT = 1200.0
"""Seconds that one image may take to build, a slow mirror included."""
WAIT_LIMIT = 1500.0
"""Seconds that a build of the same entry by another process is waited for; more than a build may take."""
POLL = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is made: Debian's release, its packages, and the compiler for the programs ("": none)."""

    name: str
    suite: str
    packages: tuple[str, ...]
    compiler: str = ""
    build: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipeTable:
    """The recipe table as read: images, the sources of the MPI programs, and the host's MPI compilers."""

    images: tuple[Recipe, ...]
    sources: tuple[Path, ...]
    host_compilers: tuple[tuple[str, str], ...]

    def recipe(self, name: str) -> Recipe:
        for recipe in self.images:
            if recipe.name == name:
                return recipe
        known = ", ".join(recipe.name for recipe in self.images)
        raise SlurmError(f"there is no recipe for an image {name!r}", hint=f"known images: {known}")

    def host_compiler(self, mpi: str) -> str:
        for family, compiler in self.host_compilers:
            if family == mpi:
                return compiler
        known = ", ".join(family for family, _ in self.host_compilers)
        raise SlurmError(f"there is no compiler for an MPI {mpi!r} on the host", hint=f"known: {known}")


def read_table(path: Path = TABLE) -> RecipeTable:
    """Read the recipe table.

    Raises SlurmError where the table is malformed or has an unknown key.
    """
    try:
        raw = tomllib.loads(path.read_text())
        host = {str(family): str(compiler) for family, compiler in raw.pop("host").items()}
        sources = tuple((path.parent / source).resolve() for source in raw.pop("programs"))
        images = tuple(
            Recipe(
                name=name,
                suite=entry.pop("suite"),
                packages=tuple(entry.pop("packages")),
                compiler=entry.pop("compiler", ""),
                build=tuple(entry.pop("build", ())),
            )
            for name, entry in raw["image"].items()
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SlurmError(f"the image recipes in {path} cannot be read: {error!r}") from error
    unknown = [key for key in raw if key != "image"]
    unknown += [f"image.{name}.{key}" for name, entry in raw["image"].items() for key in entry]
    if unknown:
        raise SlurmError(f"the image recipes in {path} have an unknown key: {unknown[0]}")
    return RecipeTable(images=images, sources=sources, host_compilers=tuple(host.items()))


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
    return made_once(final, lambda directory: _build_image(recipe, table.sources, directory, report), report)


def entry_of_image(name: str, table: RecipeTable) -> Path:
    """Where an image lies in the cache, built or not.

    Raises SlurmError: unknown name, or a source that cannot be read.
    """
    recipe = table.recipe(name)
    sources = table.sources if recipe.compiler else ()
    digest = digest_of(repr(recipe), MIRROR, _read(BUILDER), *(_read(source) for source in sources))
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
    digest = digest_of(compiler, stamp, shown.stdout, *(_read(source) for source in table.sources))
    report = progress or _silent
    return made_once(
        cache_directory() / "programs" / f"host-{mpi}-{digest}",
        lambda directory: _compile(compiler, table.sources, directory, report),
        report,
    )


def cache_directory() -> Path:
    """Where images and programs lie: ``$BAREBOAT_CACHE``, else ``/var/cache/bareboat``."""
    return Path(os.environ.get("BAREBOAT_CACHE") or DEFAULT_CACHE)


def _silent(_text: str) -> None:
    pass


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise SlurmError(f"a source of the test images cannot be read: {path}: {error.strerror}") from error


def digest_of(*parts: str) -> str:
    state = hashlib.sha256()
    for part in parts:
        state.update(part.encode() + b"\0")
    return state.hexdigest()[:12]


def made_once(final: Path, build: Callable[[Path], Path], progress: Progress) -> Path:
    """Give ``final``; when it is missing, build it in a directory beside it and rename the result into place.

    ``build`` gets an empty directory and returns what in it is the result.  It may be killed at any point:
    the next one starts in a new directory and removes the old one's.
    """
    if os.access(final, os.R_OK | os.X_OK):
        return final
    _make_parent(final.parent)
    with sole_builder(final, progress):
        if final.is_dir():
            return final
        for stale in final.parent.glob(f".{final.name}.*.building"):
            shutil.rmtree(stale, ignore_errors=True)
        directory = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".building", dir=final.parent))
        try:
            directory.chmod(0o755)
            build(directory).rename(final)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    return final


def _make_parent(parent: Path) -> None:
    try:
        missing = [directory for directory in (parent, *parent.parents) if not directory.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        for directory in missing:
            directory.chmod(0o755)  # whatever the umask: images are for everybody
        writable = os.access(parent, os.W_OK | os.X_OK)
    except OSError as error:
        raise SlurmError(
            f"the cache of the test images cannot be made: {parent}: {error.strerror}",
            hint="run as root, or set BAREBOAT_CACHE to a directory of yours",
        ) from error
    if not writable:
        raise SlurmError(
            f"the cache of the test images cannot be written: {parent}",
            hint="run as root, or set BAREBOAT_CACHE to a directory of yours",
        )


@contextmanager
def sole_builder(final: Path, progress: Progress, *, limit: float = WAIT_LIMIT) -> Iterator[None]:
    """Hold the lock of one entry.  The kernel lets it go when its holder dies, however that happens."""
    path = final.parent / f".{final.name}.lock"
    with path.open("w") as lock:
        deadline = time.monotonic() + limit
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pass
            if time.monotonic() > deadline:
                raise SlurmError(
                    f"another process has been building {final.name} for more than {limit:.0f} seconds",
                    hint=f"look who holds it: fuser {path}",
                )
            if not told:
                progress(f"{final.name}: another process builds it, waiting")
                told = True
            time.sleep(POLL)
        yield


def _build_image(recipe: Recipe, sources: Sequence[Path], directory: Path, progress: Progress) -> Path:
    if os.geteuid() != 0:
        raise SlurmError(
            f"the test image {recipe.name} is not in {cache_directory()}, and only root can build it",
            hint="run `bareboat testbed image` as root once",
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
        *(recipe.suite, MIRROR, ",".join(recipe.packages), recipe.compiler, ",".join(recipe.build)),
        *map(os.fspath, sources),
    ]
    _run_logged(command, directory / "log", what=recipe.name, progress=progress)
    return directory / "root"


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


def _compile(compiler: str, sources: Sequence[Path], directory: Path, progress: Progress) -> Path:
    result = directory / "bin"
    result.mkdir()
    result.chmod(0o755)
    for source in sources:
        progress(f"{source.stem}: compile with {compiler}")
        command = [compiler, "-O2", "-o", os.fspath(result / source.stem), os.fspath(source), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise SlurmError(f"{compiler} does not compile {source}:\n{done.stdout}{done.stderr}")
        (result / source.stem).chmod(0o755)
    return result
