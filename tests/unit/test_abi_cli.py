"""`bareboat abi`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from abi_toolbox import (
    MPICH_SOURCE,
    OPENMPI_SOURCE,
    compile_c,
    library_dir,
    make_host,
    make_image,
    make_library,
)
from click.testing import CliRunner, Result

from mpi_abi.cli import abi
from mpi_abi.libc import glibc_version, show_version
from mpi_abi.rootfs import RootView


def _run(*args: str) -> Result:
    return CliRunner().invoke(abi, args)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH, and /bin/app that uses it."""
    return make_image(tmp_path / "image")


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A host MPICH."""
    return make_host(tmp_path / "host")


def test_a_native_verdict_lists_the_swap(root: Path, prefix: str) -> None:
    result = _run("check", "--prefix", prefix, str(root), "app")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "verdict: NATIVE",
        "program: /usr/bin/app (elf, x86_64)",
        "image:   MPICH 9.8.7",
        "         /usr/lib/x86_64-linux-gnu/libmpi.so.12",
    ]
    assert "symbols: MPICH 9.8.7 has all 2 MPI symbols that the program and its libraries need" in lines
    assert f"    /usr/lib/x86_64-linux-gnu/libmpi.so.12 <- {prefix}/lib/libmpi.so.12" in lines
    assert "    prepend LD_LIBRARY_PATH /run/bareboat/mpi/lib" in lines
    assert "pmi:     MPICH 9.8.7 speaks pmi2 and pmi1: start it with srun --mpi=pmi2" in lines


def test_of_several_mpis_the_one_that_this_host_has_is_judged_as_a_launch_does(
    root: Path, prefix: str
) -> None:
    standard = "int MPI_Abi_get_version, MPI_Init, MPI_Finalize;"
    make_library(root / "usr/local/lib/libmpi.so.1", standard)
    (library_dir(root) / "libmpi.so.12").rename(root / "usr/local/lib/libmpi_z.so.12")
    result = _run("check", "--no-programs", "--prefix", prefix, str(root))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "image:   MPICH 9.8.7"


def test_a_step_under_which_ranks_start_alone_is_told(
    root: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MPI_TYPE", "pmix_v4")
    value = json.loads(_run("check", "--json", "--prefix", prefix, str(root), "app").stdout)
    assert value["pmi"] == {
        "speaks": ["pmi2", "pmi1"],
        "offered": [],
        "asked": "pmix_v4",
        "use": "pmi2",
        "text": "MPICH 9.8.7 speaks pmi2 and pmi1: start it with srun --mpi=pmi2; "
        "under this step's --mpi=pmix_v4, each rank starts alone",
    }


def test_the_same_as_json(root: Path, prefix: str) -> None:
    result = _run("check", "--json", "--prefix", prefix, str(root), "--", "/bin/app", "-x", "--flag")
    assert result.exit_code == 0
    value = json.loads(result.stdout)
    assert value["verdict"] == "native"
    assert value["family"] == "mpich"
    assert value["image_libraries"] == ["/usr/lib/x86_64-linux-gnu/libmpi.so.12"]
    assert value["host_library"] == f"{prefix}/lib/libmpi.so.12"
    assert value["tree"][1] == {
        "name": "libmpi.so.12",
        "path": "/lib/x86_64-linux-gnu/libmpi.so.12",
        "found": "default directory",
    }
    assert value["swap"]["covers"][0]["target"] == "/usr/lib/x86_64-linux-gnu/libmpi.so.12"


def test_each_verdict_has_its_exit_code(root: Path, prefix: str, tmp_path: Path) -> None:
    compile_c(root / "usr/bin/plain", "int main(void) { return 0; }")
    plain = _run("check", "--prefix", prefix, str(root), "plain")
    assert (plain.exit_code, plain.stdout.splitlines()[0]) == (5, "verdict: NO_MPI")
    make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE + "int MPI_More(void) { return 0; }")
    source = "int MPI_More(void); int main(void) { return MPI_More(); }"
    compile_c(root / "usr/bin/more", source, str(library_dir(root) / "libmpi.so.12"))
    more = _run("check", "--prefix", prefix, str(root), "more")
    assert (more.exit_code, more.stdout.splitlines()[0]) == (4, "verdict: IMPOSSIBLE")
    assert "    MPI_More" in more.stdout.splitlines()
    # The standard ABI, which no MPI of this machine has.
    make_library(
        library_dir(root) / "libmpi.so.12", "int PMPI_Init, MPI_Init, MPI_Finalize, MPI_Abi_get_version;"
    )
    assert _run("check", "--prefix", prefix, str(root)).exit_code == 3


def test_what_cannot_be_judged_is_said_with_a_way_out(root: Path, tmp_path: Path) -> None:
    result = _run("check", str(tmp_path / "none"))
    assert result.exit_code == 125
    assert result.stderr.splitlines() == [
        f"bareboat: error: the image {tmp_path}/none does not exist",
        "bareboat: hint: give the directory of an unpacked image; only `bareboat` opens squashfs files, too",
    ]
    (tmp_path / "file.sqsh").write_bytes(b"hsqs")
    result = _run("check", str(tmp_path / "file.sqsh"))
    assert result.exit_code == 125
    assert result.stderr.startswith(f"bareboat: error: the image {tmp_path}/file.sqsh is not a directory\n")
    result = _run("check", str(root), "nothing")
    assert result.exit_code == 125
    assert result.stderr.splitlines()[0] == f"bareboat: error: nothing: no such file in {root}"


def test_whoever_calls_says_how_an_image_is_opened(root: Path, prefix: str) -> None:
    asked: list[str] = []

    @contextmanager
    def opener(name: str) -> Iterator[RootView]:
        asked.append(name)
        yield RootView(str(root), sealed=True, name="the image's name")

    def run(*args: str) -> Result:
        return CliRunner().invoke(abi, args, obj=opener)

    assert (
        run("check", "--prefix", prefix, "a name", "app").stdout
        == _run("check", "--prefix", prefix, str(root), "app").stdout
    )
    result = run("check", "a name", "nothing")
    assert result.stderr.startswith("bareboat: error: nothing: no such file in the image's name\n")
    assert asked == ["a name"] * 2


def test_the_hosts_mpis_are_listed(tmp_path: Path) -> None:
    make_library(tmp_path / "host/lib/libmpi.so.40", OPENMPI_SOURCE % 64)
    result = _run("host", "--prefix", str(tmp_path / "host"))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"Open MPI 9.8.7  {tmp_path}/host/lib"
    listed = json.loads(_run("host", "--json").stdout)
    assert {item["family"] for item in listed["mpis"]} == {"mpich", "openmpi"}
    assert _run("host", "--prefix", str(tmp_path)).exit_code == 125


def test_versions_compare_as_numbers() -> None:
    assert glibc_version(["GLIBC_2.9", "GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_PRIVATE", "XGLIBC_3.0"]) == (2, 34)
    assert glibc_version([]) == ()
    assert show_version((2, 2, 5)) == "2.2.5"


def test_of_several_programs_each_is_judged_and_the_worst_verdict_counts(root: Path, prefix: str) -> None:
    compile_c(root / "usr/bin/plain", "int main(void) { return 0; }")
    result = _run("check", "--prefix", prefix, str(root), "plain", "--app", "app", "--app", "/bin/plain")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [block.splitlines()[:2] for block in result.stdout.split("\n\n")] == [
        ["verdict: NO_MPI", "program: /usr/bin/plain (elf, x86_64)"],
        ["verdict: NATIVE", "program: /usr/bin/app (elf, x86_64)"],
        ["verdict: NO_MPI", "program: /bin/plain (elf, x86_64)"],
    ]
    value = json.loads(
        _run("check", "--json", "--host", prefix, str(root), "--app=app", "--app=plain").stdout
    )
    assert value["verdict"] == "native"
    assert [(each["program"], each["verdict"]) for each in value["apps"]] == [
        ("/usr/bin/app", "native"),
        ("/usr/bin/plain", "no-mpi"),
    ]
    source = "int MPI_Gone(void); int more(void) { return MPI_Gone(); }"
    make_library(library_dir(root) / "libmpi.so.12", MPICH_SOURCE + "int MPI_Gone(void) { return 0; }")
    make_library(root / "opt/plugin.so", source, str(library_dir(root) / "libmpi.so.12"))
    result = _run("check", "--prefix", prefix, str(root), "--app", "app", "--app", "/opt/plugin.so")
    assert result.exit_code == 4
    assert [block.splitlines()[:2] for block in result.stdout.split("\n\n")] == [
        ["verdict: NATIVE", "program: /usr/bin/app (elf, x86_64)"],
        ["verdict: IMPOSSIBLE", "program: /opt/plugin.so (elf, x86_64)"],
    ]
    result = _run("check", "--prefix", prefix, str(root), "--app", "app", "--app", "none")
    assert (result.exit_code, result.stdout) == (125, "")
