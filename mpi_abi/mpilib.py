"""What an MPI library is, by the symbols it exports."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from .elfcache import ElfCache
from .families import C_ROLE, Family, matches, tables
from .product import STANDARD, find_product, value_set


@dataclass(frozen=True, slots=True)
class MpiLibrary:
    """One library of an MPI.

    ``role`` is ``c`` for the library with the C interface, else a sibling's of ``families.toml``.  ``path``
    is the path it is found by, ``real`` the same without links (both as its own side sees them),
    ``host_path`` the file on the host.  ``version`` is the MPI's own text ("4.1.4") where the library exports
    it; ``product`` is who built it, "" for the family itself.
    """

    family: str
    role: str
    soname: str
    path: str
    real: str
    host_path: str
    version: str = ""
    product: str = ""

    @property
    def title(self) -> str:
        """Product and version, as people say it."""
        family = tables().title(self.family)
        name = f"{self.product or ('' if self.family == STANDARD else family)} {self.version}".strip()
        if self.family != STANDARD:
            return name
        return f"{family} ({name})" if name else family

    @property
    def values(self) -> str:
        """The set of values of its constants, "" if that is not known; see `product.value_set`."""
        return value_set(self.family, self.product, self.version)


def looks_like_mpi(*names: str) -> bool:
    """Whether one of the names of a file is worth a look at its symbols."""
    return any(matches(name.rpartition("/")[2], tables().names) for name in names)


def identify(elves: ElfCache, path: str, real: str, host_path: str) -> MpiLibrary | None:
    """Say which MPI library a file is, or None if it is none.

    Of siblings the family is left open (""): a Fortran library belongs to the C library beside which it is
    found. Raises AbiError if the file cannot be read.
    """
    known = tables()
    soname = elves.facts(host_path, shown=path).soname or path.rpartition("/")[2]
    found = elves.find(host_path, _telling())
    for family in known.families.values():
        if _belongs(family, found.keys()):
            version = elves.text(host_path, family.version_object) if family.version_object in found else ""
            product, version = find_product(elves, host_path, family.name, found.keys(), version)
            return MpiLibrary(family.name, C_ROLE, soname, path, real, host_path, version, product)
    for sibling in known.siblings:
        if sibling.symbol in found:
            return MpiLibrary("", sibling.role, soname, path, real, host_path)
    return None


@cache
def _telling() -> tuple[str, ...]:
    """Every symbol that the tables tell something by."""
    known = tables()
    names = {name for family in known.families.values() for name in (*family.objects, *family.without)}
    names |= {sibling.symbol for sibling in known.siblings}
    names |= {product.symbol for product in known.products if product.symbol}
    names |= {family.version_object for family in known.families.values() if family.version_object}
    return tuple(sorted(names))


def _belongs(family: Family, found: Collection[str]) -> bool:
    return all(name in found for name in family.objects) and not any(name in found for name in family.without)
