"""docs/abi.md: its table of reasons is that of the code, and its example runs."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from abi_toolbox import (
    MPICH_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_library,
    make_old_libc,
    make_root,
)
from click.testing import CliRunner
from test_docs import configuration_keys

import mpi_abi
from launcher.config import MpiMode
from mpi_abi import Code, VerdictKind
from mpi_abi.cli import abi
from mpi_abi.report import EXIT_CODES

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/abi.md").read_text()


def rows(heading: str) -> list[tuple[str, ...]]:
    """The cells of each row of the table below a heading."""
    section = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def verdicts_in_code() -> dict[str, set[str]]:
    """The verdicts that verdict.py gives with each code; what a generator yields is told by its caller."""
    sources = [(TOP / "mpi_abi" / name).read_text() for name in ("verdict.py", "portability.py")]
    tree = ast.parse("\n".join(text.replace("from __future__ import annotations", "") for text in sources))
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code":
            found.setdefault(Code[node.attr].value, set())
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for statement in ast.walk(function):
            if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple):
                text = ast.unparse(statement.value)
                for kind in re.findall(r"VerdictKind\.(\w+)", text):
                    for code in re.findall(r"Code\.(\w+)", text):
                        found[Code[code].value].add(kind)
    return found


def test_the_table_has_every_code_once_in_order() -> None:
    codes = [row[0].strip("`") for row in rows("The reasons")]
    assert codes == sorted(code.value for code in Code)


def test_every_code_is_used_with_the_verdict_that_the_table_says() -> None:
    used = verdicts_in_code()
    assert set(used) == {code.value for code in Code}
    for code, verdict, meaning in rows("The reasons"):
        assert verdict in VerdictKind.__members__
        assert meaning
        assert used[code.strip("`")] <= {verdict}, code


def test_the_verdicts_have_the_exit_codes_that_the_page_says() -> None:
    told = {row[0]: int(row[1]) for row in rows("The verdicts")}
    assert told == {kind.name: code for kind, code in EXIT_CODES.items()}


def test_what_overrules_is_there() -> None:
    names = {row[0].strip("`") for row in rows("How to overrule it")}
    modes = {f"BAREBOAT_MPI={mode}" for mode in MpiMode if mode is not MpiMode.AUTO}
    assert names == modes | {key for key in configuration_keys() if key.startswith("mpi.")}


@pytest.mark.parametrize(("is_old", "code"), [(False, Code.SYMBOLS), (True, Code.HOST_GLIBC)])
def test_the_example_says_what_abi_check_says(tmp_path: Path, is_old: bool, code: Code) -> None:
    root = make_root(tmp_path / "image")
    library = make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE)
    compile_c(root / "opt/app/bin/app", PROGRAM_SOURCE, str(library))
    if is_old:
        make_old_libc(root)
    example = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[0]
    values: dict[str, Any] = {}
    exec(example.replace("/images/app", str(root)), values)
    found = values["judgement"].verdict
    assert found.kind is VerdictKind.NATIVE
    assert code in [reason.code for reason in found.reasons]
    result = CliRunner().invoke(abi, ["check", "--json", str(root), "/opt/app/bin/app"])
    told = json.loads(result.stdout)
    assert [reason["code"] for reason in told["reasons"]] == [reason.code for reason in found.reasons]


def test_the_package_says_what_it_offers() -> None:
    assert mpi_abi.__doc__ is not None
    assert re.findall(r"^judge = .*$", PAGE, flags=re.MULTILINE)[0] in mpi_abi.__doc__
    for name in re.findall(r"`(\w+)`", mpi_abi.__doc__):
        assert name in {*mpi_abi.__all__, "hint"}
        assert getattr(mpi_abi, name, None) is not None or name == "hint"
    for name in mpi_abi.__all__:
        assert getattr(mpi_abi, name).__doc__, name
