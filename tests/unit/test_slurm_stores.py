"""The site's stores: what the plugin's line names, and what `bareboat slurm status` says of each."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from slurm import status
from slurm.stores import DEFAULT_STORE, STORE_HINT, Component, judge_store, look_at_store, named_stores

DIRECTORY = stat.S_IFDIR | 0o755
ROOT = Component("/", 0, DIRECTORY)


def test_the_lines_arguments_name_stores() -> None:
    assert named_stores(("debug", "store=/a", "store=", "store=/b", "xstore=/c")) == ("/a", "", "/b")
    assert named_stores(("debug",)) == ()


def test_the_usual_store_is_the_plugins() -> None:
    text = (Path(__file__).parents[2] / "slurm/spank/store.c").read_text()
    assert re.findall(r'#define DEFAULT_STORE "(.*)"', text) == [DEFAULT_STORE]


@pytest.mark.parametrize(
    ("component", "problem"),
    [
        (Component("/s", 0, DIRECTORY), ""),
        (Component("/s", 0, stat.S_IFDIR | 0o711), ""),
        (Component("/s", 0, 0), "/s does not exist, or cannot be looked at"),
        (Component("/s", 0, stat.S_IFLNK | 0o777), "/s is a link"),
        (Component("/s", 0, stat.S_IFREG | 0o755), "/s is not a directory"),
        (Component("/s", 7, DIRECTORY), "/s is of user 7, mode 0755"),
        (Component("/s", 0, stat.S_IFDIR | 0o775), "/s is of user 0, mode 0775"),
        (Component("/s", 0, stat.S_IFDIR | 0o1777), "/s is of user 0, mode 1777"),
        (Component("/s", 0, stat.S_IFDIR | 0o700), "/s is of user 0, mode 0700"),
    ],
)
def test_a_store_is_judged_by_each_component(component: Component, problem: str) -> None:
    assert judge_store("/s", (ROOT, component)) == problem
    assert judge_store("/s/below", (ROOT, component, Component("/s/below", 0, DIRECTORY))) == problem


@pytest.mark.parametrize("store", ["", "s", "./s", "/a/../s", "/a//s", "//s", "/a/./s"])
def test_a_store_is_a_plain_path(store: str) -> None:
    assert judge_store(store, (ROOT,)) == "it is not an absolute path without //, . and .."


def test_the_way_is_looked_at_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "none"):
        *above, last = look_at_store(f"{tmp_path}/{name}/below")
        assert last.path == f"{tmp_path}/{name}"
        assert [component.path for component in above] == [*map(str, reversed(last_parents(last)))]
    assert last.mode == 0
    assert look_at_store("/") == (Component("/", 0, Path("/").stat().st_mode),)


def last_parents(component: Component) -> list[Path]:
    return list(Path(component.path).parents)


def test_status_says_what_becomes_of_a_store() -> None:
    good = (ROOT, Component("/s", 0, DIRECTORY))
    bad = (ROOT, Component("/s", 7, DIRECTORY))
    missing = (ROOT, Component("/s", 0, 0))
    assert status.judge_named_store("/s", good) == status.Finding(
        True, "squashfs images of the store /s are mounted by the kernel"
    )
    assert status.judge_named_store("/s", bad) == status.Finding(
        False,
        "the kernel mounts no squashfs image of the store /s: /s is of user 7, mode 0755",
        f"{STORE_HINT}; or take store=/s out of the plugin's line",
    )
    assert not status.judge_named_store("/s", missing).good
    assert status.judge_default_store(missing) == status.Finding(
        True, f"there is no store: squashfs images are shown by FUSE ({DEFAULT_STORE} is not there)"
    )
    assert status.judge_default_store(good).good
    assert status.judge_default_store(bad).hint == STORE_HINT
