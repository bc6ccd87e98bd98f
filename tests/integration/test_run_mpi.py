"""Whose MPI a program gets: `bareboat run` with the images and MPIs that there are."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from abi_toolbox import HOST_LIBS, MPICH_SOURCE, compile_c, make_image, make_library
from launching import HELLO, Image, bareboat, out

from slurm.testbed.wheels import get_wheel


@pytest.mark.parametrize(
    ("name", "library"), [("deb13-mpich", "MPICH Version: 4.0.2"), ("deb13-openmpi", "Open MPI v4.1.4")]
)
def test_the_program_calls_the_hosts_mpi(image: Image, name: str, library: str) -> None:
    for mode in ("auto", "host"):
        done = bareboat("run", image(name), "--", HELLO, BAREBOAT_MPI=mode)
        assert f"rank 0 of 1 on {os.uname().nodename} library {library}" in out(done)


def test_the_images_mpi_on_demand(mpich: Path) -> None:
    assert "MPICH Version:      4.2" in out(bareboat("run", "--mpi", "image", mpich, "--", HELLO))


@pytest.fixture
def newer(mpich: Path, tmp_path: Path) -> Path:
    """A program that needs what MPICH has only since 4.1."""
    source = "int MPI_Remove_error_class(int); int main(int c, char **v) { return c > 1 ? "
    source += "MPI_Remove_error_class(0) : 0; }"
    library = mpich / "usr/lib/x86_64-linux-gnu/libmpich.so.12"
    return compile_c(tmp_path / "newer", source, str(library), "-Wl,--allow-shlib-undefined")


def test_a_host_that_lacks_a_symbol_is_refused_with_library_and_symbol(mpich: Path, newer: Path) -> None:
    done = bareboat("run", mpich, "--", newer)
    assert done.returncode == 125
    assert done.stderr.startswith(
        f"bareboat: error: this host's MPI cannot take the place of that in {mpich}: {newer} needs "
        "MPI_Remove_error_class, which MPICH 4.0.2 (/lib/x86_64-linux-gnu/libmpich.so.12) does not have"
    )
    assert "BAREBOAT_MPI=image" in done.stderr.splitlines()[1]
    assert out(bareboat("run", "--mpi", "image", mpich, "--", newer)) == ""


def test_force_swaps_all_the_same_and_warns(mpich: Path, newer: Path) -> None:
    done = bareboat("run", "--mpi", "force", mpich, "--", newer, "called")
    assert done.stderr.startswith("bareboat: warning: the host's MPI does not fit and is used all the same: ")
    assert "undefined symbol: MPI_Remove_error_class" in done.stderr
    assert done.returncode == 127


def test_one_of_another_family_is_refused_unless_forced(image: Image, tmp_path: Path) -> None:
    wheel = get_wheel("mpich")
    (tmp_path / "site.toml").write_text(f'[mpi]\nprefixes = ["{wheel}"]\nsearch = false\n')
    site = str(tmp_path / "site.toml")
    why = "the image uses Open MPI, this host has MPICH 5.0.2: handles and constants differ"
    done = bareboat("run", image("deb13-openmpi"), "--", HELLO, BAREBOAT_CONFIG=site)
    assert done.returncode == 125
    assert done.stderr.splitlines()[0].endswith(why)
    checked = bareboat("abi", "check", image("deb13-openmpi"), HELLO, BAREBOAT_CONFIG=site)
    assert checked.returncode == 3
    assert why in checked.stdout
    done = bareboat("run", "--mpi", "force", image("deb13-openmpi"), "--", HELLO, BAREBOAT_CONFIG=site)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        f"bareboat: warning: the host's MPI does not fit and is used all the same: {why}"
    )
    assert "undefined symbol: ompi_mpi_" in done.stderr


@pytest.mark.parametrize("target", ["/run", "/run/bareboat", "/run/bareboat/mpi/lib"])
def test_a_mount_in_the_place_of_the_hosts_mpi_is_refused(mpich: Path, tmp_path: Path, target: str) -> None:
    mount = ("--mount", f"{tmp_path}:{target}")
    done = bareboat("run", *mount, mpich, "--", HELLO)
    assert (done.returncode, done.stderr.splitlines()) == (
        125,
        [
            f"bareboat: error: cannot mount on {target}: the host's MPI lies in /run/bareboat/mpi",
            "bareboat: hint: mount on another path; BAREBOAT_MPI=image needs no place there",
        ],
    )
    assert not list(tmp_path.iterdir())
    assert "MPICH Version:      4.2" in out(bareboat("run", *mount, "--mpi", "image", mpich, "--", HELLO))


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


def test_a_programs_rpath_does_not_mix_the_images_libraries_into_the_hosts_mpi(
    mpich: Path, tmp_path: Path
) -> None:
    """It names the directory where the image has another MPI and UCX; the loader looks there first."""
    source = """
    #include <stdio.h>
    #include <string.h>
    int MPI_Init(int *, char ***);
    int MPI_Finalize(void);
    int main(int c, char **v) {
        char line[4096];
        MPI_Init(&c, &v);
        FILE *maps = fopen("/proc/self/maps", "r");
        while (fgets(line, sizeof line, maps))
            if (strstr(line, "/libuc") || strstr(line, "/libmpi"))
                fputs(line, stdout);
        return MPI_Finalize();
    }
    """
    library = mpich / "usr/lib/x86_64-linux-gnu/libmpich.so.12"
    options = (str(library), "-Wl,--allow-shlib-undefined")
    rpath = "-Wl,--disable-new-dtags,-rpath,/usr/lib/x86_64-linux-gnu"
    plain = compile_c(tmp_path / "plain", source, *options)
    program = compile_c(tmp_path / "rpath", source, *options, rpath)

    def inodes(path: Path) -> set[int]:
        """What is mapped, whatever it is called: covers have the names of what they cover."""
        return {int(line.split()[4]) for line in out(bareboat("run", mpich, "--", path)).splitlines()}

    names = ("libmpich.so.12", "libucp.so.0", "libuct.so.0", "libucs.so.0", "libucm.so.0")
    assert inodes(program) == inodes(plain) >= {(HOST_LIBS / name).stat().st_ino for name in names}


def test_the_hosts_rpath_does_not_mix_the_images_libraries_into_the_hosts_mpi(tmp_path: Path) -> None:
    """A directory of that name is in the image as well, with another library of that name; seen by ld.so."""
    source = MPICH_SOURCE.replace("int MPI_Init(int *c, char ***v) { return 0; }", "int dep(void);\n")
    source += "int MPI_Init(int *c, char ***v) { return dep(); }"
    with tempfile.TemporaryDirectory(dir="/opt", prefix="bareboat-rpath-") as name:
        prefix, root = Path(name), make_image(tmp_path / "image")
        dep = make_library(prefix / "deps/libdep.so.1", "int dep(void) { return 42; }")
        rpath = f"-Wl,--disable-new-dtags,-rpath,{prefix}/deps"
        make_library(prefix / "lib/libmpi.so.12", source, str(dep), rpath)
        make_library(root / name[1:] / "deps/libdep.so.1", "int dep(void) { return 7; }")
        (tmp_path / "site.toml").write_text(f'[mpi]\nprefixes = ["{prefix}"]\nsearch = false\n')
        done = bareboat("run", root, "--", "/usr/bin/app", BAREBOAT_CONFIG=str(tmp_path / "site.toml"))
    assert (done.returncode, done.stderr) == (42, "")
