"""The tables of this package, ``families.toml``, ``fabric.toml`` and ``plugins.toml``, as frozen values."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

C_ROLE = "c"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Family:
    """One MPI family: the symbols that tell it, and whether its members can stand in for each other.

    ``wire_up`` are the interfaces by which its ranks find each other through srun; from version
    ``alone_since`` on, a rank that finds none of them starts alone and says nothing ("": it always says so).
    ``markers`` are patterns of objects of which only the address counts.  ``inner`` are patterns of names,
    beside those of MPI functions, that its Fortran and C++ libraries use of its others and that mean the same
    in all versions from ``inner_since`` on (the rest does within a series): an image's may go on above a
    host's.
    """

    name: str
    title: str
    objects: tuple[str, ...]
    without: tuple[str, ...] = ()
    version_object: str = ""
    wire_up: tuple[str, ...] = ()
    alone_since: str = ""
    markers: tuple[str, ...] = ()
    swappable: bool = True
    inner: tuple[str, ...] = ()
    inner_since: str = ""


@dataclass(frozen=True, slots=True)
class Product:
    """Who builds libraries of ``families``, told by an exported ``symbol`` or by a text in the file.

    ``pattern`` is a regular expression over bytes, whose group is the version; ``answer`` one over what
    MPI_Get_library_version says.
    """

    title: str
    families: tuple[str, ...]
    pattern: str
    answer: str
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One meaning of the standard ABI's constants, and the versions of a product that have it."""

    name: str
    product: str
    since: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Sibling:
    """A library that goes with the C interface: its role, and a symbol that only it exports."""

    role: str
    symbol: str
    title: str
    internal: bool = False


@dataclass(frozen=True, slots=True)
class PluginDirectory:
    """A directory that libraries of a group open at run time; see the head of ``fabric.toml``."""

    beside: str
    paths: tuple[str, ...]
    marker: str = ""
    target: str = ""
    in_place: bool = False
    variable: str = ""
    also: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Libraries and plugins that must come from the same side."""

    name: str
    libraries: tuple[str, ...]
    directories: tuple[PluginDirectory, ...] = ()
    shared: bool = False
    fabric: bool = False
    family: str = ""
    product: str = ""
    only_with: str = ""
    opens: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PluginRow:
    """Files (patterns) that programs open which are or load one of ``openers``; see ``plugins.toml``.

    ``adapts`` is the family that an MPI must be of for them to be opened, "" if they are in any case.
    """

    openers: tuple[str, ...]
    files: tuple[str, ...]
    adapts: str = ""


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that the tables say.  ``families`` is in the order in which they are tried."""

    families: Mapping[str, Family]
    products: tuple[Product, ...]
    value_sets: tuple[ValueSet, ...]
    siblings: tuple[Sibling, ...]
    fortran_runtimes: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    public: tuple[str, ...]
    public_objects: tuple[str, ...]
    runtimes: tuple[str, ...]
    prefix_dirs: tuple[tuple[str, ...], ...]
    variables: tuple[str, ...]
    host_dirs: tuple[str, ...]
    image_dirs: tuple[str, ...]
    plugins: tuple[PluginRow, ...]
    groups: tuple[Group, ...]
    shared: frozenset[str]
    libc: frozenset[str]
    libc_modules: frozenset[str]
    libc_programs: tuple[str, ...]

    def title(self, family: str) -> str:
        """What people call a family."""
        return self.families[family].title if family in self.families else family

    def role_title(self, role: str) -> str:
        """What a role is, in words."""
        return next((s.title for s in self.siblings if s.role == role), "the C interface")

    def fortran_maker(self, soname: str) -> str:
        """Whose compiler a Fortran run-time library belongs to, "" if it is none."""
        return next((maker for maker, stems in self.fortran_runtimes.items() if stem(soname) in stems), "")

    def group_of(self, soname: str) -> Group | None:
        """The group that a library belongs to."""
        return next((group for group in self.groups if stem(soname) in group.libraries), None)


def stem(soname: str) -> str:
    """``libucs.so.0`` -> ``libucs``."""
    return soname.partition(".so")[0]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def file_version(path: str) -> tuple[int, ...]:
    """The numbers in a file's name: ``libhwloc.so.15.9.0`` -> (15, 9, 0); () if there are none."""
    numbers = path.rpartition("/")[2].partition(".so.")[2].split(".")
    return tuple(int(part) for part in numbers) if all(part.isdigit() for part in numbers) else ()


T = TypeVar("T")


def _make(kind: type[T], values: Mapping[str, Any]) -> T:
    """A frozen value from a TOML table; lists become tuples, and a key that the value lacks is an error."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - known
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _in_places(pattern: str, places: Mapping[str, list[str]]) -> list[str]:
    """A pattern for each place of the name that it begins with."""
    name, found, rest = pattern.removeprefix("{").partition("}")
    return [place + rest for place in places[name]] if found else [pattern]


@cache
def tables() -> Tables:
    """Read the tables that are installed beside this module."""
    here = Path(__file__).parent
    families = tomllib.loads((here / "families.toml").read_text())
    fabric = tomllib.loads((here / "fabric.toml").read_text())
    plugins = tomllib.loads((here / "plugins.toml").read_text())
    for row in plugins["plugins"]:
        row["files"] = [path for pattern in row["files"] for path in _in_places(pattern, plugins["places"])]
    groups = []
    for name, values in fabric["groups"].items():
        directories = [_make(PluginDirectory, entry) for entry in values.pop("directories", [])]
        environment = list(values.pop("environment", {}).items())
        groups.append(
            _make(Group, {"name": name, "directories": directories, "environment": environment, **values})
        )
    return Tables(
        families={name: _make(Family, {"name": name, **v}) for name, v in families["families"].items()},
        products=tuple(_make(Product, entry) for entry in families["products"]),
        value_sets=tuple(_make(ValueSet, entry) for entry in families["value_sets"]),
        siblings=tuple(_make(Sibling, entry) for entry in families["siblings"]),
        fortran_runtimes={maker: tuple(stems) for maker, stems in families["fortran_runtimes"].items()},
        names=tuple(families["search"]["names"]),
        public=tuple(families["public"]["names"]),
        public_objects=tuple(families["public"]["objects"]),
        runtimes=tuple(families["search"]["runtimes"]),
        prefix_dirs=tuple(tuple(row) for row in families["search"]["prefix_dirs"]),
        variables=tuple(families["search"]["variables"]),
        host_dirs=tuple(families["search"]["host_dirs"]),
        image_dirs=tuple(families["search"]["image_dirs"]),
        plugins=tuple(_make(PluginRow, row) for row in plugins["plugins"]),
        groups=tuple(groups),
        shared=frozenset(fabric["shared"]["libraries"]),
        libc=frozenset(fabric["libc"]["libraries"]),
        libc_modules=frozenset(fabric["libc"]["modules"]),
        libc_programs=tuple(fabric["libc"]["programs"]),
    )
