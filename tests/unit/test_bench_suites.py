"""Images and programs as the suites find them, and the proof that a side is inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import BenchError
from benchmarks.runner import Allocation, Client
from benchmarks.suites.common import (
    choose_nodes,
    find_in_image,
    find_on_host,
    kind_of,
    open_image,
    require_apart,
)
from mpi_abi.rootfs import open_directory

CLIENT = Client(environment={"PATH": "/usr/bin:/bin"})


def image_with(directory: Path, *programs: str) -> str:
    for program in programs:
        path = directory / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return str(directory)


def test_images(tmp_path: Path) -> None:
    image = image_with(tmp_path, "usr/bin/true", "etc/motd")
    (tmp_path / "bin").symlink_to("usr/bin")
    with open_image(open_directory, image) as view:
        assert find_in_image(view, image, "true") == "/usr/bin/true"
        assert find_in_image(view, image, "/bin/true") == "/bin/true"
        with pytest.raises(BenchError, match=f"readlink is not in image {image}"):
            find_in_image(view, image, "readlink")
    with (
        pytest.raises(BenchError, match="image /no/such does not exist"),
        open_image(open_directory, "/no/such"),
    ):
        pass
    motd = open_image(open_directory, f"{image}/etc/motd")
    with pytest.raises(BenchError, match="motd is not a directory") as caught, motd:
        pass
    assert caught.value.hint == (
        "give the directory of an unpacked image; only `bareboat` opens squashfs files, too"
    )


def test_programs_of_the_host() -> None:
    assert find_on_host(CLIENT, "true") == "/usr/bin/true"
    with pytest.raises(BenchError, match="/no/such is not on this host, or not executable"):
        find_on_host(CLIENT, "/no/such")


def test_an_image_that_does_not_exist() -> None:
    with pytest.raises(BenchError, match="image /no/such does not exist"):
        kind_of("/no/such")


def test_no_more_nodes_than_there_are() -> None:
    assert choose_nodes((1, 2, 3), Allocation("7", ("n1", "n2"), 4, ours=True)) == (1, 2)


def test_a_rank_that_is_not_inside() -> None:
    require_apart({"0": "mnt:[1]", "1": "mnt:[1]"}, {"0": "mnt:[2]", "1": "mnt:[3]"})
    with pytest.raises(BenchError, match="ran on the bare host: rank 1 is its node's mount namespace"):
        require_apart({"0": "mnt:[1]", "1": "mnt:[2]"}, {"0": "mnt:[3]", "1": "mnt:[2]"})
