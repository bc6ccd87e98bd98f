"""Requests: variables and flags become one frozen request, or an error that names the entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from launcher.config import Mount, MpiMode, SiteConfig, View
from launcher.errors import UsageError
from launcher.request import Request, make_request


def make(environment: Mapping[str, str] | None = None, **flags: Any) -> Request:
    arguments: dict[str, Any] = {"cwd": "/home/user", "config": SiteConfig(), **flags}
    return make_request("/img", ["app"], environment=environment or {}, **arguments)


def refused(environment: Mapping[str, str] | None = None, **flags: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        make(environment, **flags)
    return caught.value


def test_mounts_come_from_the_variable_then_the_flags() -> None:
    request = make({"BAREBOAT_MOUNTS": "/a,/b:/c:ro"}, mounts=("d:/e:rw",))
    assert request.mounts == (
        Mount("/a", "/a", read_only=False),
        Mount("/b", "/c", read_only=True),
        Mount("/home/user/d", "/e", read_only=False),
    )


def test_a_relative_source_is_taken_from_the_working_directory() -> None:
    assert make(mounts=("./x/",)).mounts == (Mount("/home/user/x", "/home/user/x", read_only=False),)


def test_dots_in_a_source_are_left_to_the_kernel_and_taken_out_of_the_target() -> None:
    # /home/user/link/.. need not be /home/u.
    assert make(mounts=("link/../x",)).mounts == (
        Mount("/home/user/link/../x", "/home/user/x", read_only=False),
    )


def test_the_mpi_mode_is_the_flags_then_the_variables_then_the_sites() -> None:
    site = SiteConfig(mpi_mode=MpiMode.HOST)
    assert make(config=site).mpi is MpiMode.HOST
    assert make({"BAREBOAT_MPI": "image"}, config=site).mpi is MpiMode.IMAGE
    assert make({"BAREBOAT_MPI": "image"}, config=site, mpi="force").mpi is MpiMode.FORCE


def test_views_are_switched_off_by_variable_and_flag() -> None:
    request = make({"BAREBOAT_WITHOUT": "home,tmp"}, without=("cwd,dev",))
    assert request.without == {View.HOME, View.TMP, View.CWD, View.DEV}


def test_prologs_are_absolute_paths_each_once() -> None:
    assert make({"SLURM_BAREBOAT_TASK_PROLOGS": "/a::b:/c:/a"}).task_prologs == ("/a", "/c")


@pytest.mark.parametrize(
    ("variables", "flags", "text", "hint"),
    [
        (
            {"BAREBOAT_MOUNTS": "/a,/b:c"},
            {},
            "BAREBOAT_MOUNTS: entry 2 ('/b:c') its target 'c' is not an absolute path",
            "an entry is SRC[:DST[:ro]]",
        ),
        (
            {"BAREBOAT_MOUNTS": "/a,"},
            {},
            "BAREBOAT_MOUNTS: entry 2 ('') has an empty part",
            "an entry is SRC[:DST[:ro]]",
        ),
        (
            {},
            {"mounts": ("/a:/b:x",)},
            "--mount: entry 1 ('/a:/b:x') its mode 'x' is neither ro nor rw",
            "an entry",
        ),
        ({}, {"mounts": ("/",)}, "--mount: entry 1 ('/') its target is the container's root", "an entry"),
        (
            {},
            {"mounts": ("../..",)},
            "--mount: entry 1 ('../..') its target is the container's root",
            "an entry",
        ),
        (
            {"BAREBOAT_MPI": "hosts"},
            {},
            "BAREBOAT_MPI: 'hosts' is not a mode",
            "modes: auto, host, image, force",
        ),
        ({}, {"mpi": "no"}, "--mpi: 'no' is not a mode", "modes: auto, host, image, force"),
        (
            {"BAREBOAT_WITHOUT": "hom"},
            {},
            "BAREBOAT_WITHOUT: 'hom' is not a part of the view",
            "parts: proc, sys,",
        ),
        ({}, {"without": ("x",)}, "--without: 'x' is not a part of the view", "parts: proc, sys,"),
        (
            {"BAREBOAT_PASS": "A=B"},
            {},
            "BAREBOAT_PASS: 'A=B' is not the name of a variable",
            "names with commas",
        ),
        (
            {},
            {"mounts": ("/a", "/b"), "config": SiteConfig(max_mounts=1)},
            "2 mounts were asked for, the site allows 1",
            "mount their common directory",
        ),
    ],
)
def test_a_mistake_names_its_variable_and_entry(
    variables: Mapping[str, str], flags: dict[str, Any], text: str, hint: str
) -> None:
    error = refused(variables, **flags)
    assert str(error) == text
    assert error.hint.startswith(hint)
    assert error.exit_code == 2


def test_a_request_without_an_image_is_refused() -> None:
    with pytest.raises(UsageError, match="no image was named"):
        make_request("", [], environment={}, cwd="/", config=SiteConfig())


def test_announcing_is_the_users_choice_else_the_sites() -> None:
    site = SiteConfig(announce=True)
    assert [make({"BAREBOAT_ANNOUNCE": text}).announce for text in ("", "0", "1")] == [False, False, True]
    assert [make({"BAREBOAT_ANNOUNCE": text}, config=site).announce for text in ("", "0", "1")] == [
        True,
        False,
        True,
    ]
    error = refused({"BAREBOAT_ANNOUNCE": "yes"})
    assert str(error) == "BAREBOAT_ANNOUNCE: 'yes' is neither 0 nor 1"
    assert error.hint == "unset BAREBOAT_ANNOUNCE for the site's choice"
