"""What a command prints, apart from how it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What is printed, as text and as a value for JSON, and the exit code."""

    text: str
    value: dict[str, Any]
    code: int
