"""Every cell of the matrix, judged and run: a verdict that what happened contradicts fails the test."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cells import COLUMNS, Cell, Outcome, all_cells, in_third
from report import DOCUMENT, parse, render
from running import Result, Site, contradiction, try_cell

from slurm.testbed import Testbed

CELLS = all_cells()
THIRD = in_third(CELLS)
Try = Callable[[Cell], Result]


@pytest.fixture(scope="session")
def book() -> Iterator[dict[str, str]]:
    """The texts of the cells of this run; docs/matrix.md is written from them where no cell is missing."""
    texts: dict[str, str] = {}
    yield texts
    if texts.keys() >= {cell.name for cell in CELLS}:
        DOCUMENT.write_text(render(CELLS, texts))


@pytest.fixture
def attempt(
    image: Callable[[str], Path], sites: dict[str, Site], bed: Testbed, user: pwd.struct_passwd
) -> Try:
    """Judges and runs a cell."""

    def run(cell: Cell) -> Result:
        file = Path(user.pw_dir, "shared")
        file.unlink(missing_ok=True)
        return try_cell(cell, image(cell.image), sites.get(cell.host), bed=bed, user=user, file=file)

    return run


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=cell.name, marks=() if cell.name in THIRD else pytest.mark.optin)
        for cell in CELLS
    ],
)
def test_what_happens_is_what_was_judged(
    cell: Cell, attempt: Try, book: dict[str, str], request: pytest.FixtureRequest
) -> None:
    result = attempt(cell)
    wrong = contradiction(cell, result)
    assert not wrong, f"{wrong}: {'; '.join(result.reasons)}\n{result.said}"
    book[cell.name] = result.text
    cells = [
        item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")
    ]
    if len(cells) < len(CELLS):
        known = parse(DOCUMENT.read_text()).get(cell.name)
        assert result.text == known, f"docs/matrix.md differs; `make matrix` writes it\n{result.said}"


def test_the_page_is_of_these_cells() -> None:
    text = DOCUMENT.read_text()
    known = parse(text)
    assert list(known) == [cell.name for cell in CELLS]
    assert render(CELLS, known) == text


def test_a_third_has_some_of_each() -> None:
    known = parse(DOCUMENT.read_text())
    chosen = [cell for cell in CELLS if cell.name in THIRD]
    assert len(CELLS) / 3 - 2 <= len(chosen) <= len(CELLS) / 3 + 2
    for column in COLUMNS:
        assert any(cell.host == column for cell in chosen)
    assert {cell.image for cell in chosen} == {cell.image for cell in CELLS}
    assert {cell.program.name for cell in chosen} == {cell.program.name for cell in CELLS}
    verdicts = {known[cell.name].rpartition(": ")[0].partition(" ")[0] for cell in CELLS}
    assert {known[cell.name].rpartition(": ")[0].partition(" ")[0] for cell in chosen} == verdicts
    assert {known[cell.name].rpartition(": ")[2] for cell in chosen} == set(Outcome)
