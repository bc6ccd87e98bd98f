"""Reads one side of ``bareboat abi diff``: a library, the MPIs below a host prefix, or those of an image."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .elfcache import ElfCache, file_machine
from .environment import image_environment
from .errors import AbiError
from .families import C_ROLE
from .host import HostMpi, probe_prefix
from .image import probe_image
from .mpilib import MpiLibrary, identify
from .rootfs import Opener


@dataclass(frozen=True, slots=True)
class Side:
    """One MPI: its libraries (the C library first), what each role exports, and the sizes of its data."""

    libraries: tuple[MpiLibrary, ...]
    exports: Mapping[str, frozenset[str]]
    objects: Mapping[str, int]

    @property
    def c_library(self) -> MpiLibrary:
        """The library with the C interface."""
        return self.libraries[0]


def read_sides(name: str, opener: Opener) -> tuple[Side, ...]:
    """The MPIs of ``name``: of an ELF file itself, of a directory that is no root, else of an image.

    Raises AbiError if there is none, or if it cannot be read.
    """
    try:
        mode = Path(name).stat().st_mode
    except OSError:
        mode = 0  # perhaps an image that only the opener knows
    path = str(Path(name).absolute())
    if stat.S_ISREG(mode) and file_machine(path) is not None:
        return (_library(path),)
    if stat.S_ISDIR(mode) and not _is_root(Path(name)):
        return tuple(map(_of_host, probe_prefix(path)))
    return _of_image(name, opener)


def _is_root(path: Path) -> bool:
    """Whether a directory is the root of a system, rather than the prefix of an installation."""
    return (path / "usr").is_dir() and (path / "etc").is_dir()


def _library(path: str) -> Side:
    elves = ElfCache()
    library = identify(elves, path, path, path)
    if library is None or library.role != C_ROLE:
        raise AbiError(
            f"{path}: no library with the C interface of MPI",
            hint="name a libmpi, or the directory of an installation to compare all of it",
        )
    return _side((library,), elves)


def _of_host(host: HostMpi) -> Side:
    return Side(host.libraries, host.exports, host.objects)


def _of_image(name: str, opener: Opener) -> tuple[Side, ...]:
    with opener(name) as view:
        facts = probe_image(view, program=None, environment=image_environment(view))
        found = (*facts.mpi, *facts.others)
        if not found:
            raise AbiError(
                f"{name}: there is no MPI in this image",
                hint="name an image that has one, a libmpi, or the directory of an installation",
            )
        elves = ElfCache()
        families = dict.fromkeys(item.family for item in found if item.role == C_ROLE)
        return tuple(_side([item for item in found if item.family == name], elves) for name in families)


def _side(libraries: Iterable[MpiLibrary], elves: ElfCache) -> Side:
    first: dict[str, MpiLibrary] = {}
    for item in libraries:
        first.setdefault(item.role, item)
    ordered = tuple(sorted(first.values(), key=lambda item: (item.role != C_ROLE, item.role)))
    return Side(
        ordered,
        {item.role: elves.exports(item.host_path) for item in ordered},
        {name: size for item in ordered for name, size in elves.objects(item.host_path).items()},
    )
