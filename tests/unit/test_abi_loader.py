"""The emulated loader against the real one, and in roots where the real one cannot run."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from abi_toolbox import HOST_LIBS, compile_c, library_dir, make_library, make_root

from mpi_abi.elfcache import ElfCache
from mpi_abi.errors import AbiError
from mpi_abi.ldso import cpu_levels
from mpi_abi.loader import Found, Loader, Tree
from mpi_abi.rootfs import RootView

_LD_SO = "/lib64/ld-linux-x86-64.so.2"


def _load(root: str, path: str, **environment: str) -> Tree:
    return Loader(RootView(root), ElfCache(), machine="x86_64", environment=environment).load(path)


def _real(path: str, **environment: str) -> dict[str, str | None]:
    """What ld.so itself says that it would map, by name; None for what it does not find."""
    traced = {"LD_TRACE_LOADED_OBJECTS": "1", **environment}
    result = subprocess.run([_LD_SO, path], capture_output=True, text=True, env=traced, check=False)
    found: dict[str, str | None] = {}
    for name, target in re.findall(
        r"^\t(\S+) => (not found|.+?)(?: \(0x\w+\))?$", result.stdout, re.MULTILINE
    ):
        found[name] = None if target == "not found" else os.path.realpath(target)
    for target in re.findall(r"^\t(/\S+) \(0x\w+\)$", result.stdout, re.MULTILINE):
        found[target] = os.path.realpath(target)
    assert found, result.stderr
    return found


def _emulated(path: str, **environment: str) -> dict[str, str | None]:
    tree = _load("/", path, **environment)
    found: dict[str, str | None] = {item.name: item.real for item in tree.objects[1:]}
    found.update({item.name: None for item in tree.missing})
    return found


def _same(path: str, **environment: str) -> None:
    real, emulated = _real(path, **environment), _emulated(path, **environment)
    # The loader counts itself in under the name by which it was started.
    real.pop(_LD_SO, None)
    emulated.pop("ld-linux-x86-64.so.2", None)
    real.pop("ld-linux-x86-64.so.2", None)
    assert emulated == real


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/python3",
        "/usr/bin/bash",
        "/usr/bin/mpiexec.mpich",
        "/usr/bin/orterun",
        str(HOST_LIBS / "libmpich.so.12"),
        str(HOST_LIBS / "libmpi_usempif08.so.40"),
        str(HOST_LIBS / "openmpi/lib/openmpi3/mca_mtl_psm2.so"),
        str(HOST_LIBS / "openmpi/lib/openmpi3/mca_pmix_ext3x.so"),
        str(HOST_LIBS / "ucx/libuct_ib.so.0"),
    ],
)
def test_files_of_this_machine_load_what_the_real_loader_loads(path: str) -> None:
    _same(path)


_OLD, _NEW = "-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags"
_PROGRAM_TAGS = ("", f"{_OLD},-rpath,TOP/one:TOP/MID", f"{_NEW},-rpath,TOP/one:TOP/MID")
_MIDDLE_TAGS = (
    "",
    f"{_OLD},-rpath,TOP/two",
    f"{_NEW},-rpath,TOP/two",
    f"{_OLD},-rpath,$ORIGIN/../two",
    f"{_NEW},-rpath,${{ORIGIN}}/../two",
    f"{_NEW},-rpath,/none",
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories with different copies of libleaf.so, which a libmid.so needs, which a program needs.

    For each of `_MIDDLE_TAGS` a directory ``midN``, for each of `_PROGRAM_TAGS` a program ``appNM``.
    """
    top = tmp_path_factory.mktemp("chain")
    for name in ("one", "two", "three"):
        make_library(top / name / "libleaf.so", f"int leaf_{name}; int leaf(void) {{ return 0; }}")
    for n, middle_tags in enumerate(_MIDDLE_TAGS):
        options = [middle_tags.replace("TOP", str(top))] if middle_tags else []
        leaf = str(top / "one/libleaf.so")
        text = "int leaf(void); int mid(void) { return leaf(); }"
        middle = str(make_library(top / f"mid{n}/libmid.so", text, leaf, *options))
        for m, tags in enumerate(_PROGRAM_TAGS):
            own = [tags.replace("TOP", str(top)).replace("MID", f"mid{n}")] if tags else []
            text = "int mid(void); int main(void) { return mid(); }"
            compile_c(top / f"app{n}{m}", text, middle, "-Wl,--allow-shlib-undefined", *own)
    return top


