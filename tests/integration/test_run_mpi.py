"""Whose MPI a program gets: `bareboat run` with the images and MPIs that there are."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from launching import HELLO, Image, bareboat, out


@pytest.mark.parametrize(
    ("name", "library"), [("deb13-mpich", "MPICH Version: 4.0.2"), ("deb13-openmpi", "Open MPI v4.1.4")]
)
def test_the_program_calls_the_hosts_mpi(image: Image, name: str, library: str) -> None:
    for mode in ("auto", "host"):
        done = bareboat("run", image(name), "--", HELLO, BAREBOAT_MPI=mode)
        assert f"rank 0 of 1 on {os.uname().nodename} library {library}" in out(done)


def test_the_images_mpi_on_demand(mpich: Path) -> None:
    assert "MPICH Version:      4.2" in out(bareboat("run", "--mpi", "image", mpich, "--", HELLO))


def test_a_host_that_is_too_new_is_refused_with_library_and_symbol(image: Image) -> None:
    done = bareboat("run", image("deb11-mpich"), "--", HELLO)
    assert done.returncode == 125
    assert done.stderr.startswith(
        f"bareboat: error: this host's MPI cannot take the place of that in {image('deb11-mpich')}: "
    )
    assert "libmpich.so.12" in done.stderr
    assert "GLIBC_2.34" in done.stderr
    assert "BAREBOAT_MPI=image" in done.stderr.splitlines()[1]


def test_force_swaps_all_the_same_and_warns(image: Image) -> None:
    done = bareboat("run", "--mpi", "force", image("deb11-mpich"), "--", HELLO)
    assert done.stderr.startswith("bareboat: warning: the host's MPI does not fit and is used all the same: ")
    assert "GLIBC_2.34' not found" in done.stderr
    assert done.returncode == 1


def test_an_image_without_mpi_runs_unless_the_hosts_is_demanded(plain: Path) -> None:
    assert out(bareboat("run", plain, "--", "true")) == ""
    done = bareboat("run", "--mpi", "host", plain, "--", "true")
    assert done.returncode == 125
    why = "there is no MPI in /usr/bin/true to put the host's in place of"
    assert done.stderr.splitlines()[0] == f"bareboat: error: BAREBOAT_MPI=host, and {why}"


def test_what_is_replaced_is_said_on_demand(mpich: Path) -> None:
    done = bareboat("run", mpich, "--", HELLO, BAREBOAT_ANNOUNCE="1")
    assert done.returncode == 0
    said = done.stderr.removesuffix("\n").removeprefix(
        "bareboat: the host's MPI takes the place of the image's: "
    )
    assert re.fullmatch(r"MPICH 4\.2\.1 \(.*\) -> MPICH 4\.0\.2 \(.*\)", said)
