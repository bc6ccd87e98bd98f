"""Site configuration: what it sets, and how a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config import (
    Mount,
    MpiMode,
    SiteConfig,
    View,
    find_config,
    parse_config,
    parse_mount,
    read_config,
)
from launcher.errors import BareboatError


def refused(text: str) -> BareboatError:
    with pytest.raises(BareboatError) as caught:
        parse_config(text, "/site.toml")
    return caught.value


def test_every_key_is_read() -> None:
    config = parse_config(
        """
        [view]
        home = false
        tmp = true
        mounts = ["/sw:/sw:ro", "/data"]
        network-types = ["nfs4"]
        [mpi]
        mode = "host"
        prefixes = ["/opt/mpich"]
        search = false
        allow-singletons = true
        [environment]
        pass = ["LD_PRELOAD"]
        deny = ["SECRET"]
        [limits]
        mounts = 2
        """,
        "/site.toml",
    )
    assert config == SiteConfig(
        path="/site.toml",
        views=frozenset(View) - {View.HOME},
        mounts=(Mount("/sw", "/sw", read_only=True), Mount("/data", "/data", read_only=False)),
        network_types=("nfs4",),
        mpi_mode=MpiMode.HOST,
        mpi_prefixes=("/opt/mpich",),
        mpi_search=False,
        allow_singletons=True,
        passed=("LD_PRELOAD",),
        denied=("SECRET",),
        max_mounts=2,
    )


def test_an_empty_file_is_the_defaults() -> None:
    assert parse_config("", "/site.toml") == SiteConfig(path="/site.toml")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[mpi]\n\nmod = 1",
            "/site.toml line 3: 'mpi.mod' is not known",
            "keys of [mpi]: mode, prefixes, search, allow-singletons",
        ),
        ("[mpi]\nmode='host'\n[vieuw]\n", "/site.toml line 3: 'vieuw' is not known", "tables: view, mpi,"),
        ("mpi = 3", "/site.toml line 1: 'mpi' must be a table", "write [mpi]"),
        ("[view]\nhome = 1", "/site.toml line 2: 'view.home' must be true or false", ""),
        ("[view]\nhome = 'no'", "/site.toml line 2: 'view.home' must be true or false", ""),
        ("mpi.mode = 'none'", "/site.toml line 1: 'mpi.mode' must be one of auto, host, image, force", ""),
        ("[mpi]\nmode = []", "/site.toml line 2: 'mpi.mode' must be one of auto, host, image, force", ""),
        (
            "[mpi]\nprefixes = ['opt']",
            "/site.toml line 2: 'mpi.prefixes' must hold absolute paths, not 'opt'",
            "",
        ),
        (
            "[limits]\nmounts = true",
            "/site.toml line 2: 'limits.mounts' must be a whole number, 0 or more",
            "",
        ),
        ("[limits]\nmounts = -1", "/site.toml line 2: 'limits.mounts' must be a whole number, 0 or more", ""),
        (
            "[view]\nmounts = ['/a:b']",
            "/site.toml line 2: 'view.mounts' holds '/a:b', which its target 'b' is not an absolute path",
            "",
        ),
        (
            "[view]\nnetwork-types = ['nfs,x']",
            "/site.toml line 2: 'view.network-types' must hold file system types, not 'nfs,x'",
            "",
        ),
        (
            "[environment]\ndeny = ['A=B']",
            "/site.toml line 2: 'environment.deny' must hold names of environment variables, not 'A=B'",
            "",
        ),
    ],
)
def test_a_mistake_is_refused_by_name_and_line(text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert str(error) == message
    assert error.hint.startswith(hint)


def test_text_that_is_no_toml_is_refused_with_its_place() -> None:
    assert str(refused("[view\n")).startswith("the configuration /site.toml is not TOML: ")
    assert "line 1" in str(refused("[view\n"))


def test_an_absent_file_is_the_defaults_unless_it_was_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    assert read_config(path, required=False) == SiteConfig()
    with pytest.raises(BareboatError, match=r"cannot read the configuration .*none\.toml: it does not exist"):
        read_config(path, required=True)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BareboatError, match=": Is a directory"):
        read_config(str(tmp_path), required=False)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(BareboatError, match=r"binary\.toml: it is not UTF-8 text"):
        read_config(str(binary), required=False)


def test_the_flag_goes_before_the_variable() -> None:
    assert find_config({}) == ("/etc/bareboat/bareboat.toml", False)
    assert find_config({"BAREBOAT_CONFIG": "/a"}) == ("/a", True)
    assert find_config({"BAREBOAT_CONFIG": "/a"}, option="/b") == ("/b", True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has an empty part"),
        ("/a:", "has an empty part"),
        ("/a:/b:ro:x", "has more than three parts"),
        ("/a:/b:RO", "its mode 'RO' is neither ro nor rw"),
        ("/a:ro", "its target 'ro' is not an absolute path"),
        ("/a:/", "its target is the container's root"),
        ("/a://.", "its target is the container's root"),
    ],
)
def test_a_bad_mount_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_mount(text)
    assert str(caught.value) == reason
