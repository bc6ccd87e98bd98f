"""What an installation copies: the application as it runs here, and the libraries that it needs.  Reads only.

Nothing comes from the network: what runs here is what gets installed.
"""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from slurm.errors import SlurmError

PACKAGES = ("benchmarks", "cffi_build", "launcher", "mpi_abi", "slurm")
"""The application's own packages."""
NAME = "bareboat"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_EXTRA = re.compile(r"\bextra\s*==")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A distribution that another one needs; ``certain`` if no environment marker restricts that."""

    name: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Payload:
    """What to copy.

    ``requires`` are the libraries that our packages name; ``packages`` are (name, directory) of our own;
    ``files`` are (path in site-packages, source) of the libraries; ``top`` is the directory that holds our
    packages.
    """

    version: str
    top: Path
    requires: tuple[str, ...]
    packages: tuple[tuple[str, Path], ...]
    files: tuple[tuple[str, Path], ...]


def parse_requirements(lines: Iterable[str]) -> tuple[Requirement, ...]:
    """Read requirements as metadata has them (PEP 508); those of extras are left out.

    Raises:
        SlurmError: if a line does not start with a name.
    """
    found = []
    for line in lines:
        name = _REQUIREMENT.match(line)
        if name is None:
            raise SlurmError(f"{line!r} is not a requirement")
        marker = line.partition(";")[2]
        if not _EXTRA.search(marker):
            found.append(Requirement(name[1], certain=not marker.strip()))
    return tuple(found)


def find_payload() -> Payload:
    """Find out what runs here.

    Raises:
        SlurmError: if a package of ours, the compiled core or a library is missing.
    """
    packages = tuple((name, _package(name)) for name in PACKAGES)
    top = dict(packages)["launcher"].parent
    if not list(dict(packages)["launcher"].glob("_core.*.so")):
        raise SlurmError(
            "the compiled core (launcher/_core) is not there",
            hint="build it first: make setup in the source tree",
        )
    version, needed = _own_metadata(top)
    files = tuple(sorted(file for name in _closure(needed) for file in _files_of(name)))
    return Payload(version, top, tuple(one.name for one in needed), packages, files)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise SlurmError(f"bareboat's package {name} is not where this command runs from")
    return Path(next(iter(found.submodule_search_locations))).resolve()


def _own_metadata(top: Path) -> tuple[str, tuple[Requirement, ...]]:
    """Version and requirements: from the source tree's pyproject.toml, else from the installed metadata."""
    project = top / "pyproject.toml"
    if project.is_file():
        data = tomllib.loads(project.read_text())["project"]
        return str(data["version"]), parse_requirements(data["dependencies"])
    try:
        own = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        raise SlurmError(
            "this copy of bareboat does not say what it needs: it has neither metadata nor pyproject.toml",
            hint="run the command of an installed bareboat or of a source tree",
        ) from None
    return own.version, parse_requirements(own.requires or ())


def _closure(needed: Iterable[Requirement]) -> tuple[str, ...]:
    waiting = list(needed)
    seen: dict[str, str] = {}
    while waiting:
        requirement = waiting.pop()
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()  # PEP 503
        if key in seen:
            continue
        try:
            distribution = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            if not requirement.certain:
                continue  # for another platform or Python
            raise SlurmError(
                f"the Python library {requirement.name} is not installed here", hint="run make setup"
            ) from None
        seen[key] = requirement.name
        waiting += parse_requirements(distribution.requires or ())
    return tuple(seen[key] for key in sorted(seen))


def _files_of(name: str) -> tuple[tuple[str, Path], ...]:
    """A library's files below site-packages; its commands (../../bin) are not needed."""
    listed = metadata.distribution(name).files
    if listed is None:
        raise SlurmError(
            f"the Python library {name} has no list of its files",
            hint="install it by pip, as make setup does",
        )
    return tuple(
        (str(file), Path(str(file.locate())))
        for file in listed
        if ".." not in file.parts and file.suffix != ".pyc" and not file.is_absolute()
    )
