"""The rooms of docs/design.md, section 3, and the rules that hold in all of them, read from the sources."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
ALLOWED = {
    "launcher": {"launcher", "benchmarks", "mpi_abi", "slurm"},
    "benchmarks": {"benchmarks", "mpi_abi", "slurm"},
    "mpi_abi": {"mpi_abi"},
    "slurm": {"slurm"},
    "cffi_build": {"cffi_build"},
}
ROOMS = frozenset(ALLOWED)
LINES = 400
LONGER = {
    Path("benchmarks/src/mpi_latency.c"): 500,  # in an image, one call of its compiler makes it from one file
}
BINARY = {".so", ".o"}
GENERATED = {
    ".git",
    ".venv",
    "build",
    "__pycache__",
    ".hypothesis",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
}


def files(*endings: str) -> tuple[Path, ...]:
    """Every file of the tree that somebody wrote, of these endings (all without any), relative to the top."""
    return tuple(
        sorted(
            path.relative_to(TOP)
            for path in TOP.rglob("*")
            if path.is_file()
            and not any(
                part in GENERATED or part.endswith(".egg-info") for part in path.relative_to(TOP).parts
            )
            and path.suffix not in BINARY
            and path.name != "_core.c"
            and (not endings or path.suffix in endings)
        )
    )


def sources() -> tuple[Path, ...]:
    return tuple(path for path in files(".py") if path.parts[0] in ROOMS)


def imports(path: Path) -> Iterator[str]:
    """Full names of all that is imported: ``from a import b`` may mean the module a.b as well as a name."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.parts[: len(path.parts) - node.level] if node.level else ()
            origin = ".".join((*package, *([node.module] if node.module else [])))
            yield from (f"{origin}.{name.name}" for name in node.names)


def parse(path: Path) -> ast.AST:
    return ast.parse((TOP / path).read_text(), filename=str(path))


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports_point_one_way(path: Path) -> None:
    room = path.parts[0]
    ours = {name for name in imports(path) if name.split(".")[0] in ROOMS}
    wrong = sorted(name for name in ours if name.split(".")[0] not in ALLOWED[room])
    assert not wrong, f"{path} may import from {sorted(ALLOWED[room])} only"
    if path != Path("launcher/cli.py"):
        others = sorted(
            name for name in ours if name.split(".")[0] != room and name.split(".")[1:2] == ["cli"]
        )
        assert not others, f"{path} imports another package's command line; only launcher/cli.py may"
    if path != Path("launcher/apply.py"):
        core = sorted(name for name in ours if name.startswith("launcher._core"))
        assert not core, f"{path} touches the C core; only launcher/apply.py may"


@pytest.mark.parametrize("path", files(".py"), ids=str)
def test_no_shell_gets_a_command_as_text(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}, (
            f"{path}:{node.lineno} calls {name}"
        )
        for keyword in node.keywords:
            if keyword.arg == "shell":
                assert ast.unparse(keyword.value) == "False", f"{path}:{node.lineno} runs a shell"


@pytest.mark.parametrize("path", files(".c", ".h"), ids=str)
def test_no_shell_in_c(path: Path) -> None:
    assert not re.search(r"\b(system|popen)\s*\(", (TOP / path).read_text())


@pytest.mark.parametrize("path", files(".py", ".c", ".h", ".sh"), ids=str)
def test_files_stay_small(path: Path) -> None:
    count = len((TOP / path).read_text().splitlines())
    assert count < LONGER.get(path, LINES), f"{path} has {count} lines; a module is one idea"


@pytest.mark.parametrize("path", files(), ids=str)
def test_nothing_is_bound_to_one_machine(path: Path) -> None:
    text = (TOP / path).read_bytes().decode(errors="replace")
    # Put together here so that this file does not find itself.
    found = re.findall(r"(?<![\w.}])/" + r"(?:work|root|Users|home/[a-z]+)/[\w./-]*", text)
    assert not [name for name in found if not name.startswith("/home/" + "user")]


def test_test_files_have_names_of_their_own() -> None:
    """Pytest takes two files of one name in different folders for the same module."""
    counts = Counter(path.name for path in files(".py") if path.name.startswith("test_"))
    assert [name for name, count in counts.items() if count > 1] == []


def test_make_runs_the_tests_of_every_folder_once() -> None:
    found = re.findall(r"^(?:PURE|MACHINE) = (.*)$", (TOP / "Makefile").read_text(), re.MULTILINE)
    folders = {str(path.parent.relative_to(TOP)) for path in (TOP / "tests").rglob("test_*.py")}
    assert sorted(" ".join(found).split()) == sorted(folders)


def test_every_package_is_installed() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    packages = {".".join(path.parent.parts) for path in sources() if path.name == "__init__.py"}
    assert set(project["tool"]["setuptools"]["packages"]) == packages


def test_requirements_hold_what_the_project_pins() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    lines = (TOP / ".ci" / "requirements.txt").read_text().splitlines()
    locked = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in locked)
    named = {
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    }
    assert named <= set(locked)


def test_every_debian_package_has_a_reason() -> None:
    lines = (TOP / ".ci" / "packages").read_text().splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    assert entries
    assert [entry for entry in entries if not re.fullmatch(r"[a-z0-9.+-]+ {2,}\S.*", entry)] == []
    names = [entry.split()[0] for entry in entries]
    assert len(names) == len(set(names))
