"""Holds what was read from a file to the types that its dataclasses declare.  Pure."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints


def require_types(value: object, hint: Any, name: str) -> None:
    """Look into dataclasses and tuples, too; a number is finite.  Raises TypeError with the name."""
    arguments = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, tuple):
        several = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if several else list(arguments)
        for item, kind in zip(value, kinds, strict=True):
            require_types(item, kind, name)
    elif get_origin(hint) is UnionType:
        if not (value is None and NoneType in arguments):
            require_types(value, next(kind for kind in arguments if kind is not NoneType), name)
    elif isinstance(hint, type) and is_dataclass(hint) and isinstance(value, hint):
        for field, kind in _hints(hint).items():
            require_types(getattr(value, field), kind, field)
    elif not _is_plain(value, hint):
        raise TypeError(f"{name} is {str(value)[:80]!r}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_plain(value: object, hint: Any) -> bool:
    if isinstance(value, bool) or not isinstance(hint, type):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, hint) and not is_dataclass(hint)
