"""May the image's Fortran or C++ interface go on above the host's C library?  Pure."""

from __future__ import annotations

from .families import C_ROLE, matches, tables
from .host import HostMpi
from .image import ImageMpiFacts
from .product import older, series

_PUBLIC = ("MPI_", "PMPI_", "MPIX_", "PMPIX_")


def stays(image: ImageMpiFacts, host: HostMpi, role: str) -> bool:
    """Whether the image's own library of a role serves on, because the host has none and it can."""
    return role != C_ROLE and host.library(role) is None and lost_by(image, host, role) == frozenset()


def lost_by(image: ImageMpiFacts, host: HostMpi, role: str) -> frozenset[str] | None:
    """What the image's library of a role would use of the host's MPI in vain; None if it cannot go on at all.

    That is: names that the host does not have and that must be there, and names of another meaning there.
    """
    family = tables().families[image.family]
    versions = (*(item.version for item in image.mpi), host.version)
    if not family.inner or any(older(version, family.inner_since) for version in versions):
        return None
    has = frozenset[str]().union(*host.exports.values())
    alike = any(series(item.version) == series(host.version) != () for item in image.mpi)
    lost: set[str] = set()
    todo, seen = [role], {role}
    while todo:
        users = _paths(image, todo.pop())
        asked = [each for each in image.bindings if each.user in users]
        if not asked:
            return None
        for each in asked:
            if host.library(each.role) is None and _paths(image, each.role) & _users(image):
                # That one goes on as well.
                todo += {each.role} - seen
                seen.add(each.role)
                continue
            inner = (name for name in each.used if not name.startswith(_PUBLIC))
            lost |= each.symbols - has
            lost |= {name for name in inner if not alike and not matches(name, family.inner)}
    return frozenset(lost)


def _paths(image: ImageMpiFacts, role: str) -> set[str]:
    return {item.path for item in image.mpi if item.role == role}


def _users(image: ImageMpiFacts) -> set[str]:
    return {each.user for each in image.bindings}
