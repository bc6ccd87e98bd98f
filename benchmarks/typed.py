"""Holds what was read from a file to the types that its dataclasses declare.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

_MOST = 1 << 63
"""No count is as large: whatever is more has no place in a float, or on an axis."""

_LARGEST = 1e150
"""Of a number: its square is one, too."""

SAMPLES = 1e-60, 1e60
"""Between these lies everything that was measured, so that ratios and variances are numbers."""


def require_types(value: object, hint: Any, name: str) -> None:
    """Look into dataclasses and tuples, too (not into mappings); a number is finite, and of sane size.

    Raises TypeError with the name.
    """
    arguments = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, tuple):
        several = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if several else list(arguments)
        for item, kind in zip(value, kinds, strict=True):
            require_types(item, kind, name)
    elif get_origin(hint) is Mapping and isinstance(value, Mapping):
        pass
    elif get_origin(hint) is UnionType:
        if not (value is None and NoneType in arguments):
            require_types(value, next(kind for kind in arguments if kind is not NoneType), name)
    elif isinstance(hint, type) and is_dataclass(hint) and isinstance(value, hint):
        for field, kind in _hints(hint).items():
            require_types(getattr(value, field), kind, field)
    elif not _is_plain(value, hint):
        raise TypeError(f"{name} is {str(value)[:80]!r}")


def require_shape(nodes: int, ranks: int, name: str) -> None:
    """Raise ValueError with the name where there are none of one."""
    if nodes < 1 or ranks < 1:
        raise ValueError(f"{name} is on {nodes} nodes with {ranks} ranks")


def require_sample(value: float, message_bytes: int | None, name: str) -> None:
    """Raise ValueError with the name for what cannot have been measured."""
    low, high = SAMPLES
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}")
    if message_bytes is not None and message_bytes < 0:
        raise ValueError(f"{name} has messages of {message_bytes} bytes")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_plain(value: object, hint: Any) -> bool:
    if isinstance(value, bool) or not isinstance(hint, type):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float) and abs(value) < _LARGEST
    if hint is int:
        return isinstance(value, int) and abs(value) < _MOST
    return isinstance(value, hint) and not is_dataclass(hint)
