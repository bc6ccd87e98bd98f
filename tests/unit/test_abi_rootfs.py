"""Paths of a container stay in the container, whatever its links say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpi_abi.rootfs import RootView


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_text("the container's")
    (top / "usr/lib").mkdir(parents=True)
    (top / "usr/lib/libx.so.1.2").write_text("x")
    (top / "usr/lib/libx.so.1").symlink_to("libx.so.1.2")
    (top / "lib").symlink_to("usr/lib")
    return top


def _link(root: Path, name: str, target: str) -> None:
    (root / name).symlink_to(target)


def test_a_chain_of_links_leads_to_the_file(root: Path) -> None:
    view = RootView(str(root))
    assert view.resolve("/lib/libx.so.1") == str(root / "usr/lib/libx.so.1.2")
    assert view.canonical("/lib/libx.so.1") == "/usr/lib/libx.so.1.2"
    assert view.is_file("/lib/libx.so.1")
    assert view.is_dir("lib")
    assert view.names("/lib") == ("libx.so.1", "libx.so.1.2")


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../../../../../../../etc/passwd",
        "/../../etc/./passwd",
        "usr/../../etc/passwd",
        "/proc/self/root/etc/passwd",
    ],
)
def test_links_that_point_outside_end_inside_or_nowhere(root: Path, target: str) -> None:
    _link(root, "trap", target)
    found = RootView(str(root)).resolve("/trap")
    assert found == (None if "proc" in target else str(root / "etc/passwd"))


def test_a_root_link_planted_in_the_image_is_an_ordinary_link(root: Path) -> None:
    (root / "proc/self").mkdir(parents=True)
    _link(root, "proc/self/root", "/")
    assert RootView(str(root)).resolve("/proc/self/root/etc/passwd") == str(root / "etc/passwd")


def test_loops_dangling_links_and_files_used_as_directories_are_missing(root: Path) -> None:
    _link(root, "a", "b")
    _link(root, "b", "a")
    _link(root, "self", "self/x")
    _link(root, "dangling", "/nowhere")
    view = RootView(str(root))
    for path in ("/a", "/a/x", "/self", "/dangling", "/etc/passwd/x", "/etc/none", "/none/.."):
        assert view.resolve(path) is None, path
    assert view.names("/none") == ()
    assert not view.is_dir("/none")
    assert not view.is_file("/etc")


def test_dots_above_the_root_stay_at_the_root(root: Path) -> None:
    view = RootView(str(root))
    assert view.canonical("/../../..") == "/"
    assert view.canonical("") == "/"
    assert view.resolve("/usr/../../etc/passwd") == str(root / "etc/passwd")


def test_host_directories_appear_where_they_are_bound(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "real-home"
    (home / "bin").mkdir(parents=True)
    (home / "bin/app").write_text("app")
    (home / "out").symlink_to("/etc/passwd")
    (tmp_path / "home").symlink_to("real-home")
    view = RootView(str(root), (("/home/user", str(tmp_path / "home")), ("/lib/extra", str(home))))
    assert view.resolve("/home/user/bin/app") == str(home / "bin/app")
    assert view.canonical("/home/user/bin/app") == "/home/user/bin/app"
    assert view.is_dir("/home")
    # A link in the bound directory is followed in the container.
    assert view.resolve("/home/user/out") == str(root / "etc/passwd")
    assert view.canonical("/home/user/../../etc/passwd") == "/etc/passwd"
    # The mount point itself is reached through the image's links.
    assert view.canonical("/lib/extra/bin/app") == "/usr/lib/extra/bin/app"


def test_the_host_itself_is_a_view_too() -> None:
    view = RootView("/")
    assert view.resolve("/usr/bin/env") == str(Path("/usr/bin/env").resolve())
    assert view.canonical("/") == "/"
