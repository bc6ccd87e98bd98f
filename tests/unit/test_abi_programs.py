"""The MPI programs of an image: which files are found, which verdicts they get, and what is harmless."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from abi_toolbox import (
    MPICH_SOURCE,
    OPENMPI_SOURCE,
    PROGRAM_SOURCE,
    compile_c,
    library_dir,
    make_host,
    make_image,
    make_library,
)
from click.testing import CliRunner, Result

from mpi_abi.cli import abi
from mpi_abi.programs import find_programs
from mpi_abi.rootfs import RootView

PLAIN = "int main(void) { return 0; }"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with an MPICH; /usr/bin/app needs it, /usr/bin/plain does not."""
    top = make_image(tmp_path / "image")
    compile_c(top / "usr/bin/plain", PLAIN)
    return top


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A host MPICH."""
    return make_host(tmp_path / "host")


def run(*args: object) -> Result:
    return CliRunner().invoke(abi, ["check", *map(str, args)])


def found(root: Path) -> tuple[str, ...]:
    return find_programs(RootView(str(root))).paths


def make_user(root: Path) -> None:
    """Add /opt/deep/prog, which needs MPI by a library of a library that only its RUNPATH finds."""
    mpi = library_dir(root) / "libmpi.so.12"
    folder = root / "opt/deep/lib"
    low = make_library(folder / "liblow.so.1", "int MPI_Init(); int low() { return MPI_Init(); }", str(mpi))
    source = "int low(); int high() { return low(); }"
    high = make_library(folder / "libhigh.so.2.5", source, str(low), soname="libhigh.so.2")
    (folder / "libhigh.so.2").symlink_to("libhigh.so.2.5")
    compile_c(
        root / "opt/deep/prog",
        "int high(); int main(void) { return high(); }",
        *(str(high), "-Wl,-rpath,$ORIGIN/lib", "-Wl,--disable-new-dtags", "-Wl,--allow-shlib-undefined"),
    )


def test_programs_are_found_wherever_they_are_and_whoever_needs_mpi_for_them(root: Path) -> None:
    make_user(root)
    assert found(root) == ("/opt/deep/prog", "/usr/bin/app")


def test_the_verdict_of_each_is_told_and_the_worst_counts(root: Path, prefix: str) -> None:
    make_user(root)
    mpi = library_dir(root) / "libmpi.so.12"
    make_library(mpi, MPICH_SOURCE + "int MPI_More(void) { return 0; }")
    compile_c(root / "usr/bin/more", "int MPI_More(void); int main(void) { return MPI_More(); }", str(mpi))
    result = run("--prefix", prefix, root)
    assert result.exit_code == 4
    image, programs = result.stdout.split("\n\n")
    host = f"MPICH 9.8.7 ({prefix}/lib/libmpi.so.12)"
    assert image.splitlines()[0] == "verdict: NATIVE"
    assert programs.splitlines() == [
        "programs: 3 that need MPI",
        "    NATIVE      /opt/deep/prog",
        "    NATIVE      /usr/bin/app",
        "    IMPOSSIBLE  /usr/bin/more",
        f"        symbol-missing: /usr/bin/more needs MPI_More, which {host} does not have",
    ]
    value = json.loads(run("--prefix", prefix, "--json", root).stdout)
    assert (value["verdict"], value["worst"]) == ("native", "impossible")
    assert [(each["program"], each["verdict"]) for each in value["programs"]] == [
        ("/opt/deep/prog", "native"),
        ("/usr/bin/app", "native"),
        ("/usr/bin/more", "impossible"),
    ]
    assert value["programs"][2]["reasons"][0]["code"] == "symbol-missing"
    assert value["programs"][0]["host_library"] == f"{prefix}/lib/libmpi.so.12"


def test_without_programs_only_the_image_is_judged(root: Path, prefix: str) -> None:
    result = run("--prefix", prefix, "--no-programs", root)
    assert (result.exit_code, "programs:" in result.stdout) == (0, False)
    assert "programs" not in json.loads(run("--prefix", prefix, "--no-programs", "--json", root).stdout)


def test_an_image_whose_only_mpi_a_program_brings_is_no_image_without_mpi(root: Path, prefix: str) -> None:
    (library_dir(root) / "libmpi.so.12").rename(root / "usr/bin/libmpi.so.12")
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, str(root / "usr/bin/libmpi.so.12"), "-Wl,-rpath,$ORIGIN")
    result = run("--prefix", prefix, root)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "verdict: NO_MPI")
    lines = result.stdout.splitlines()
    at = lines.index("programs: 1 that needs MPI")
    assert lines[at + 1] == "    NATIVE      /usr/bin/app"
    assert lines[at + 2].startswith("        symbols: MPICH 9.8.7 has all 2 MPI symbols")


def test_what_only_looks_like_a_user_of_mpi_is_left_out(root: Path, prefix: str) -> None:
    looks = make_library(
        library_dir(root) / "libcompiz.so.0", "void *dlopen(); int f() { return !dlopen(); }"
    )
    compile_c(root / "usr/bin/window", "int f(); int main(void) { return f(); }", str(looks))
    assert found(root) == ("/usr/bin/app", "/usr/bin/window")
    assert "window" not in run("--prefix", prefix, root).stdout


def test_a_program_that_lacks_its_mpi_is_told(root: Path, prefix: str) -> None:
    other = make_library(library_dir(root) / "libmpi_cxx.so.1", MPICH_SOURCE)
    compile_c(root / "usr/bin/lost", PROGRAM_SOURCE, str(other))
    other.unlink()
    result = run("--prefix", prefix, root)
    assert result.exit_code == 4
    assert "        mpi-missing: /usr/bin/lost needs libmpi_cxx.so.1, which is not in the image" in (
        result.stdout.splitlines()
    )


@pytest.mark.parametrize("bare", [False, True])
def test_an_image_none_of_whose_programs_can_be_judged_has_no_answer(
    root: Path, prefix: str, bare: bool
) -> None:
    bad = make_library(library_dir(root) / "libbad.so.1", "int bad() { return 0; }")
    mpi = library_dir(root) / "libmpi.so.12"
    compile_c(
        root / "usr/bin/app",
        "int bad(); int main(void) { return bad(); }",
        "-Wl,--no-as-needed",
        str(bad),
        str(mpi),
    )
    bad.write_bytes(b"no library")
    if bare:
        # As such, the image then has no MPI.
        mpi.unlink()
    result = run("--prefix", prefix, root)
    assert result.exit_code == 125
    assert result.stdout.splitlines()[-2:] == [
        "    not judged  /usr/bin/app: /lib/x86_64-linux-gnu/libbad.so.1: not an ELF file",
        "    none of them could be judged",
    ]
    value = json.loads(run("--prefix", prefix, "--json", root).stdout)
    assert value["verdict"] == ("no-mpi" if bare else "native")
    assert (value["worst"], [each["verdict"] for each in value["programs"]]) == (None, [None])


def test_a_program_that_cannot_be_judged_is_told_and_hinders_no_other(root: Path, prefix: str) -> None:
    bad = make_library(library_dir(root) / "libbad.so.1", "int bad() { return 0; }")
    compile_c(
        root / "usr/bin/broken",
        "int bad(); int MPI_Init(); int main(void) { return bad() + MPI_Init(); }",
        *(str(bad), str(library_dir(root) / "libmpi.so.12")),
    )
    bad.write_bytes(b"no library\x1b[2J")
    result = run("--prefix", prefix, root)
    assert result.exit_code == 0
    assert (
        "    not judged  /usr/bin/broken: /lib/x86_64-linux-gnu/libbad.so.1: not an ELF file"
        in result.stdout.splitlines()
    )
    assert "    NATIVE      /usr/bin/app" in result.stdout.splitlines()
    broken = json.loads(run("--prefix", prefix, "--json", root).stdout)["programs"][1]
    assert (broken["verdict"], broken["problem"]) == (
        None,
        "/lib/x86_64-linux-gnu/libbad.so.1: not an ELF file",
    )


def test_known_plugins_are_judged_like_programs(root: Path, prefix: str) -> None:
    module = root / "usr/lib/python3/dist-packages/mpi4py/MPI.cpython.so"
    source = "int MPI_Init(); int PyInit_MPI() { return MPI_Init(); }"
    make_library(module, source, str(library_dir(root) / "libmpi.so.12"))
    module.chmod(0o644)
    listed = json.loads(run("--prefix", prefix, "--json", root).stdout)["programs"]
    assert [each["program"] for each in listed] == ["/usr/bin/app", f"/{module.relative_to(root)}"]


def test_nothing_is_opened_or_followed_that_is_no_file_of_the_image(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "usr/bin", tmp_path / "outside")
    for name in ("dev", "proc", "run", "sys", "tmp"):
        shutil.copytree(root / "usr/bin", root / name)
    (root / "opt").mkdir()
    (root / "opt/out").symlink_to(tmp_path / "outside")
    (root / "opt/app").symlink_to(tmp_path / "outside/app")
    (root / "opt/loop").symlink_to("..")
    (root / "opt/self").symlink_to("self")
    (library_dir(root) / "libloop.so").symlink_to("libloop.so")
    os.mkfifo(root / "opt/fifo", 0o755)
    os.mkfifo(library_dir(root) / "libfifo.so.1", 0o755)
    with (root / "opt/huge").open("wb") as file:
        file.write((root / "usr/bin/plain").read_bytes())
        file.truncate(1 << 40)
    (root / "opt/huge").chmod(0o755)
    (root / "opt/empty").touch(0o755)
    (root / "opt/cut").write_bytes((root / "usr/bin/app").read_bytes()[:100])
    (root / "opt/cut").chmod(0o755)
    (root / "opt/script").write_text("#!/bin/app\n")
    (root / "opt/script").chmod(0o755)
    # A copy that may not be executed is no program, nor is one called like a source.
    shutil.copy(root / "usr/bin/app", root / "opt/data")
    (root / "opt/data").chmod(0o644)
    shutil.copy(root / "usr/bin/app", root / "opt/app.c")
    search = find_programs(RootView(str(root)))
    assert (search.paths, search.left_out, search.closed, search.ended) == (("/usr/bin/app",), 0, (), False)


def test_libraries_that_need_each_other_in_a_circle_end(root: Path) -> None:
    names = [f"libring{number}.so" for number in range(3)]
    for name in names:
        make_library(library_dir(root) / name, f"int {name[3:-3]}() {{ return 0; }}")
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        source = f"int {other[3:-3]}(); int {name[3:-3]}() {{ return {other[3:-3]}(); }}"
        make_library(library_dir(root) / name, source, str(library_dir(root) / other))
    compile_c(
        root / "usr/bin/ring", "int ring0(); int main(void) { return ring0(); }",
        *(str(library_dir(root) / name) for name in names),
    )  # fmt: skip
    assert found(root) == ("/usr/bin/app",)


def test_beyond_a_limit_programs_are_counted_and_the_search_ends(root: Path, prefix: str) -> None:
    for number in range(7):
        os.link(root / "usr/bin/app", root / f"usr/bin/app{number}")
    search = find_programs(RootView(str(root)), most=3)
    assert (search.paths, search.left_out) == (("/usr/bin/app", "/usr/bin/app0", "/usr/bin/app1"), 5)
    assert find_programs(RootView(str(root)), most_files=3).ended
    assert not find_programs(RootView(str(root))).ended


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, which may read everything."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


def test_what_may_not_be_read_is_named_and_the_rest_is_judged(root: Path, prefix: str) -> None:
    # Above pytest's own directories, only their owner can search.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        top = Path(name, "image")
        shutil.copytree(root, top, symlinks=True)
        shutil.copytree(top / "usr/bin", top / "closed")
        (top / "closed").chmod(0o700 if os.geteuid() == 0 else 0)
        shutil.copy(top / "usr/bin/app", top / "usr/bin/secret")
        (top / "usr/bin/secret").chmod(0o711 if os.geteuid() == 0 else 0o111)
        Path(name).chmod(0o755)
        host = shutil.copytree(prefix, Path(name, "host"))
        with as_nobody():
            result = run("--prefix", host, top)
        (top / "closed").chmod(0o700)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-3:] == [
        "programs: 1 that needs MPI",
        "    NATIVE      /usr/bin/app",
        "    not looked into: /closed, /usr/bin/secret",
    ]


def test_names_of_files_do_no_harm_to_a_terminal(root: Path, prefix: str) -> None:
    (root / "usr/bin/app").rename(root / os.fsdecode(b"usr/bin/a\x1b[2J\n\xff"))
    result = run("--prefix", prefix, root)
    assert result.exit_code == 0
    assert "    NATIVE      /usr/bin/a\\x1b[2J\\n\\udcff" in result.stdout.splitlines()


def test_nor_do_names_of_libraries_in_verdicts_walks_and_errors(root: Path, prefix: str) -> None:
    bad = "/opt/\x1b[2J\nlib"
    (root / bad[1:]).mkdir(parents=True)
    (library_dir(root) / "libmpi.so.12").rename(root / bad[1:] / "libmpi.so.12")
    compile_c(root / "usr/bin/app", PROGRAM_SOURCE, f"{root}{bad}/libmpi.so.12", f"-Wl,-rpath,{bad}")
    covered = "/opt/\\x1b[2J\\nlib/libmpi.so.12"
    for args in (["check", "--prefix", prefix, root, "app"], ["why", "--prefix", prefix, root, "app"]):
        result = CliRunner().invoke(abi, list(map(str, args)))
        assert result.exit_code == 0
        assert covered in result.stdout and "\x1b" not in result.stdout
    assert f"    {covered} <- {prefix}/lib/libmpi.so.12" in run("--prefix", prefix, root, "app").stdout
    (root / bad[1:] / "libmpi.so.12").write_bytes(b"no library")
    result = run("--prefix", prefix, root, "app")
    assert result.exit_code == 125
    assert result.stderr.splitlines()[0] == f"bareboat: error: {covered}: not an ELF file"


def test_programs_of_another_family_than_the_image_say_so(root: Path, prefix: str) -> None:
    other = make_library(root / "opt/ompi/lib/libmpi.so.40", OPENMPI_SOURCE % 64)
    compile_c(root / "opt/ompi/app", PROGRAM_SOURCE, str(other), "-Wl,-rpath,/opt/ompi/lib")
    value = json.loads(run("--prefix", prefix, "--json", root).stdout)
    assert value["family"] == "mpich"
    judged = {each["program"]: each for each in value["programs"]}
    assert judged["/opt/ompi/app"]["image_library"] == "/opt/ompi/lib/libmpi.so.40"
    assert judged["/usr/bin/app"]["image_library"] == "/lib/x86_64-linux-gnu/libmpi.so.12"
