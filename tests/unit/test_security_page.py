"""docs/security.md: every fault and attack that it lists has its tests, and they are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/security.md").read_text()


def rows(heading: str) -> Iterator[tuple[str, ...]]:
    """The cells of each row of the table below a heading."""
    section = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines[:2] == ["| what | what happens | test |", "|---|---|---|"]
    for line in lines[2:]:
        yield tuple(cell.strip() for cell in line.strip("|").split("|"))


def defines(path: Path, name: str) -> bool:
    """Whether a test file has a test of this name; C tests are functions or, in their tables, strings."""
    if path.suffix == ".py":
        tree = ast.parse(path.read_text())
        return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.walk(tree))
    return re.search(rf"\b{re.escape(name)}\b", path.read_text()) is not None


@pytest.mark.parametrize("heading", ["Faults", "Attacks"])
def test_every_row_names_tests_that_are_there(heading: str) -> None:
    missing = []
    found = list(rows(heading))
    assert found
    for row in found:
        assert len(row) == 3, row
        names = row[2].split(", ")
        for name in names:
            match = re.fullmatch(r"(tests/[\w/]+\.(?:py|c))::(\w+)", name)
            assert match, f"not the name of a test: {name!r}"
            path = TOP / match[1]
            if not path.is_file() or not defines(path, match[2]):
                missing.append(name)
    assert missing == []
