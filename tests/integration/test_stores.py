"""What `bareboat slurm status` says of a store is what the plugin does."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm.stores import judge_store, look_at_store

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], bool]:
    """Whether slurm/spank/store.c trusts an image where a store is named."""
    program = str(tmp_path_factory.mktemp("rules") / "store_rules")
    core = [str(TOP / "cffi_build/core" / f"{name}.c") for name in ("err", "paths", "sys")]
    folders = [f"-I{TOP / folder}" for folder in ("cffi_build/core", "slurm/spank")]
    options = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", *folders]
    argv = ["gcc", *options, "-o", program, str(TOP / "tests/data/store_rules.c"), *core]
    subprocess.run(argv, check=True)

    def ask(image: str, store: str) -> bool:
        done = subprocess.run([program, image, f"store={store}"], check=True, capture_output=True, text=True)
        assert done.stdout in {"trusted\n", "not trusted\n"}
        return done.stdout == "trusted\n"

    return ask


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can reach and only root can write to."""
    directory = Path(tempfile.mkdtemp(prefix=f"bareboat-test-{os.getpid()}-", dir="/var/lib"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def as_it_is(_store: Path) -> None:
    pass


def linked(store: Path) -> None:
    store.rename(store.with_name("real"))
    store.symlink_to("real")


def linked_above(store: Path) -> None:
    linked(store.parent)


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (as_it_is, True),
        (lambda store: store.chmod(0o711), True),
        (lambda store: store.chmod(0o775), False),
        (lambda store: store.chmod(0o1777), False),
        (lambda store: store.chmod(0o700), False),
        (lambda store: os.chown(store, 65534, 0), False),
        (lambda store: os.chown(store, 0, 65534), True),
        (lambda store: store.parent.chmod(0o757), False),
        (lambda store: os.chown(store.parent, 65534, 0), False),
        (linked, False),
        (linked_above, False),
        (lambda store: store.rename(store.with_name("elsewhere")), False),
    ],
)
def test_status_and_the_plugin_agree(
    rules: Callable[[str, str], bool], place: Path, change: Callable[[Path], object], good: bool
) -> None:
    store = place / "above/store"
    store.mkdir(parents=True)
    (store / "image").write_text("")
    change(store)
    for spelled in (str(store), f"{store}/"):
        assert rules(f"{store}/image", spelled) is good
        assert (judge_store(spelled, look_at_store(spelled)) == "") is good


@pytest.mark.parametrize("spell", ["{0}/../store", "{0}/.", "/{0}", "store", ""])
def test_a_store_that_is_no_plain_path_is_none(
    rules: Callable[[str, str], bool], place: Path, spell: str
) -> None:
    store = place / "store"
    store.mkdir()
    (store / "image").write_text("")
    spelled = spell.format(store)
    assert not rules(f"{store}/image", spelled)
    assert judge_store(spelled, look_at_store(spelled))
