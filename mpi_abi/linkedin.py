"""MPIs that are part of a program or of one of its own libraries, told by the functions that these define."""

from __future__ import annotations

from contextlib import suppress

from .elf import open_elf
from .elfcache import ElfCache
from .errors import AbiError
from .families import UNKNOWN, tables
from .loader import Found, Tree

# Of Open MPI, data that no other has; who defines MPI_Init alone is a tool, or a stub for one process.
_BOTH = frozenset(("MPI_Init", "PMPI_Init"))
_OPEN_MPI = "ompi_mpi_comm_world"


def find_in_static(host_path: str, shown: str) -> str:
    """The family of the MPI in a static program, "" if there is none or if its symbol table was stripped.

    Raises AbiError if the file is damaged.
    """
    with open_elf(host_path, shown=shown) as elf:
        if not any(elf.defines_statically(name) for name in sorted(_BOTH)):
            return ""
        return _family(elf.defines_statically(_OPEN_MPI))


def find_in_tree(elves: ElfCache, tree: Tree) -> tuple[str, str]:
    """The container path of the first file of a tree with an MPI in it, and the family; both "" if none."""
    names = (*sorted(_BOTH), _OPEN_MPI)
    for item in tree.objects:
        if item.facts.soname in tables().libc:
            continue
        found = set(elves.find(item.host_path, names))
        if item.how is Found.PROGRAM and not found:
            # The loader asks for no section headers: if they make no sense, that is no reason to refuse.
            with suppress(AbiError), open_elf(item.host_path, shown=item.path) as elf:
                found = {name for name in names if elf.defines_statically(name)}
        if found >= _BOTH:
            return item.path, _family(_OPEN_MPI in found)
    return "", ""


def _family(is_open_mpi: bool) -> str:
    return "openmpi" if is_open_mpi else UNKNOWN
