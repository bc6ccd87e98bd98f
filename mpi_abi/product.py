"""Whose build an MPI library is, of which version, and what numbers it means by the standard ABI."""

from __future__ import annotations

import re
from collections.abc import Collection

from .elfcache import ElfCache
from .families import ValueSet, tables

STANDARD = "standard"


def find_product(
    elves: ElfCache, host_path: str, family: str, found: Collection[str], version: str
) -> tuple[str, str]:
    """The title of the product ("" if nothing tells, or if it is the family itself) and its version.

    Args:
        elves: what was read before.
        host_path: the file.
        family: the family that its symbols tell.
        found: those symbols of the tables that it exports.
        version: what its family's ``version_object`` says, "" if it exports none.

    The file's bytes are searched only where symbols leave the question open.  Raises AbiError if the file
    cannot be read.
    """
    for product in tables().products:
        if family not in product.families or (product.symbol and product.symbol not in found):
            continue
        if not product.symbol and version and family != STANDARD:
            break
        text = elves.match(host_path, product.pattern)
        if text or product.symbol:
            title = "" if product.title == tables().title(family) else product.title
            return title, text or version
    return "", version


def value_set(family: str, product: str, version: str) -> str:
    """Which values a library's constants have: the family, or of the standard ABI one of two sets.

    "" where the tables do not know the version: then nothing before MPI_Init tells.
    """
    if family != STANDARD:
        return family
    return next((row.name for row in tables().value_sets if _has(row, product, version)), "")


def read_answer(family: str, answer: str) -> tuple[str, str]:
    """Product and version by what MPI_Get_library_version says; both "" if that is not known."""
    for product in tables().products:
        if family in product.families and (match := re.search(product.answer, answer)):
            return product.title, match[1]
    return "", ""


def older(version: str, than: str) -> bool:
    """Whether a version comes before another; its numbers up to the first other character count."""
    match = re.match(r"\d+(\.\d+)*", version)
    return match is not None and _numbers(match[0]) < _numbers(than)


def series(version: str) -> tuple[int, ...]:
    """The release series of a version, e.g. (5, 0) of 5.0.7; () if it has none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else ()


def _has(row: ValueSet, product: str, version: str) -> bool:
    # Pre-releases (5.0.0b1) are in no row: the sets changed between two of them.
    if row.product != product or not re.fullmatch(r"\d+(\.\d+)*", version):
        return False
    mine = _numbers(version)
    return _numbers(row.since) <= mine and (not row.before or mine < _numbers(row.before))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
