"""Names from images on a terminal: they must not steer it, nor look like lines of ours."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text of one line with everything escaped that is not printed: ``\x1b``, ``\n``, ``\udcff``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