@pytest.mark.parametrize("library_path", ["", "TOP/three", "TOP/three:TOP/MID", "TOP/none;TOP/MID"])
@pytest.mark.parametrize("middle", range(len(_MIDDLE_TAGS)))
@pytest.mark.parametrize("program", range(len(_PROGRAM_TAGS)))
def test_search_order_is_the_real_loaders(chain: Path, program: int, middle: int, library_path: str) -> None:
    folders = library_path.replace("TOP", str(chain)).replace("MID", f"mid{middle}")
    environment = {"LD_LIBRARY_PATH": folders} if folders else {}
    _same(str(chain / f"app{middle}{program}"), **environment)


def test_every_object_says_how_it_was_found(chain: Path) -> None:
    leaf = str(chain / "one/libleaf.so")
    program = compile_c(
        chain / "program",
        "int leaf(void); int main(void) { return leaf(); }",
        leaf,
        f"{_OLD},-rpath,{chain}/one",
    )
    how = {item.name: item.how for item in _load("/", str(program)).objects}
    assert how == {
        str(program): Found.PROGRAM,
        "libleaf.so": Found.RPATH,
        "libc.so.6": Found.CACHE,
        "ld-linux-x86-64.so.2": Found.INTERPRETER,
    }
    preloaded = _load("/", str(program), LD_PRELOAD=f"{chain}/two/libleaf.so none.so")
    assert [item.path for item in preloaded.objects if item.how is Found.PRELOAD] == [
        f"{chain}/two/libleaf.so"
    ]
    # A preload stands in for the library of the same soname.
    assert [item.name for item in preloaded.objects].count("libleaf.so") == 0
    assert preloaded.missing == ()


