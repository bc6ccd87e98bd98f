"""The recipes of the test images, as slurm/testbed/images.toml has them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.errors import SlurmError

TABLE = Path(__file__).with_name("images.toml")
AS_IT_IS = ("python", "sh")
"""Languages without a compiler: a Python program is copied, a shell script makes its program itself."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of an image: what it is made from, in which language, and with which flags of the compiler.

    ``files`` are further sources that a script asks for.
    """

    name: str
    source: Path
    language: str = "c"
    flags: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one image is made: Debian's release and packages, trees of wheels, programs and their compilers.

    ``wheels`` are pairs: a prefix of slurm/testbed/wheels.toml and the image's directory that it is copied
    into.  ``compilers`` has for each language the name in the image.  ``part`` is the directory of all
    that which is the image, e.g. a root of another distribution that a script has made, "" for the whole.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    programs: tuple[Program, ...] = ()
    compilers: tuple[tuple[str, str], ...] = ()
    build: tuple[str, ...] = ()
    wheels: tuple[tuple[str, str], ...] = ()
    part: str = ""

    def compiler(self, language: str) -> str:
        """What makes a program of this language ("" where nothing is to be compiled)."""
        return "" if language in AS_IT_IS else dict(self.compilers)[language]


@dataclass(frozen=True, slots=True)
class RecipeTable:
    """The recipe table as read: images, the programs of the host, and the host's MPI compilers."""

    images: tuple[Recipe, ...]
    programs: tuple[Program, ...]
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

    Raises SlurmError where the table is malformed, has an unknown key, or names what it does not have.
    """
    try:
        raw = tomllib.loads(path.read_text())
        host = raw.pop("host")
        reader = _Reader(raw, path.parent)
        table = RecipeTable(
            images=tuple(reader.image(name, entry) for name, entry in raw.pop("image").items()),
            programs=tuple(reader.expand(host.pop("programs"))),
            host_compilers=tuple((str(family), str(compiler)) for family, compiler in host.items()),
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise SlurmError(f"the image recipes in {path} cannot be read: {error!r}") from error
    unknown = [*raw, *reader.unknown]
    if unknown:
        raise SlurmError(f"the image recipes in {path} have an unknown key: {unknown[0]}")
    return table


class _Reader:
    """Takes the parts of a table that others refer to, and notes the keys that nobody asked for."""

    def __init__(self, raw: dict[str, Any], folder: Path) -> None:
        self.unknown: list[str] = []
        self._folder = folder
        self._sets: Mapping[str, list[str]] = raw.pop("sets", {})
        self._compilers: Mapping[str, Mapping[str, str]] = raw.pop("compilers", {})
        self._programs = {name: self._program(name, entry) for name, entry in raw.pop("program", {}).items()}

    def image(self, name: str, entry: dict[str, Any]) -> Recipe:
        programs = tuple(self.expand(entry.pop("programs", ())))
        compilers = self._compilers[entry.pop("compilers")] if "compilers" in entry else {}
        lacking = {program.language for program in programs} - {*compilers, *AS_IT_IS}
        if lacking:
            raise ValueError(f"image.{name} has no compiler for {min(lacking)}")
        recipe = Recipe(
            name=name,
            suite=entry.pop("suite"),
            packages=tuple(entry.pop("packages")),
            programs=programs,
            compilers=tuple(compilers.items()),
            build=tuple(entry.pop("build", ())),
            wheels=tuple((prefix, target) for prefix, target in entry.pop("wheels", ())),
            part=entry.pop("part", ""),
        )
        self.unknown += [f"image.{name}.{key}" for key in entry]
        return recipe

    def expand(self, names: list[str]) -> Iterator[Program]:
        """Programs by their names, or by the names of sets."""
        for name in names:
            for program in self._sets.get(name, [name]):
                yield self._programs[program]

    def _program(self, name: str, entry: dict[str, Any]) -> Program:
        program = Program(
            name=name,
            source=self._path(entry.pop("source")),
            language=entry.pop("language", "c"),
            flags=tuple(entry.pop("flags", ())),
            files=tuple(map(self._path, entry.pop("files", ()))),
        )
        self.unknown += [f"program.{name}.{key}" for key in entry]
        return program

    def _path(self, text: str) -> Path:
        return (self._folder / text).resolve()
