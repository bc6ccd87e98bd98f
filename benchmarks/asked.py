"""Holds the options that a measurement keeps to what the command line would have taken.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases import Language, Level
from benchmarks.errors import BenchError
from benchmarks.typed import require_types

_Words = tuple[str, ...]
_Pairs = tuple[tuple[str, str], ...]

_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("image", "lang", "label"), str),
    **dict.fromkeys(("level", "host_mpi", "mpi"), str | None),
    **dict.fromkeys(("suites", "only", "srun_options", "salloc_options"), _Words),
    **dict.fromkeys(("local", "cold"), bool),
    **dict.fromkeys(("nodes", "rounds", "minutes"), int | None),
    **dict.fromkeys(("warmup", "seed"), int),
    **dict.fromkeys(("budget", "limit"), float | None),
    **dict.fromkeys(("osu", "npb"), tuple[str, str] | None),
    "wait": float,
    "ranks": tuple[int, ...],
    "engines": _Words | None,
    "forms": _Pairs,
}

_APP: Mapping[str, Any] = {
    **dict.fromkeys(("argv", "bare", "metrics", "higher"), _Words),
    "units": _Pairs,
    "directory": str,
}
"""The words of `bench app`; all of them are there."""

_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("nodes", "rounds", "minutes", "limit", "wait"), 1),
    "warmup": 0,
    "budget": 0.1,
}

_MOST = 1e9
"""Of a number of these."""


def check_asked(asked: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """The same, with lists as they are in JSON.  Raises BenchError for a value that no option could have."""
    try:
        for name, value in {"image": asked["image"], **asked}.items():
            if name in _KINDS:
                require_types(_as_tuples(value), _KINDS[name], name)
            if value is not None and name in _LEAST and not _LEAST[name] <= value <= _MOST:
                raise ValueError(f"{name} is {value}")
        if asked.get("app") is not None:
            _require_program(asked["app"])
        if asked.get("level") is not None:
            Level(asked["level"])
        Language(asked.get("lang", Language.C))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(
            f"{where} is damaged: asked: {type(error).__name__}: {error}", hint="measure into a new directory"
        ) from error
    return dict(asked)


def _require_program(words: Mapping[str, Any]) -> None:
    for name, kind in _APP.items():
        require_types(_as_tuples(words[name]), kind, name)
    if not words["argv"]:
        raise ValueError("the program has no name")


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