def test_a_root_without_cache_is_searched_in_its_own_loaders_directories(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    library = make_library(library_dir(root) / "libx.so.1", "int x(void) { return 1; }")
    compile_c(root / "usr/bin/app", "int x(void); int main(void) { return x(); }", str(library))
    tree = _load(str(root), "/bin/app")
    assert tree.missing == ()
    assert {item.name: (item.path, item.how) for item in tree.objects[1:]} == {
        "libx.so.1": ("/lib/x86_64-linux-gnu/libx.so.1", Found.DEFAULT),
        "libc.so.6": ("/lib/x86_64-linux-gnu/libc.so.6", Found.DEFAULT),
        "ld-linux-x86-64.so.2": ("/lib64/ld-linux-x86-64.so.2", Found.INTERPRETER),
    }
    assert tree.objects[1].real == "/usr/lib/x86_64-linux-gnu/libx.so.1"


def test_the_cache_of_the_root_counts_not_the_hosts(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    library = make_library(root / "opt/deep/libdeep.so.1", "int deep(void) { return 1; }")
    compile_c(root / "usr/bin/app", "int deep(void); int main(void) { return deep(); }", str(library))
    assert [item.name for item in _load(str(root), "/bin/app").missing] == ["libdeep.so.1"]
    (root / "etc").mkdir()
    (root / "etc/ld.so.conf").write_text("/opt/deep\n")
    subprocess.run(["/sbin/ldconfig", "-r", str(root)], check=True)
    tree = _load(str(root), "/bin/app")
    assert tree.missing == ()
    assert tree.objects[1].how is Found.CACHE


@pytest.mark.parametrize("name", ["ld.so.cache", "ld.so.preload"])
@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_tables_that_are_no_files_are_none(tmp_path: Path, name: str, kind: str) -> None:
    """A pipe would be waited for, and a device read for ever: the image's author says what lies there."""
    root = make_root(tmp_path / "root")
    compile_c(root / "usr/bin/app", "int main(void) { return 0; }")
    place = root / "etc" / name
    place.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    else:
        place.mkdir()
    assert [item.name for item in _load(str(root), "/bin/app").objects][1:] == [
        "libc.so.6",
        _LD_SO.rpartition("/")[2],
    ]


def test_missing_libraries_are_recorded_with_who_needs_them(tmp_path: Path) -> None:
    library = make_library(tmp_path / "libgone.so", "int gone(void) { return 1; }")
    program = compile_c(tmp_path / "app", "int gone(void); int main(void) { return gone(); }", str(library))
    library.unlink()
    assert [(m.name, m.needed_by) for m in _load("/", str(program)).missing] == [("libgone.so", str(program))]


def test_files_for_other_machines_are_passed_over_and_damaged_ones_are_not(tmp_path: Path) -> None:
    good = make_library(tmp_path / "good/libx.so", "int x(void) { return 1; }")
    program = compile_c(tmp_path / "app", "int x(void); int main(void) { return x(); }", str(good))
    other = tmp_path / "other/libx.so"
    other.parent.mkdir()
    foreign = bytearray(good.read_bytes())
    foreign[4] = 1
    other.write_bytes(foreign)
    path = f"{tmp_path}/other:{tmp_path}/good"
    assert _load("/", str(program), LD_LIBRARY_PATH=path).objects[1].path == str(good)
    other.write_bytes(b"not a library at all" * 8)
    with pytest.raises(AbiError, match=f"^{other}: not an ELF file$") as caught:
        _load("/", str(program), LD_LIBRARY_PATH=path)
    assert caught.value.hint == (
        "a program or library belongs there: install anew what it came with, or remove it"
    )
    compile_c(other, "int x(void) { return 1; }", "-c")
    with pytest.raises(AbiError, match=f"^{other}: neither a library nor a program$") as caught:
        _load("/", str(program), LD_LIBRARY_PATH=path)
    assert (
        caught.value.hint
        == "put the library there that the loader looks for, or remove what it takes for one"
    )
    other.unlink()
    other.mkdir()
    with pytest.raises(AbiError, match=f"^{other}: cannot be read: not a file$") as caught:
        _load("/", str(program), LD_LIBRARY_PATH=path)
    assert (
        caught.value.hint
        == "put the library there that the loader looks for, or remove what it takes for one"
    )


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AbiError, match=f"^/bin/none: no such file in {tmp_path}$") as caught:
        _load(str(tmp_path), "/bin/none")
    assert caught.value.hint == "give its path in the image"


def test_hardware_levels_need_all_lower_ones() -> None:
    second = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
    third = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
    assert cpu_levels(f"flags\t\t: {second} {third}\n") == ("x86-64-v3", "x86-64-v2")
    assert cpu_levels(f"flags\t\t: {third}\n") == ()
    assert cpu_levels("") == ()


def test_a_library_for_this_cpu_is_preferred(tmp_path: Path) -> None:
    levels = cpu_levels(Path("/proc/cpuinfo").read_text())
    plain = make_library(tmp_path / "lib/libx.so", "int x(void) { return 1; }")
    for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v9"):
        make_library(tmp_path / "lib/glibc-hwcaps" / level / "libx.so", "int x(void) { return 2; }")
    program = compile_c(tmp_path / "app", "int x(void); int main(void) { return x(); }", str(plain))
    _same(str(program), LD_LIBRARY_PATH=f"{tmp_path}/lib")
    if levels:
        found = _load("/", str(program), LD_LIBRARY_PATH=f"{tmp_path}/lib").objects[1].path
        assert found == f"{tmp_path}/lib/glibc-hwcaps/{levels[0]}/libx.so"
