"""Pieces of a program's output, for messages about it.  Pure."""

from __future__ import annotations

_MOST = 100
_LINES = 3


def clip(text: str) -> str:
    """A line, without its end where it is long."""
    text = text.strip()
    return text if len(text) <= _MOST else text[: _MOST - 3] + "..."


def last_lines(text: str) -> str:
    """How an output ends, as a hint."""
    last = [line for line in text.split("\n") if line.strip()][-_LINES:]
    return "it ends with: " + " | ".join(map(clip, last)) if last else "it is empty"
